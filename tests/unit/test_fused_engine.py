from __future__ import annotations

import math
import signal
import sys
from dataclasses import replace
from itertools import repeat
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engines import make_engine
from lenscope import native
from lenscope.config import Augmentation, TrainConfig
from lenscope.data.augment import augmented
from lenscope.data.dataset import Splits
from lenscope.engines import choose_engine, predict_log_probabilities
from lenscope.errors import UsageError
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.pytorch import engine as torch_engine
from lenscope.pytorch.engine import TorchEngine
from lenscope.pytorch.nets.build import build_module
from lenscope.training import array_engine
from lenscope.training.fit import fit
from lenscope.training.fused_engine import FusedEngine
from lenscope.training.nonfinite import UNKNOWN
from lenscope.training.numpy_engine import NumpyEngine

ALL = np.arange(60)


def never():
    return False


def engine_of(splits, kind=FusedEngine, weights=None, **settings):
    config = TrainConfig(**{"device": "cpu", "threads": 1, "optimizer": "sgd", **settings})
    return make_engine(kind, splits.train, config, weights)


def spoilt(engine, name, value):
    """Its weights, one of them set to a value."""
    weights = engine.weights()
    weights[name].flat[0] = value
    return weights


@pytest.fixture
def engine(tiny):
    return engine_of(tiny)


@pytest.fixture
def _not_built(monkeypatch):
    monkeypatch.setitem(sys.modules, "lenscope.native._core", None)


def same(one, other):
    return all(np.array_equal(values, other[name]) for name, values in one.items())


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "gd"},
        {"optimizer": "sgd", "weight_decay": 0.1},
        {"optimizer": "momentum", "momentum": 0.7, "weight_decay": 0.1},
        {"optimizer": "nesterov", "momentum": 0.7},
        {"optimizer": "adam", "weight_decay": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.1},
    ],
    ids=lambda settings: settings["optimizer"],
)
def test_it_trains_as_the_torch_engine_does(tiny, settings):
    engines = [engine_of(tiny, kind, **settings) for kind in (FusedEngine, TorchEngine)]
    order = np.random.default_rng(0).permutation(60)
    batches, rates = [order[:17], order[17:40], order[40:]] * 2, [0.02, 0.01, 0.01, 0.005, 0.02, 0.01]
    if settings["optimizer"].startswith("adam"):
        rates = [rate / 10 for rate in rates]
    fused, plain = (engine.run(1, batches, rates, never) for engine in engines)
    assert (fused.shape, fused.dtype) == ((6,), np.float32)
    np.testing.assert_allclose(fused, plain, rtol=2e-5)
    trained = [engine.weights() for engine in engines]
    for name, values in trained[0].items():
        np.testing.assert_allclose(values, trained[1][name], atol=5e-5, err_msg=name)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("isa", native.load().instruction_sets())
def test_every_instruction_set_takes_every_kind_of_image(tiny, monkeypatch, isa, channels):
    monkeypatch.setenv("LENSCOPE_ISA", isa)
    images = np.repeat(tiny.train.images, channels, 1)
    splits = Splits(replace(tiny.train, images=images))
    engines = [engine_of(splits, kind) for kind in (FusedEngine, TorchEngine)]
    assert engines[0].isa == isa
    fused, plain = (engine.run(1, [ALL[:7], ALL[7:]], [0.1, 0.1], never) for engine in engines)
    np.testing.assert_allclose(fused, plain, rtol=2e-5)


def test_the_chosen_instruction_set_is_the_one_that_runs(tiny, monkeypatch):
    core, asked = native.load(), []

    def trainer(*arguments, **options):
        asked.append(options["isa"])
        return core.Trainer(*arguments, **options)

    def evaluate(*arguments, **options):
        asked.append(arguments[4])
        return core.evaluate(*arguments, **options)

    here = SimpleNamespace(Trainer=trainer, evaluate=evaluate, instruction_sets=core.instruction_sets)
    monkeypatch.setattr(native, "load", lambda: here)
    monkeypatch.setenv("LENSCOPE_ISA", "baseline")
    engine_of(tiny).evaluate(tiny.test.resized(32))
    assert asked == ["baseline", "baseline"]


