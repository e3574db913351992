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

from lenscope import native
from lenscope.config import Augmentation, TrainConfig
from lenscope.data.augment import augmented
from lenscope.data.dataset import Splits
from lenscope.errors import UsageError
from lenscope.nets.catalogue import build
from lenscope.nets.lenet import LeNet
from lenscope.training import choice, fused_engine, torch_engine
from lenscope.training.choice import choose_engine, predict_log_probabilities
from lenscope.training.fused_engine import FusedEngine
from lenscope.training.nonfinite import UNKNOWN
from lenscope.training.torch_engine import TorchEngine

ALL = np.arange(60)


def never():
    return False


def engine_of(splits, kind=FusedEngine, **settings):
    config = TrainConfig(**{"device": "cpu", "threads": 1, "optimizer": "sgd", **settings})
    return kind(build("lenet", splits.train.channels, len(splits.classes), 0), splits.train.resized(32), config)


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
        monkeypatch.setattr(fused_engine, "PART", part)
        score = engine.evaluate(test)
        assert score.loss == pytest.approx(plain.loss, rel=1e-5)
        assert score.accuracy == plain.accuracy


def test_an_evaluation_looks_up_after_each_part(tiny, engine, monkeypatch):
    monkeypatch.setattr(fused_engine, "PART", 7)
    seen = []
    engine.evaluate(tiny.test.resized(32), lambda: seen.append("part"))
    assert seen == ["part"] * 3
    with pytest.raises(StopIteration):
        engine.evaluate(tiny.test.resized(32), iter(["part"]).__next__)


def test_the_weights_are_read_before_each_call_and_written_after_it(tiny, engine):
    before = engine.weights()
    engine.run(1, [ALL], [0.1], never)
    after = engine.weights()
    assert not any(np.array_equal(after[name], before[name]) for name in before)
    engine.network.load_state_dict({name: torch.from_numpy(values) for name, values in before.items()})
    engine.run(1, [ALL], [0.1], never)  # sgd remembers nothing
    assert same(engine.weights(), after)


def test_weights_and_kernels_are_copies(engine):
    weights, kernels = engine.weights(), engine.kernels()
    assert list(weights) == list(engine.network.state_dict())
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
    monkeypatch.setattr(fused_engine, "usable_processors", lambda: 2)
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


