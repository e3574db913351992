from __future__ import annotations

import gc
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import plant_gradient
from engines import never
from lenscope import native
from lenscope.config import TrainConfig
from lenscope.data.augment import augmented
from lenscope.data.dataset import Dataset
from lenscope.errors import UsageError
from lenscope.pytorch import engine as torch_engine
from lenscope.pytorch.devices import choose_device
from lenscope.pytorch.engine import TorchEngine
from lenscope.pytorch.nets.build import build
from lenscope.training.distortion import Distortion


@pytest.fixture
def engine(tiny):
    return TorchEngine(build("lenet", 1, 10, 0), tiny.train.resized(32), TrainConfig(device="cpu", optimizer="sgd"))


def test_torchs_generator_is_left_alone(tiny):
    before = torch.random.get_rng_state()
    engine = TorchEngine(build("lenet", 1, 10, 0), tiny.train.resized(32), TrainConfig(device="cpu"))
    engine.run(1, [np.arange(60)] * 2, [0.1] * 2, never)
    engine.evaluate(tiny.test.resized(32))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_read_only_images_are_trained_on_and_left_as_they_are(tiny):
    train = tiny.train.resized(32)
    images = train.images.copy()
    images.flags.writeable = False
    frozen = Dataset(images, train.labels, train.classes, train.name)
    engine = TorchEngine(build("lenet", 1, 10, 0), frozen, TrainConfig(device="cpu"))
    assert np.isfinite(engine.run(1, [np.arange(60)], [0.1], never)).all()
    assert np.isfinite(engine.evaluate(frozen).loss)
    np.testing.assert_array_equal(images, train.images)


def test_native_code_distorts_what_it_can_and_the_numerics_say_what_did(tiny, monkeypatch):
    """Numbers of its own by an instruction set, so that it is recorded and compared where a run resumes."""
    config = TrainConfig(device="cpu", augment="rotation=10,elastic=1", seed=5)
    train, indices = tiny.train.resized(32), np.array([7, 3, 50])
    expected = augmented(train.images[indices], indices, config.augment, 5, 2)
    distorted = Distortion(config, train.images.shape)(train.images[indices], indices, 2)
    assert np.abs(distorted.astype(int) - expected).max() <= 1

    def said(size, **settings):
        images = tiny.train.resized(size)
        return TorchEngine(build("lenet", 1, 10, 0), images, config.with_settings(**settings)).numerics()

    assert said(32)["distortions"] == f"native {native.instruction_set()}"
    assert said(28)["distortions"] == "numpy"
    assert "distortions" not in said(32, augment="none")
    monkeypatch.setattr(native, "reason", lambda: "not built")
    assert said(32)["distortions"] == "numpy"
    numpys = Distortion(config, train.images.shape)(train.images[indices], indices, 2)
    assert np.array_equal(numpys, expected)


def test_what_is_evaluated_is_kept_no_longer_than_its_data(tiny, engine):
    test = tiny.test.take(np.arange(20)).resized(32)
    first = engine.evaluate(test)
    assert engine.evaluate(test) == first
    assert len(engine._kept) == 2
    del test
    gc.collect()
    assert len(engine._kept) == 1


def test_threads_are_set_and_told(tiny):
    assert torch.get_num_threads() == 1
    try:
        engine = TorchEngine(build("lenet", 1, 10, 0), tiny.train.resized(32), TrainConfig(device="cpu", threads=2))
        assert engine.threads == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_an_interrupted_step_in_parts_is_as_if_it_had_not_begun(tiny, engine, monkeypatch):
    monkeypatch.setattr(torch_engine, "MICRO_BATCH", 7)
    engine.run(1, [np.arange(60)], [0.1], never)
    before, asked = engine.weights(), iter([False, False, False, True])
    assert len(engine.run(1, [np.arange(60)], [0.1], lambda: next(asked))) == 0
    for name, values in engine.weights().items():
        np.testing.assert_array_equal(values, before[name])
    straight = TorchEngine(build("lenet", 1, 10, 0), tiny.train.resized(32), TrainConfig(device="cpu", optimizer="sgd"))
    straight.run(1, [np.arange(60)] * 2, [0.1] * 2, never)
    engine.run(1, [np.arange(60)], [0.1], never)
    for name, values in engine.weights().items():
        np.testing.assert_array_equal(values, straight.weights()[name])


def test_a_broken_gradient_is_named_and_the_weights_stay(engine):
    name = "fc3.weight"
    engine.run(1, [np.arange(60)], [0.1], never)
    before = engine.weights()
    plant_gradient(engine, name, lambda gradient: gradient * math.inf)
    losses = engine.run(1, [np.arange(60)], [0.1], never)
    assert np.isnan(losses).all()
    assert engine.failed_layer == f"the gradient of {name}"
    for layer, values in engine.weights().items():
        np.testing.assert_array_equal(values, before[layer])


def test_gradients_too_large_to_sum_up_are_refused_too(engine):
    plant_gradient(engine, "fc3.bias", lambda gradient: torch.full_like(gradient, 1e25))
    assert np.isnan(engine.run(1, [np.arange(60)], [0.1], never)).all()
    assert engine.failed_layer == "the square of the gradient of fc3.bias"


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(False, False, "cpu"), (True, False, "cuda"), (False, True, "mps"), (True, True, "cuda")],
)
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch, cuda, mps, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(chosen)
    assert choose_device(chosen) == torch.device(chosen)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "there"), [("cuda", "mps, cpu"), ("mps", "cuda, cpu")])
def test_a_device_that_is_not_there_is_named_with_those_that_are(monkeypatch, name, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: name != "cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: name != "mps")
    with pytest.raises(UsageError) as caught:
        choose_device(name)
    assert str(caught.value) == (
        f"--device {name}: not available to PyTorch {torch.__version__}; available here: {there}"
    )


def test_a_network_without_a_quicker_way_is_called_as_it_is(tiny):
    train = tiny.train.resized(32)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 10), torch.nn.LogSoftmax(1))
    expected = F.nll_loss(network(torch.from_numpy(train.images).float() / 255), torch.from_numpy(train.labels).long())
    engine = TorchEngine(network, train, TrainConfig(device="cpu"))
    assert engine.run(1, [np.arange(60)], [0.1], never) == pytest.approx([expected.item()], rel=1e-6)
    assert engine.kernels() == {}
