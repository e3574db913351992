from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from engines import never
from lenscope.config import TrainConfig
from lenscope.pytorch import engine as torch_engine
from lenscope.pytorch.engine import TorchEngine
from lenscope.pytorch.nets.build import build

RATES = [0.01, 0.003, 0.02, 0.0, 0.01]

PLAIN = {
    "sgd": lambda p, decay: torch.optim.SGD(p, lr=1.0, weight_decay=decay, foreach=False),
    "momentum": lambda p, decay: torch.optim.SGD(p, lr=1.0, momentum=0.8, weight_decay=decay, foreach=False),
    "nesterov": lambda p, decay: torch.optim.SGD(
        p, lr=1.0, momentum=0.8, nesterov=True, weight_decay=decay, foreach=False
    ),
    "adam": lambda p, decay: torch.optim.Adam(p, lr=1.0, weight_decay=decay, foreach=False),
    "adamw": lambda p, decay: torch.optim.AdamW(p, lr=1.0, weight_decay=decay, foreach=False),
}


def engine_of(train, **settings):
    config = TrainConfig(device="cpu", **settings)
    return TorchEngine(build("lenet", 1, 10, config.seed), train.resized(32), config)


def plain_steps(train, make, batches, rates, decay):
    """The same updates by the network's own forward, in the plainest way; losses and weights."""
    network = build("lenet", 1, 10, 0)
    optimizer = make(network.parameters(), decay)
    images = torch.from_numpy(train.resized(32).images).float() / 255
    labels = torch.from_numpy(train.labels.astype(np.int64))
    losses = []
    for batch, rate in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = F.nll_loss(network(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def test_nesterov_without_momentum_is_the_plain_step(tiny):
    engines = [engine_of(tiny.train, optimizer=name, momentum=0.0) for name in ("nesterov", "momentum", "sgd")]
    batches = [np.arange(30), np.arange(30, 60)]
    first, *others = [engine.run(1, batches, [0.1, 0.1], never).tobytes() + flat(engine) for engine in engines]
    assert others == [first, first]


def flat(engine):
    return b"".join(values.tobytes() for values in engine.weights().values())


@pytest.mark.parametrize("name", PLAIN)
def test_updates_are_those_of_torch_on_the_plain_gradients(tiny, name):
    batches = [np.arange(start, start + 12) for start in range(0, 60, 12)]
    engine = engine_of(tiny.train, optimizer=name, momentum=0.8, weight_decay=0.1)
    initial = engine.weights()
    losses = engine.run(1, batches, RATES, never)
    expected, weights = plain_steps(tiny.train, PLAIN[name], batches, RATES, 0.1)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for layer, values in engine.weights().items():
        # Adam divides by the gradient's size: where that is rounding alone, a single weight may go another way.
        way = np.abs(weights[layer] - initial[layer]).mean()
        assert np.abs(values - weights[layer]).mean() < (1e-3 if "adam" in name else 1e-4) * way, layer


def test_a_batch_in_parts_is_the_same_step(tiny, monkeypatch):
    batches, rates = [np.arange(60)] * 3, [0.5, 0.4, 0.3]
    whole = engine_of(tiny.train, optimizer="gd")
    losses = whole.run(1, batches, rates, never)
    monkeypatch.setattr(torch_engine, "MICRO_BATCH", 13)
    parted = engine_of(tiny.train, optimizer="gd")
    np.testing.assert_allclose(parted.run(1, batches, rates, never), losses, atol=1e-6)
    for layer, values in parted.weights().items():
        np.testing.assert_allclose(values, whole.weights()[layer], atol=1e-6)
