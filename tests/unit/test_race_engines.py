"""What the race rests on: plain gradient descent is the closed step, and both engines take the same first steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lenscope
from lenscope.config import TrainConfig
from lenscope.lab.race import MIDDLE, OPTIMIZERS
from lenscope.pytorch.nets.build import build

STEPS = 50
RATES = MIDDLE | {"gd": 0.1}  # at 0.3 its loss jumps up and down, and rounding decides where to


@pytest.fixture(scope="module")
def thousand(mnist):
    """1,000 training and 100 test images."""
    return lenscope.Splits(mnist.train.take(np.arange(1000)), test=mnist.test.take(np.arange(100)))


def closed_step(splits, rate):
    """The weights after one step along the mean gradient of all images, by autograd in float64."""
    network = build("lenet", 1, 10, seed=0).double()
    images = torch.from_numpy(splits.train.resized(32).images).double() / 255
    loss = torch.nn.functional.nll_loss(network(images), torch.from_numpy(splits.train.labels.astype(np.int64)))
    loss.backward()
    return {name: (own - rate * own.grad).detach().numpy() for name, own in network.named_parameters()}


@pytest.mark.parametrize("engine", ["fused", "numpy", "torch"])
def test_gradient_descent_is_the_closed_step(thousand, tmp_path, engine):
    rate = MIDDLE["gd"]
    config = TrainConfig(optimizer="gd", learning_rate=rate, epochs=1, engine=engine, threads=2)
    run = lenscope.train(thousand, config=config, out=tmp_path / "run", progress=False)
    got, expected = run.weights(), closed_step(thousand, rate)
    for name, values in expected.items():
        assert np.linalg.norm(got[name] - values) <= 1e-5 * np.linalg.norm(values), name


@pytest.mark.parametrize("optimizer", [pytest.param("gd", marks=pytest.mark.slow), *OPTIMIZERS[1:]])
def test_the_engines_take_the_same_first_steps(thousand, tmp_path, optimizer):
    epochs = STEPS if optimizer == "gd" else 1
    settings = {"optimizer": optimizer, "learning_rate": RATES[optimizer], "batch_size": 20, "threads": 1}
    losses, norms = [], []
    for engine in ("fused", "torch"):
        config = TrainConfig(**settings, epochs=epochs, engine=engine)
        run = lenscope.train(thousand, config=config, out=tmp_path / engine, progress=False)
        losses.append(run.losses[:STEPS])
        norms.append([np.linalg.norm(values) for _, values in sorted(run.weights().items())])
    assert len(losses[0]) == STEPS
    np.testing.assert_allclose(*losses, rtol=1e-4)
    np.testing.assert_allclose(*norms, rtol=1e-4)
