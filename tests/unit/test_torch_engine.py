from __future__ import annotations

import gc
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import plant_gradient
from lenscope.config import TrainConfig
from lenscope.data.dataset import Dataset
from lenscope.errors import UsageError
from lenscope.pytorch import classification
from lenscope.pytorch import engine as torch_engine
from lenscope.pytorch.augment import augmented
from lenscope.pytorch.engine import TorchEngine, choose_device
from lenscope.pytorch.nets.build import build


def never():
    return False


@pytest.fixture
def engine(tiny):
    return TorchEngine(build("lenet", 1, 10, 0), tiny.train.resized(32), TrainConfig(device="cpu", optimizer="sgd"))


def plain_score(network, dataset):
    """Loss and accuracy by the network's own forward, an image at a time."""
    losses, right = [], 0
    for image, label in zip(dataset.images, dataset.labels.tolist(), strict=True):
        with torch.no_grad():
            output = network(torch.from_numpy(image[None]).float() / 255)[0]
        losses.append(-output[label].item())
        right += int(output.argmax()) == label
    return math.fsum(losses) / len(losses), right / len(losses)


@pytest.mark.parametrize("part", [1, 7, 19, 20, 21])
def test_evaluate_counts_each_image_once(tiny, monkeypatch, part):
    monkeypatch.setattr(torch_engine, "PART", part)
    monkeypatch.setattr(classification, "PART", part)
    engine = TorchEngine(build("lenet", 1, 10, 7), tiny.train.resized(32), TrainConfig(device="cpu"))
    test = tiny.test.resized(32)
    score = engine.evaluate(test)
    loss, accuracy = plain_score(engine.network, test)
    assert score.loss == pytest.approx(loss, rel=1e-6)
    assert score.accuracy == accuracy


def test_an_evaluation_looks_up_after_each_part(tiny, monkeypatch):
    monkeypatch.setattr(classification, "PART", 7)
    engine, seen = TorchEngine(build("lenet", 1, 10, 0), tiny.train.resized(32), TrainConfig(device="cpu")), []
    engine.evaluate(tiny.test.resized(32), lambda: seen.append("part"))
    assert seen == ["part"] * 3
    with pytest.raises(StopIteration):
        engine.evaluate(tiny.test.resized(32), iter(["part"]).__next__)


def test_evaluating_changes_nothing(tiny, engine):
    before = engine.weights()
    engine.evaluate(tiny.test.resized(32))
    for name, values in engine.weights().items():
        np.testing.assert_array_equal(values, before[name])


