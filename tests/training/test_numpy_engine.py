"""The numpy engine against the fused one and torch.optim; its steps that are interrupted, refused and resumed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from threadpoolctl import ThreadpoolController

from engines import make_engine, never, same
from lenscope.config import TrainConfig
from lenscope.nets import blas
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.pytorch.optimizers import build_optimizer
from lenscope.training import numpy_engine
from lenscope.training.fused_engine import FusedEngine
from lenscope.training.nonfinite import UNKNOWN, first_non_finite
from lenscope.training.numpy_engine import NumpyEngine
from lenscope.training.optimizers import no_moments, updated

ALL = np.arange(60)
RULES = [
    {"optimizer": "gd"},
    {"optimizer": "sgd", "weight_decay": 0.1},
    {"optimizer": "momentum", "momentum": 0.7, "weight_decay": 0.1},
    {"optimizer": "nesterov", "momentum": 0.7},
    {"optimizer": "adam", "weight_decay": 0.1},
    {"optimizer": "adamw", "weight_decay": 0.1},
]


def engine_of(splits, kind=NumpyEngine, **settings):
    return make_engine(kind, splits.train, TrainConfig(**{"threads": 1, "optimizer": "sgd", **settings}))


@pytest.mark.parametrize("settings", RULES, ids=lambda settings: settings["optimizer"])
def test_each_rule_is_that_of_torch_optim(settings):
    config, rng = TrainConfig(**settings), np.random.default_rng(4)
    weights = rng.standard_normal(500).astype(np.float32)
    expected, moments = torch.nn.Parameter(torch.from_numpy(weights).double()), no_moments(config, 500)
    theirs = build_optimizer(config, [expected])
    for number in range(1, 31):
        gradient = (rng.standard_normal(500) * 10.0 ** rng.integers(-6, 1)).astype(np.float32)
        rate = float(10.0 ** -rng.integers(2, 5))
        theirs.param_groups[0]["lr"] = rate
        expected.grad = torch.from_numpy(gradient).double()
        theirs.step()
        weights, *moments = updated(config, number, rate, weights, moments, gradient)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected.detach().numpy(), rtol=1e-6, atol=2e-6)


def test_its_attributes_are_the_fused_engines(tiny):
    engines = [engine_of(tiny, kind) for kind in (NumpyEngine, FusedEngine)]
    assert engines[0].numerics().keys() == {"processor model", "BLAS"}
    assert {name for name in dir(engines[0]) if name[0] != "_"} == {name for name in dir(engines[1]) if name[0] != "_"}


def test_threads_and_calls_change_no_byte_and_the_blas_gets_its_threads_back(tiny, monkeypatch):
    monkeypatch.setattr(numpy_engine, "MICRO_BATCH", 7)
    before = blas._libraries().info()
    batches, rates = [ALL[:13], ALL[13:40], ALL[40:]] * 2, [1e-3] * 6
    whole, parted = engine_of(tiny, optimizer="adam"), engine_of(tiny, optimizer="adam", threads=3)
    losses = whole.run(1, batches, rates, never)
    parts = [parted.run(1, batches[at : at + 2], rates[at : at + 2], never) for at in (0, 2, 4)]
    assert np.concatenate(parts).tobytes() == losses.tobytes()
    assert same(parted.weights(), whole.weights())
    assert blas._libraries().info() == before
    with blas.one_thread():
        assert [library["num_threads"] for library in blas._libraries().info()] == [1] * len(before)


def test_without_a_blas_that_is_known_it_trains_all_the_same(tiny, monkeypatch):
    losses = engine_of(tiny).run(1, [ALL], [0.1], never)
    monkeypatch.setattr(blas, "_libraries", lambda: ThreadpoolController().select(user_api="none"))
    engine = engine_of(tiny)
    np.testing.assert_allclose(engine.run(1, [ALL], [0.1], never), losses, rtol=1e-6)
    assert engine.numerics()["BLAS"]


def test_a_step_that_was_interrupted_is_as_if_it_had_not_begun(tiny, monkeypatch):
    monkeypatch.setattr(numpy_engine, "MICRO_BATCH", 20)
    once, engine, asked = engine_of(tiny), engine_of(tiny), iter([False] * 5)
    losses = engine.run(1, [ALL] * 9, [0.1] * 9, lambda: next(asked, True))  # within the second step, of three parts
    assert losses.tolist() == once.run(1, [ALL], [0.1], never).tolist()
    assert same(engine.weights(), once.weights())
    assert engine.run(1, [ALL], [0.1], lambda: True).shape == engine.run(1, [], [], never).shape == (0,)
    with pytest.raises(StopIteration):
        engine.run(1, [ALL], [0.1], iter([]).__next__)
    assert same(engine.weights(), once.weights())


def test_the_first_that_is_not_finite_is_named(tiny):
    network, train = Network("lenet"), tiny.train.resized(32)

    def named(**changes):
        weights = initial_weights(network, 0)
        for name, value in changes.items():
            weights[name.replace("_", ".")].ravel()[:] = value
        return first_non_finite(network, weights, train.images, train.labels)

    assert named() == UNKNOWN
    assert named(conv2_bias=math.nan, conv1_weight=math.inf) == "conv1.weight"
    assert named(conv2_weight=3e38, conv1_bias=1e3) == "conv2"
    assert named(conv1_weight=0, conv1_bias=1e25, conv2_weight=1e-25, fc1_weight=1e25, fc2_weight=1e-14) == (
        "the gradient of conv2.weight"
    )
    assert named(conv2_weight=0, conv2_bias=0, conv1_weight=1e25) == "the square of conv1.weight"


def test_uses_that_overlap_give_the_blas_its_threads_back():
    def threads():
        return [library["num_threads"] for library in blas._libraries().info()]

    before, uses = threads(), [blas.one_thread(), blas.one_thread()]
    for use in uses:
        use.__enter__()
    assert set(threads()) == {1}
    for use in uses:  # the first one leaves first
        use.__exit__(None, None, None)
    assert threads() == before