def test_evaluate_counts_each_image_once(tiny, engine, monkeypatch):
    test = tiny.test.resized(32)
    plain = engine_of(tiny, TorchEngine).evaluate(test)
    for part in (1, 7, 20, 10_000):
        monkeypatch.setattr(FusedEngine, "evaluated", part)
        score = engine.evaluate(test)
        assert score.loss == pytest.approx(plain.loss, rel=1e-5)
        assert score.accuracy == plain.accuracy


def test_an_evaluation_looks_up_after_each_part(tiny, engine, monkeypatch):
    monkeypatch.setattr(FusedEngine, "evaluated", 7)
    seen = []
    engine.evaluate(tiny.test.resized(32), lambda: seen.append("part"))
    assert seen == ["part"] * 3
    with pytest.raises(StopIteration):
        engine.evaluate(tiny.test.resized(32), iter(["part"]).__next__)


def test_weights_and_kernels_are_copies(engine):
    weights, kernels = engine.weights(), engine.kernels()
    assert list(weights) == list(Network("lenet").shapes)
    assert kernels["conv2"].shape == (16, 6, 5, 5)
    kept = {name: values.copy() for name, values in weights.items()}
    for values in (*weights.values(), *kernels.values()):
        values[:] = 0
    assert same(engine.weights(), kept)
    assert np.array_equal(engine.kernels()["conv1"], kept["conv1.weight"])


def test_a_call_of_no_steps_changes_nothing(engine):
    before = engine.weights()
    assert engine.run(1, [], [], never).shape == (0,)
    assert same(engine.weights(), before)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "nesterov"])
def test_the_split_into_calls_and_threads_changes_no_byte(tiny, optimizer):
    batches, rates = [ALL[:13], ALL[13:40], ALL[40:]] * 2, [1e-3] * 6
    whole, parted = engine_of(tiny, optimizer=optimizer), engine_of(tiny, optimizer=optimizer, threads=3)
    losses = whole.run(1, batches, rates, never)
    parts = [parted.run(1, batches[at : at + 2], rates[at : at + 2], never) for at in (0, 2, 4)]
    assert np.concatenate(parts).tobytes() == losses.tobytes()
    assert same(parted.weights(), whole.weights())


def test_the_threads_are_those_asked_for_or_all(tiny, monkeypatch):
    monkeypatch.setattr(array_engine, "usable_processors", lambda: 2)
    assert engine_of(tiny, threads=None).threads == 2
    assert engine_of(tiny, threads=3).threads == 3


def test_epoch_and_seed_decide_how_images_are_distorted(tiny):
    def loss(epoch, seed=0, **how):
        engine = engine_of(tiny, augment=Augmentation(**how), seed=seed)
        return float(engine.run(epoch, [ALL], [0.1], never)[0])

    plain, distorted = loss(1), loss(1, shift=3, rotation=20, scale=0.1, shear=5, elastic=1, smoothness=5)
    assert distorted == loss(1, shift=3, rotation=20, scale=0.1, shear=5, elastic=1, smoothness=5)
    assert len({plain, distorted, loss(2, shift=3), loss(1, shift=3), loss(1, 1, shift=3), loss(1, scale=0.3)}) == 6
    assert loss(2) == plain


def test_images_are_distorted_as_the_reference_does(tiny):
    how = Augmentation(shift=2, rotation=15, scale=0.2, shear=10, elastic=1.5, smoothness=6)
    train = tiny.train.resized(32)
    by_hand = replace(train, images=augmented(train.images, ALL, how, 0, 3), _resized={})
    expected = engine_of(replace(tiny, train=by_hand)).run(1, [ALL], [0.1], never)
    got = engine_of(tiny, augment=how).run(3, [ALL], [0.1], never)
    np.testing.assert_allclose(got, expected, rtol=1e-5)  # a grey level here and there


def test_stop_before_the_first_step_takes_none(engine):
    before = engine.weights()
    assert len(engine.run(1, [ALL] * 5, [0.1] * 5, lambda: True)) == 0
    assert same(engine.weights(), before)