def test_weights_and_kernels_are_copies(engine):
    weights, kernels = engine.weights(), engine.kernels()
    kept = {name: values.copy() for name, values in (weights | kernels).items()}
    engine.run(1, [np.arange(60)], [0.1], never)
    for name, values in (weights | kernels).items():
        np.testing.assert_array_equal(values, kept[name])
        assert values.dtype == np.float32
    assert not np.array_equal(engine.weights()["conv1.weight"], weights["conv1.weight"])
    assert not np.array_equal(engine.kernels()["conv1"], kernels["conv1"])
    assert {name: kernel.shape for name, kernel in kernels.items()} == {"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5)}
    np.testing.assert_array_equal(kernels["conv1"], weights["conv1.weight"])
    weights["conv1.weight"][:] = 0
    assert engine.network.conv1.weight.abs().min() > 0


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


def test_the_losses_are_those_before_each_update(tiny, engine):
    losses = engine.run(1, [np.arange(60)], [0.1], never)
    fresh = TorchEngine(build("lenet", 1, 10, 0), tiny.train.resized(32), TrainConfig(device="cpu"))
    assert losses == pytest.approx([fresh.evaluate(tiny.train.resized(32)).loss], rel=1e-6)
    assert losses.dtype == np.float32


def test_images_are_distorted_anew_each_epoch_where_the_config_asks(tiny):
    config = TrainConfig(device="cpu", augment="shift=3,elastic=2", seed=5)
    train, network = tiny.train.resized(32), build("lenet", 1, 10, 0)
    indices = torch.tensor([7, 3, 50])
    expected = []
    for epoch in (4, 5):
        images = augmented(torch.from_numpy(train.images)[indices], indices, config.augment, 5, epoch)
        labels = torch.from_numpy(train.labels)[indices].long()
        expected.append(F.nll_loss(network(images.float() / 255), labels).item())
    engine = TorchEngine(network, train, config)
    got = [engine.run(epoch, [indices.numpy()], [1e-12], never)[0] for epoch in (4, 5)]
    assert got == pytest.approx(expected, rel=1e-5)
    assert expected[0] != pytest.approx(expected[1], rel=1e-3)


def test_evaluation_is_of_images_as_they_are(tiny):
    engines = [
        TorchEngine(build("lenet", 1, 10, 0), tiny.train.resized(32), TrainConfig(device="cpu", augment=how))
        for how in ("none", "rotation=90")
    ]
    assert engines[0].evaluate(tiny.train.resized(32)) == engines[1].evaluate(tiny.train.resized(32))


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


def test_stop_between_steps_ends_the_call(engine):
    asked = iter([False, False, True])
    losses = engine.run(1, [np.arange(20)] * 5, [0.1] * 5, lambda: next(asked))
    assert len(losses) == 2


def test_an_interrupted_step_in_parts_is_as_if_it_had_not_begun(tiny, engine, monkeypatch):
    monkeypatch.setattr(torch_engine, "PART", 7)
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


@pytest.mark.parametrize("name", ["conv1.weight", "conv1.bias", "conv2.weight", "fc1.bias", "fc2.weight", "fc3.bias"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_broken_weight_is_named(engine, name, value):
    engine.run(1, [np.arange(60)], [0.1], never)
    before = engine.weights()
    dict(engine.network.named_parameters())[name].data.view(-1)[0] = value
    losses = engine.run(1, [np.arange(60)] * 3, [0.1] * 3, never)
    assert len(losses) == 1
    assert np.isnan(losses[0])
    assert engine.failed_layer == name
    for layer, values in engine.weights().items():
        np.testing.assert_array_equal(values, before[layer])


@pytest.mark.parametrize("name", ["conv1.weight", "conv2.bias", "fc1.weight", "fc3.weight"])
def test_a_broken_gradient_is_named_and_the_weights_stay(engine, name):
    engine.run(1, [np.arange(60)], [0.1], never)
    before = engine.weights()
    plant_gradient(engine, name, lambda gradient: gradient * math.inf)
    losses = engine.run(1, [np.arange(60)], [0.1], never)
    assert np.isnan(losses).all()
    assert engine.failed_layer == f"the gradient of {name}"
    for layer, values in engine.weights().items():
        np.testing.assert_array_equal(values, before[layer])


def test_finite_weights_whose_output_is_not_are_named_by_their_layer(engine):
    engine.run(1, [np.arange(60)], [0.1], never)
    with torch.no_grad():
        engine.network.fc1.weight.fill_(1e30)
        engine.network.fc2.weight.fill_(1e30)
    assert np.isnan(engine.run(1, [np.arange(60)], [0.1], never)).all()
    assert engine.failed_layer == "fc2"


def test_gradients_too_large_to_sum_up_are_refused_too(engine):
    plant_gradient(engine, "fc3.bias", lambda gradient: torch.full_like(gradient, 1e25))
    assert np.isnan(engine.run(1, [np.arange(60)], [0.1], never)).all()
    assert engine.failed_layer == "the square of the gradient of fc3.bias"


@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_that_ruins_the_weights_is_refused_even_if_it_is_the_last(engine, steps):
    engine.run(1, [np.arange(60)], [0.1], never)
    before = engine.weights()
    losses = engine.run(1, [np.arange(60)] * steps, [1e30] * steps, never)
    assert len(losses) == 1
    assert np.isnan(losses[0])
    for layer, values in engine.weights().items():
        np.testing.assert_array_equal(values, before[layer])


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
        f"--device {name}: not available to PyTorch {torch.__version__} here; there is: {there}"
    )


def test_a_network_without_a_quicker_way_is_called_as_it_is(tiny):
    train = tiny.train.resized(32)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 10), torch.nn.LogSoftmax(1))
    expected = F.nll_loss(network(torch.from_numpy(train.images).float() / 255), torch.from_numpy(train.labels).long())
    engine = TorchEngine(network, train, TrainConfig(device="cpu"))
    assert engine.run(1, [np.arange(60)], [0.1], never) == pytest.approx([expected.item()], rel=1e-6)
    assert engine.kernels() == {}
