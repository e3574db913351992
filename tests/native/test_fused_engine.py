from __future__ import annotations

import signal
import sys
from itertools import repeat
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engines import make_engine, never, same
from lenscope import native
from lenscope.config import TrainConfig
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
from lenscope.training.numpy_engine import NumpyEngine

ALL = np.arange(60)


def engine_of(splits, kind=FusedEngine, weights=None, **settings):
    config = TrainConfig(**{"device": "cpu", "threads": 1, "optimizer": "sgd", **settings})
    return make_engine(kind, splits.train, config, weights)


@pytest.fixture
def engine(tiny):
    return engine_of(tiny)


@pytest.fixture
def _not_built(monkeypatch):
    monkeypatch.setitem(sys.modules, "lenscope.native._core", None)


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


def test_the_threads_are_those_asked_for_or_all(tiny, monkeypatch):
    monkeypatch.setattr(array_engine, "usable_processors", lambda: 2)
    assert engine_of(tiny, threads=None).threads == 2
    assert engine_of(tiny, threads=3).threads == 3


@pytest.mark.parametrize("asked", [1, 2])
def test_an_exception_of_stop_propagates_with_the_steps_that_were_taken(engine, asked):
    answers, before = iter([False] * (asked - 1)), engine.weights()

    def stop():
        for answer in answers:
            return answer
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(1, [ALL] * 100_000, [1e-3] * 100_000, stop)
    assert same(engine.weights(), before) == (asked == 1)
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
    assert said == f"--engine {engine}: trains only a LeNet, got LeNet1998; leave it out"
    said = refusal(tiny, engine=engine, device="cuda")
    assert said == f"--engine {engine}: runs only on the CPU, got --device cuda; leave it out"


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