def test_a_stopped_call_is_as_if_its_later_steps_had_not_begun(tiny, engine):
    asked = iter([False, False])
    batches = [ALL] * 100_000
    losses = engine.run(1, batches, [1e-3] * len(batches), lambda: next(asked, True))
    assert 0 < len(losses) < len(batches)
    fresh = engine_of(tiny)
    assert fresh.run(1, [ALL] * len(losses), [1e-3] * len(losses), never).tobytes() == losses.tobytes()
    assert same(fresh.weights(), engine.weights())


def test_an_error_in_stop_comes_through_with_the_steps_that_were_taken(tiny, engine):
    asked, before = iter([False]), engine.weights()
    with pytest.raises(StopIteration):
        engine.run(1, [ALL] * 100_000, [1e-3] * 100_000, asked.__next__)
    assert not same(engine.weights(), before)
    assert np.isfinite(engine.run(1, [ALL], [1e-3], never)).all()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the platform has no timers that signal")
def test_a_signal_is_heard_within_a_call(engine):
    def ring(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(TimeoutError):  # `stop` runs no Python, in which the signal would be heard anyway
            engine.run(1, [ALL] * 100_000, [1e-3] * 100_000, repeat(False).__next__)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", [FusedEngine, TorchEngine])
@pytest.mark.parametrize("name", ["conv1.weight", "conv2.bias", "fc1.bias", "fc3.bias"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_broken_weight_is_named_and_no_step_is_taken(tiny, engine, kind, name, value):
    broken = spoilt(engine, name, value)
    started = engine_of(tiny, kind, broken)
    assert np.isnan(started.run(1, [ALL] * 3, [0.1] * 3, never)).tolist() == [True]
    assert started.failed_layer == name
    assert all(np.array_equal(values, broken[key], equal_nan=True) for key, values in started.weights().items())


@pytest.mark.parametrize("kind", [FusedEngine, TorchEngine])
def test_a_step_that_is_lost_right_after_a_state_was_loaded_goes_back_to_it(tiny, kind):
    trained, engine = (engine_of(tiny, kind) for _ in range(2))
    trained.run(1, [ALL] * 2, [0.1] * 2, never)
    state = trained.state()
    state.weights["fc1.weight"][:] = 1e38  # finite, and leads to a loss that is not
    engine.load(state)
    assert np.isnan(engine.run(1, [ALL], [0.1], never)).tolist() == [True]
    assert same(engine.weights(), state.weights)


def test_finite_weights_whose_output_is_not_are_named_by_their_layer(engine):
    state = engine.state()
    for name in ("fc1.weight", "fc2.weight"):
        state.weights[name][:] = 1e30
    engine.load(state)
    assert np.isnan(engine.run(1, [ALL], [0.1], never)).all()
    assert engine.failed_layer == "fc2"


@pytest.mark.parametrize("rate", [1e12, 1e38])
def test_a_step_in_the_middle_of_a_call_is_named_as_the_torch_engine_names_it(tiny, rate):
    fused, plain = (engine_of(tiny, kind) for kind in (FusedEngine, TorchEngine))
    rates = [0.1, rate, 0.1, 0.1]
    assert len(fused.run(1, [ALL] * 4, rates, never)) == len(plain.run(1, [ALL] * 4, rates, never))
    assert fused.failed_layer == plain.failed_layer
    assert fused.failed_layer not in {"", UNKNOWN}


@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_that_ruins_the_weights_is_refused_even_if_it_is_the_last(engine, steps):
    engine.run(1, [ALL], [0.1], never)
    before = engine.weights()
    losses = engine.run(1, [ALL] * steps, [1e38] * steps, never)
    assert len(losses) == 1
    assert np.isnan(losses[0])
    assert same(engine.weights(), before)
    assert engine.failed_layer


def test_after_finite_steps_that_lead_astray_the_weights_are_the_last_with_a_finite_loss(engine):
    losses = engine.run(1, [ALL] * 50, [1e4] * 50, never)
    assert np.isnan(losses[-1])
    assert np.isfinite(losses[:-1]).all()
    assert len(losses) > 1
    assert engine.run(1, [ALL], [1e-30], never)[0] == losses[-2]


@pytest.mark.parametrize(
    ("network", "settings", "kind"),
    [
        ("lenet", {}, FusedEngine),
        ("lenet", {"device": "cpu"}, FusedEngine),
        ("lenet", {"engine": "fused"}, FusedEngine),
        ("lenet", {"engine": "torch"}, TorchEngine),
        ("lenet1998", {}, TorchEngine),
    ],
)
def test_the_engine_follows_from_network_and_settings(tiny, network, settings, kind):
    assert type(chosen(tiny, network=network, **settings)) is kind


def chosen(tiny, channels=1, classes=10, **settings):
    config = TrainConfig(threads=1, **settings)
    network = Network(config.network, channels, classes)
    return choose_engine(network, initial_weights(network, 0), tiny.train.resized(network.image_size), config)


def refusal(tiny, **settings):
    with pytest.raises(UsageError) as caught:
        chosen(tiny, **settings)
    return str(caught.value)


@pytest.mark.parametrize("engine", ["fused", "numpy"])
def test_an_engine_on_the_cpu_where_it_cannot_be_is_refused_with_the_reason(tiny, engine):
    said = refusal(tiny, engine=engine, network="lenet1998")
    assert said == f"--engine {engine}: trains a LeNet, got LeNet1998; leave it out"
    said = refusal(tiny, engine=engine, device="cuda")
    assert said == f"--engine {engine}: runs on the CPU, got --device cuda; leave it out"


def test_images_that_native_code_does_not_take_are_numpys(tiny):
    takes = "--engine fused: takes images of 1 to 3 channels and 1 to 1,000 classes; leave it out"
    assert refusal(tiny, channels=4, engine="fused") == refusal(tiny, classes=1001, engine="fused") == takes
    engine = chosen(tiny, classes=1001)
    assert type(engine) is NumpyEngine
    assert engine.note.endswith("fused: takes images of 1 to 3 channels and 1 to 1,000 classes")


def test_a_gpu_is_pytorchs_where_it_is_asked_for(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert type(chosen(tiny)) is FusedEngine
    asked = []
    monkeypatch.setattr(torch_engine, "TorchEngine", lambda *arguments, **_: asked.append(arguments[2].device))
    chosen(tiny, device="cuda")
    assert asked == ["cuda"]


@pytest.mark.usefixtures("_not_built")
def test_without_the_extension_auto_is_numpy_and_says_why(tiny):
    engine = chosen(tiny)
    assert type(engine) is NumpyEngine
    assert engine.note.startswith("the engine is numpy, several times as slow as fused: the native engine")
    started = next(iter(fit(TrainConfig(epochs=1), tiny.resized(32), engine)))
    assert started.notes[0] == engine.note
    assert chosen(tiny, engine="numpy").note == ""
    assert refusal(tiny, engine="fused").startswith("--engine fused: the native engine")
    with pytest.raises(UsageError, match="the native engine"):
        engine_of(tiny)


def test_a_wrong_instruction_set_is_refused_also_where_auto_would_go_on(tiny, monkeypatch):
    monkeypatch.setenv("LENSCOPE_ISA", "avx1024")
    assert refusal(tiny).startswith("LENSCOPE_ISA: got 'avx1024'")
    network = Network("lenet")
    with pytest.raises(UsageError, match="LENSCOPE_ISA: got 'avx1024'"):
        predict_log_probabilities(network, initial_weights(network, 0), tiny.test.resized(32))


@pytest.mark.parametrize("network", ["lenet", "lenet1998", "mlp"])
def test_predictions_are_those_of_the_network_as_a_module(tiny, network, monkeypatch):
    net = Network(network)
    weights, test = initial_weights(net, 3), tiny.test.resized(net.image_size)
    monkeypatch.setattr(FusedEngine, "evaluated", 7)
    got = predict_log_probabilities(net, weights, test)
    assert (got.shape, got.dtype) == ((20, 10), np.float32)
    with torch.no_grad():
        plain = build_module(net, weights)(torch.from_numpy(test.images) / 255)
    np.testing.assert_allclose(got, plain.numpy(), atol=5e-5)
    monkeypatch.setitem(sys.modules, "lenscope.native._core", None)
    np.testing.assert_allclose(predict_log_probabilities(net, weights, test), plain.numpy(), atol=5e-5)
