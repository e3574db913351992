"""What every engine promises: the fused one, numpy's, and PyTorch's, driven by the host or on its device."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from engines import make_engine, never, same
from lenscope.config import Augmentation, TrainConfig
from lenscope.data.augment import augmented
from lenscope.errors import RunError
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.pytorch import classification
from lenscope.pytorch.device_steps import uncaptured
from lenscope.pytorch.engine import TorchEngine
from lenscope.pytorch.nets.build import build
from lenscope.training.fused_engine import FusedEngine
from lenscope.training.numpy_engine import NumpyEngine

ALL = np.arange(60)
KINDS = {"fused": FusedEngine, "numpy": NumpyEngine, "torch": TorchEngine, "device": TorchEngine}
RULES = [
    {"optimizer": "gd", "weight_decay": 0.1},
    {"optimizer": "sgd"},
    {"optimizer": "momentum", "momentum": 0.7, "weight_decay": 0.1},
    {"optimizer": "nesterov", "momentum": 0.7},
    {"optimizer": "adam", "weight_decay": 0.1},
    {"optimizer": "adamw", "weight_decay": 0.1},
]


def engine_of(splits, kind, weights=None, **settings):
    config = TrainConfig(**{"device": "cpu", "threads": 1, "optimizer": "sgd", **settings})
    return make_engine(KINDS[kind], splits.train, config, weights, *([uncaptured] if kind == "device" else []))


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.mark.parametrize("settings", RULES, ids=lambda settings: settings["optimizer"])
def test_all_take_the_same_steps_by_every_rule(tiny, settings):
    order, scale = np.random.default_rng(0).permutation(60), 0.1 if "adam" in settings["optimizer"] else 1
    batches, rates = [order[:17], order[17:40], order[40:]] * 2, [0.02, 0.01, 0.01, 0.005, 0.02, 0.01]
    ends = {}
    for kind in KINDS:
        engine = engine_of(tiny, kind, **settings)
        losses = [engine.run(1, batches[at : at + 2], [scale * rate for rate in rates[at : at + 2]], never)
                  for at in (0, 2, 4)]  # fmt: skip
        ends[kind] = np.concatenate(losses), engine.state()
    expected, state = ends["torch"]
    assert (expected.shape, expected.dtype) == ((6,), np.float32)
    for losses, other in ends.values():
        np.testing.assert_allclose(losses, expected, rtol=2e-5)
        for name, values in other.weights.items():
            np.testing.assert_allclose(values, state.weights[name], atol=5e-5, err_msg=name)
        assert (other.first.shape, other.second.shape) == (state.first.shape, state.second.shape)
        assert other.steps == 6 or not other.second.size  # torch.optim.SGD counts none


def test_an_evaluation_counts_each_image_once_looks_up_in_between_and_changes_nothing(tiny, kind, monkeypatch):
    monkeypatch.setattr(FusedEngine, "evaluated", 7)
    monkeypatch.setattr(NumpyEngine, "evaluated", 7)
    monkeypatch.setattr(classification, "MICRO_BATCH", 7)
    engine, test, seen = engine_of(tiny, kind), tiny.test.resized(32), []
    before = engine.weights()
    score = engine.evaluate(test, lambda: seen.append("part"))
    assert seen == ["part"] * 3
    with torch.no_grad():
        log_probabilities = build("lenet", 1, 10, 0)(torch.from_numpy(test.images) / 255).numpy()
    assert score.loss == pytest.approx(-log_probabilities[np.arange(20), test.labels].mean(), rel=1e-5)
    assert score.accuracy == np.mean(log_probabilities.argmax(1) == test.labels)
    with pytest.raises(StopIteration):
        engine.evaluate(test, iter(["part"]).__next__)
    assert same(engine.weights(), before)


def test_weights_and_kernels_are_copies(tiny, kind):
    engine = engine_of(tiny, kind)
    weights, kernels = engine.weights(), engine.kernels()
    assert list(weights) == list(Network("lenet").shapes)
    assert {name: array.shape for name, array in kernels.items()} == {"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5)}
    assert np.array_equal(kernels["conv1"], weights["conv1.weight"])
    kept = {name: values.copy() for name, values in weights.items()}
    for values in (*weights.values(), *kernels.values()):
        assert values.dtype == np.float32
        values[:] = 0
    assert same(engine.weights(), kept)
    assert np.array_equal(engine.kernels()["conv1"], kept["conv1.weight"])


def test_without_steps_or_stopped_before_the_first_nothing_changes(tiny, kind):
    engine = engine_of(tiny, kind)
    before = engine.weights()
    assert engine.run(1, [], [], never).shape == (0,)
    assert len(engine.run(1, [ALL] * 5, [0.1] * 5, lambda: True)) == 0
    assert same(engine.weights(), before)


@pytest.mark.parametrize("kind", ["numpy", "torch", "device"])
def test_stopped_between_steps_it_leaves_the_rest_undone(tiny, kind):
    straight, engine = engine_of(tiny, kind), engine_of(tiny, kind)
    batches, asked = [ALL[at : at + 10] for at in range(0, 60, 10)], iter([False, False, False])
    expected = straight.run(1, batches, [1e-3] * 6, never)
    first = engine.run(1, batches, [1e-3] * 6, lambda: next(asked, True))
    assert len(first) == 3
    rest = engine.run(1, batches[3:], [1e-3] * 3, never)
    np.testing.assert_array_equal(np.concatenate([first, rest]), expected)
    assert same(engine.weights(), straight.weights())


def test_images_are_distorted_as_the_reference_does_and_as_they_are_in_evaluations(tiny, kind):
    how = Augmentation(shift=2, rotation=15, scale=0.2, shear=10, elastic=1.5, smoothness=6)
    train = tiny.train.resized(32)
    by_hand = replace(train, images=augmented(train.images, ALL, how, 5, 3))
    expected = engine_of(replace(tiny, train=by_hand), kind, seed=5).run(1, [ALL], [0.1], never)
    engine, plain = engine_of(tiny, kind, augment=how, seed=5), engine_of(tiny, kind, seed=5)
    assert engine.evaluate(train) == plain.evaluate(train)
    got = engine.run(3, [ALL], [0.1], never)
    np.testing.assert_allclose(got, expected, rtol=3e-6)  # a grey level here and there; another epoch is off by 3e-5
    assert not np.allclose(got, plain.run(3, [ALL], [0.1], never), rtol=1e-4)


@pytest.mark.parametrize(("name", "value"), [("conv1.weight", math.nan), ("fc3.bias", math.inf)])
def test_a_broken_weight_is_named_and_no_step_is_taken(tiny, kind, name, value):
    broken = initial_weights(Network("lenet"), 0)
    broken[name].flat[0] = value
    engine = engine_of(tiny, kind, broken)
    assert np.isnan(engine.run(1, [ALL] * 3, [0.1] * 3, never)).tolist() == [True]
    assert engine.failed_layer == name
    assert same(engine.weights(), broken)


def test_a_step_that_is_lost_right_after_a_state_was_loaded_returns_to_it_and_is_named_by_its_layer(tiny, kind):
    engine = engine_of(tiny, kind)
    engine.run(1, [ALL] * 2, [0.1] * 2, never)
    state = engine.state()
    for name in ("fc1.weight", "fc2.weight"):
        state.weights[name][:] = 1e30  # finite, and leads to a loss that is not
    engine.load(state)
    assert np.isnan(engine.run(1, [ALL], [0.1], never)).tolist() == [True]
    assert same(engine.weights(), state.weights)
    assert engine.failed_layer == "fc2"


def test_a_loss_that_is_not_finite_takes_back_the_step_before(tiny, kind):
    engine, once = engine_of(tiny, kind), engine_of(tiny, kind)
    losses = engine.run(1, [ALL] * 4, [0.1, 1e12, 0.1, 0.1], never)
    once.run(1, [ALL], [0.1], never)
    assert np.isnan(losses).tolist() == [False, False, True]
    assert same(engine.weights(), once.weights())


@pytest.mark.parametrize("kind", ["fused", "numpy", "torch"])
@pytest.mark.parametrize(("before", "steps"), [(0, 0), (3, 0), (3, 2)])
def test_a_refused_step_changes_neither_weights_nor_moments(tiny, kind, before, steps):
    engine, expected = (engine_of(tiny, kind, optimizer="momentum", threads=2) for _ in range(2))
    for each in (engine, expected):
        each.run(1, [ALL] * before, [0.01] * before, never)
    expected.run(1, [ALL] * steps, [0.01] * steps, never)
    losses = engine.run(1, [ALL] * (steps + 2), [0.01] * steps + [1e38] * 2, never)
    assert np.isnan(losses).tolist() == [False] * steps + [True]
    state, wanted = engine.state(), expected.state()
    assert (state.steps, state.first.tobytes()) == (wanted.steps, wanted.first.tobytes())
    assert same(state.weights, wanted.weights)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1e12), ("sgd", 1e38), ("adam", 1e12)])
def test_all_refuse_the_same_step_and_name_the_same_layer(tiny, optimizer, rate):
    ends = set()
    for kind in KINDS:
        engine = engine_of(tiny, kind, optimizer=optimizer)
        ends.add((len(engine.run(1, [ALL] * 4, [0.1, rate, 0.1, 0.1], never)), engine.failed_layer))
    [(_, layer)] = ends
    assert layer.rpartition(" ")[2].split(".")[0] in {"conv1", "conv2", "fc1", "fc2", "fc3"}


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_it_resumes_from_its_own_state_to_the_same_bytes_and_from_anothers_nearly(tiny, kind, optimizer):
    begun = engine_of(tiny, kind, optimizer=optimizer)
    begun.run(1, [ALL] * 2, [1e-3] * 2, never)
    state = begun.state()
    expected = begun.run(1, [ALL] * 2, [1e-3] * 2, never)
    for other in {kind, "numpy"}:
        resumed = engine_of(tiny, other, optimizer=optimizer, seed=1)
        resumed.load(state)
        losses = resumed.run(1, [ALL] * 2, [1e-3] * 2, never)
        np.testing.assert_allclose(losses, expected, rtol=0 if other == kind else 1e-6)


def test_a_state_of_another_optimiser_is_refused(tiny, kind):
    with pytest.raises(RunError, match="its sizes are not this network's and optimiser's; the run is broken"):
        engine_of(tiny, kind, optimizer="adam").load(engine_of(tiny, kind, optimizer="momentum").state())
