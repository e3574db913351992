"""The engines without PyTorch against plain PyTorch, over as long a stretch as rounding lets any two programs agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lenscope.config import TrainConfig
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network, flatten
from lenscope.pytorch.nets.build import build
from lenscope.randomness import Purpose, random_order
from lenscope.training.fused_engine import FusedEngine
from lenscope.training.numpy_engine import NumpyEngine

if TYPE_CHECKING:
    from lenscope.data.dataset import Dataset

IMAGES, EPOCHS = 6_000, 10


def batches(epoch: int) -> list[np.ndarray]:
    order = random_order(0, Purpose.ORDER, epoch, IMAGES)
    return [order[start : start + 100] for start in range(0, IMAGES, 100)]


def plain_pytorch(images: np.ndarray, labels: np.ndarray, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The losses of all steps and the final weights, by autograd and torch.optim."""
    torch.set_num_threads(threads)
    network = build("lenet", 1, 10, 0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    losses = []
    for epoch in range(1, EPOCHS + 1):
        for batch in batches(epoch):
            optimizer.zero_grad()
            loss = F.nll_loss(network(torch.from_numpy(images[batch]).float() / 255), torch.from_numpy(labels[batch]))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return np.array(losses), torch.cat([values.detach().flatten() for values in network.parameters()]).numpy()


def by_engine(kind: type, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    network = Network("lenet")
    engine = kind(network, initial_weights(network, 0), data, TrainConfig(threads=2))
    losses = [engine.run(epoch, batches(epoch), [1e-4] * 60, lambda: False) for epoch in range(1, EPOCHS + 1)]
    return np.concatenate(losses), flatten(network, engine.weights())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FusedEngine, NumpyEngine])
def test_it_is_no_further_from_pytorch_than_twice_one_thread_from_two(mnist, kind) -> None:
    data = mnist.train.resized(32)
    images, labels = data.images[:IMAGES], data.labels[:IMAGES].astype(np.int64)
    one, two = plain_pytorch(images, labels, 1), plain_pytorch(images, labels, 2)
    ours = by_engine(kind, data)
    np.testing.assert_allclose(ours[0][:50], one[0][:50], rtol=1e-4)
    for name, at in (("losses", 0), ("weights", 1)):
        among = np.linalg.norm(one[at] - two[at])
        apart = min(np.linalg.norm(ours[at] - other[at]) for other in (one, two))
        assert apart <= 2 * among, name
    assert abs(ours[0][-60:].mean() - one[0][-60:].mean()) <= 2 * abs(two[0][-60:].mean() - one[0][-60:].mean()) + 1e-4
