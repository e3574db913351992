"""The numpy engine against the fused one and torch.optim; its steps that are interrupted, refused and resumed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from threadpoolctl import ThreadpoolController

from lenscope.config import Augmentation, TrainConfig
from lenscope.data.augment import augmented
from lenscope.errors import RunError
from lenscope.nets import blas
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.pytorch.optimizers import build_optimizer
from lenscope.training import numpy_engine
from lenscope.training.fused_engine import FusedEngine
from lenscope.training.nonfinite import UNKNOWN, first_non_finite
from lenscope.training.numpy_engine import NumpyEngine
from lenscope.training.update_rules import no_moments, updated

ALL = np.arange(60)
RULES = [
    {"optimizer": "gd"},
    {"optimizer": "sgd", "weight_decay": 0.1},
    {"optimizer": "momentum", "momentum": 0.7, "weight_decay": 0.1},
    {"optimizer": "nesterov", "momentum": 0.7},
    {"optimizer": "adam", "weight_decay": 0.1},
    {"optimizer": "adamw", "weight_decay": 0.1},
]


def never():
    return False


def engine_of(splits, kind=NumpyEngine, gain=1.0, **settings):
    network = Network("lenet", splits.train.channels, len(splits.classes))
    weights = {name: array * np.float32(gain) for name, array in initial_weights(network, 0).items()}
    config = TrainConfig(**{"threads": 1, "optimizer": "sgd", **settings})
    return kind(network, weights, splits.train.resized(32), config)


def same(one, other):
    return all(np.array_equal(values, other[name]) for name, values in one.items())


@pytest.mark.parametrize("settings", RULES, ids=lambda settings: settings["optimizer"])
def test_it_trains_as_the_fused_engine_does(tiny, settings, monkeypatch):
    monkeypatch.setattr(numpy_engine, "PART", 7)
    engines = [engine_of(tiny, kind, **settings) for kind in (NumpyEngine, FusedEngine)]
    order = np.random.default_rng(0).permutation(60)
    batches, rates = [order[:17], order[17:40], order[40:]] * 2, [0.02, 0.01, 0.01, 0.005, 0.02, 0.01]
    if settings["optimizer"].startswith("adam"):
        rates = [rate / 10 for rate in rates]
    ours, fused = (engine.run(1, batches, rates, never) for engine in engines)
    assert (ours.shape, ours.dtype) == ((6,), np.float32)
    np.testing.assert_allclose(ours, fused, rtol=2e-5)
    states = [engine.state() for engine in engines]
    assert (states[0].updates, states[0].first.shape, states[0].second.shape) == (
        states[1].updates,
        states[1].first.shape,
        states[1].second.shape,
    )
    for name, values in states[0].weights.items():
        np.testing.assert_allclose(values, states[1].weights[name], atol=5e-5, err_msg=name)


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


def test_evaluate_and_attributes_are_the_fused_engines(tiny):
    test, engines = tiny.test.resized(32), [engine_of(tiny, kind) for kind in (NumpyEngine, FusedEngine)]
    ours, fused = (engine.evaluate(test) for engine in engines)
    assert ours.loss == pytest.approx(fused.loss, rel=1e-6)
    assert ours.accuracy == fused.accuracy
    assert same(engines[0].kernels(), engines[1].kernels())
    assert engines[0].numerics().keys() == {"processor model", "BLAS"}
    assert {name for name in dir(engines[0]) if name[0] != "_"} == {name for name in dir(engines[1]) if name[0] != "_"}


def test_an_evaluation_looks_up_after_each_part(tiny, monkeypatch):
    monkeypatch.setattr(NumpyEngine, "evaluated", 7)
    seen = []
    engine_of(tiny).evaluate(tiny.test.resized(32), lambda: seen.append("part"))
    assert seen == ["part"] * 3


def test_threads_and_calls_change_no_byte_and_the_blas_gets_its_threads_back(tiny, monkeypatch):
    monkeypatch.setattr(numpy_engine, "PART", 7)
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


def test_images_are_distorted_as_the_reference_does(tiny):
    how = Augmentation(shift=2, rotation=15, scale=0.2, shear=10, elastic=1.5, smoothness=6)
    train = tiny.train.resized(32)
    by_hand = replace(train, images=augmented(train.images, ALL, how, 0, 3), _resized={})
    expected = engine_of(replace(tiny, train=by_hand)).run(1, [ALL], [0.1], never)
    assert engine_of(tiny, augment=how).run(3, [ALL], [0.1], never).tolist() == expected.tolist()


def test_a_step_that_was_interrupted_is_as_if_it_had_not_begun(tiny, monkeypatch):
    monkeypatch.setattr(numpy_engine, "PART", 20)
    once, engine, asked = engine_of(tiny), engine_of(tiny), iter([False] * 5)
    losses = engine.run(1, [ALL] * 9, [0.1] * 9, lambda: next(asked, True))  # within the second step, of three parts
    assert losses.tolist() == once.run(1, [ALL], [0.1], never).tolist()
    assert same(engine.weights(), once.weights())
    assert engine.run(1, [ALL], [0.1], lambda: True).shape == engine.run(1, [], [], never).shape == (0,)
    with pytest.raises(StopIteration):
        engine.run(1, [ALL], [0.1], iter([]).__next__)
    assert same(engine.weights(), once.weights())


@pytest.mark.parametrize("kind", [NumpyEngine, FusedEngine])
def test_a_loss_that_is_not_finite_takes_back_the_update_before(tiny, kind):
    engine, once = engine_of(tiny, kind), engine_of(tiny, kind)
    losses = engine.run(1, [ALL] * 4, [0.1, 1e12, 0.1, 0.1], never)
    once.run(1, [ALL], [0.1], never)
    assert np.isnan(losses).tolist() == [False, False, True]
    assert same(engine.weights(), once.weights())


@pytest.mark.parametrize("rate", [1e12, 1e38])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_refused_step_is_named_as_the_fused_engine_names_it(tiny, rate, optimizer):
    ours, fused = (engine_of(tiny, kind, optimizer=optimizer) for kind in (NumpyEngine, FusedEngine))
    rates = [0.1, rate, 0.1, 0.1]
    assert len(ours.run(1, [ALL] * 4, rates, never)) == len(fused.run(1, [ALL] * 4, rates, never))
    assert ours.failed_layer == fused.failed_layer
    assert ours.failed_layer not in {"", UNKNOWN}


def test_new_weights_that_are_not_finite_are_refused_and_the_old_ones_and_the_memory_stay(tiny):
    engine = engine_of(tiny, optimizer="momentum")
    engine.run(1, [ALL], [0.1], never)
    before = engine.state()
    assert np.isnan(engine.run(1, [ALL] * 3, [1e38] * 3, never)).tolist() == [True]
    after = engine.state()
    assert same(after.weights, before.weights)
    assert (after.updates, after.first.tobytes()) == (before.updates, before.first.tobytes())


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_it_resumes_from_a_state_of_either_engine(tiny, optimizer):
    for kind in (NumpyEngine, FusedEngine):
        begun, resumed = engine_of(tiny, kind, optimizer=optimizer), engine_of(tiny, gain=2.0, optimizer=optimizer)
        begun.run(1, [ALL] * 2, [1e-3] * 2, never)
        resumed.load(begun.state())
        rest = [engine.run(1, [ALL] * 2, [1e-3] * 2, never) for engine in (begun, resumed)]
        np.testing.assert_allclose(rest[1], rest[0], rtol=0 if kind is NumpyEngine else 1e-6)


def test_a_step_that_is_lost_right_after_a_state_was_loaded_goes_back_to_it(tiny):
    broken = engine_of(tiny).state()
    broken.weights["fc1.weight"][:] = 1e30  # finite, and leads to a loss that is not
    broken.weights["fc2.weight"][:] = 1e30
    engine = engine_of(tiny)
    engine.load(broken)
    assert np.isnan(engine.run(1, [ALL], [0.1], never)).tolist() == [True]
    assert same(engine.weights(), broken.weights)
    assert engine.failed_layer == "fc2"


def test_a_state_of_another_optimiser_is_refused(tiny):
    with pytest.raises(RunError, match="its sizes are not this network's and optimiser's; the run is broken"):
        engine_of(tiny, optimizer="adam").load(engine_of(tiny, optimizer="momentum").state())


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