@pytest.mark.parametrize("name", ["conv1.weight", "conv1.bias", "conv2.weight", "fc1.bias", "fc2.weight", "fc3.bias"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_broken_weight_is_named_and_the_weights_before_come_back(engine, name, value):
    engine.run(1, [ALL], [0.1], never)
    before = engine.weights()
    dict(engine.network.named_parameters())[name].data.view(-1)[0] = value
    losses = engine.run(1, [ALL] * 3, [0.1] * 3, never)
    assert len(losses) == 1
    assert np.isnan(losses[0])
    assert engine.failed_layer == name
    assert same(engine.weights(), before)
    assert all(parameter.grad is None for parameter in engine.network.parameters())


@pytest.mark.parametrize("kind", [FusedEngine, TorchEngine])
def test_a_broken_weight_before_the_first_step_is_refused_too(tiny, kind):
    engine = engine_of(tiny, kind)
    before = engine.weights()
    engine.network.conv2.bias.data[3] = -math.inf
    assert np.isnan(engine.run(1, [ALL] * 3, [0.1] * 3, never)).tolist() == [True]
    assert engine.failed_layer == "conv2.bias"
    assert same(engine.weights(), before)


@pytest.mark.parametrize("kind", [FusedEngine, TorchEngine])
def test_a_step_that_is_lost_right_after_a_state_was_loaded_goes_back_to_it(tiny, kind):
    trained, engine = (engine_of(tiny, kind) for _ in range(2))
    trained.run(1, [ALL] * 2, [0.1] * 2, never)
    trained.network.fc1.weight.data.fill_(1e38)  # finite, and leads to a loss that is not
    engine.load(trained.state())
    assert np.isnan(engine.run(1, [ALL], [0.1], never)).tolist() == [True]
    assert same(engine.weights(), trained.weights())


def test_finite_weights_whose_output_is_not_are_named_by_their_layer(engine):
    engine.run(1, [ALL], [0.1], never)
    with torch.no_grad():
        engine.network.fc1.weight.fill_(1e30)
        engine.network.fc2.weight.fill_(1e30)
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
    engine = choose_engine(build(network, 1, 10, 0), tiny.train.resized(32), TrainConfig(threads=1, **settings))
    assert type(engine) is kind


def refusal(network, train, **settings):
    with pytest.raises(UsageError) as caught:
        choose_engine(network, train, TrainConfig(engine="fused", **settings))
    return str(caught.value)


def test_fused_where_it_cannot_be_is_refused_with_the_reason(tiny, monkeypatch):
    train = tiny.train.resized(32)
    said = refusal(build("lenet1998", 1, 10, 0), train)
    assert said == "--engine fused: trains a LeNet, got LeNet1998; choose --engine torch"
    takes = "--engine fused: takes images of 1 to 3 channels and 1 to 1,000 classes; choose --engine torch"
    assert refusal(LeNet(4), train) == refusal(LeNet(1, 1001), train) == takes
    said = refusal(LeNet().double(), train)
    assert said == "--engine fused: takes float32 weights on the CPU, got torch.float64 on cpu; choose --engine torch"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    said = refusal(LeNet(), train, device="cuda")
    assert said == "--engine fused: runs on the CPU, got --device cuda; leave it out, or choose --engine torch"
    assert type(choose_engine(LeNet(), train, TrainConfig(engine="fused", threads=1))) is FusedEngine


def test_a_subclass_is_another_network(tiny):
    class Wider(LeNet):
        pass

    assert type(choose_engine(Wider(), tiny.train.resized(32), TrainConfig(device="cpu"))) is TorchEngine


def test_auto_on_a_gpu_is_torch(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(choice, "TorchEngine", lambda *_: "torch, on the GPU")
    assert choose_engine(LeNet(), tiny.train.resized(32), TrainConfig()) == "torch, on the GPU"


@pytest.mark.usefixtures("_not_built")
def test_without_the_extension_auto_is_torch_and_fused_says_why(tiny):
    train = tiny.train.resized(32)
    assert type(choose_engine(LeNet(), train, TrainConfig(device="cpu"))) is TorchEngine
    assert refusal(LeNet(), train).startswith("--engine fused: the native engine")
    with pytest.raises(UsageError, match="the native engine"):
        engine_of(tiny)


def test_a_wrong_instruction_set_is_refused_also_where_auto_would_go_on(tiny, monkeypatch):
    monkeypatch.setenv("LENSCOPE_ISA", "avx1024")
    with pytest.raises(UsageError, match="LENSCOPE_ISA: got 'avx1024'"):
        choose_engine(LeNet(), tiny.train.resized(32), TrainConfig(device="cpu"))
    with pytest.raises(UsageError, match="LENSCOPE_ISA: got 'avx1024'"):
        predict_log_probabilities(LeNet(), tiny.test.resized(32))


@pytest.mark.parametrize("network", ["lenet", "lenet1998"])
def test_predictions_are_native_where_they_can_be_and_the_networks_own_everywhere(tiny, network, monkeypatch):
    net, test = build(network, 1, 10, 3), tiny.test.resized(32)
    plain = torch_engine.predict_log_probabilities(net, test)
    monkeypatch.setattr(fused_engine, "PART", 7)
    if network == "lenet":
        monkeypatch.setattr(torch_engine, "predict_log_probabilities", None)
    got = predict_log_probabilities(net, test)
    assert (got.shape, got.dtype) == ((20, 10), np.float32)
    np.testing.assert_allclose(got, plain, atol=1e-5)


@pytest.mark.usefixtures("_not_built")
def test_predictions_without_the_extension_are_torchs(tiny):
    net, test = build("lenet", 1, 10, 3), tiny.test.resized(32)
    np.testing.assert_array_equal(
        predict_log_probabilities(net, test), torch_engine.predict_log_probabilities(net, test)
    )
