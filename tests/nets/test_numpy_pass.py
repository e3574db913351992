"""The numpy pass against PyTorch's modules in float64: each layer's output, log-probabilities, every gradient, ties."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lenscope.errors import UsageError
from lenscope.nets import numpy_pass
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.nets.numpy_pass import forward, gradients, log_probabilities
from lenscope.pytorch.nets.module import TableModule

NAMES = ("lenet", "lenet1998", "mlp")
SIZES = [(1, 10), (3, 47), (1, 2)]


def random_weights(network, dtype=np.float64, gain=1.0):
    return {name: (array * gain).astype(dtype) for name, array in initial_weights(network, 3).items()}


def batch(network, count, levels=256):
    rng = np.random.default_rng(count)
    images = rng.integers(0, levels, (count, network.channels, network.image_size, network.image_size), dtype=np.uint8)
    return images, rng.integers(0, network.classes, count)


def module_of(network, weights):
    module = TableModule(network).double()
    module.load_state_dict({name: torch.from_numpy(array.astype(np.float64)) for name, array in weights.items()})
    return module


def by_autograd(network, weights, images, labels):
    module = module_of(network, weights)
    loss = F.nll_loss(module(torch.from_numpy(images / 255)), torch.from_numpy(labels))
    loss.backward()
    return loss.item(), {name: parameter.grad.numpy() for name, parameter in module.named_parameters()}


def check_gradients(got, expected, relative):
    assert got[0] == pytest.approx(expected[0], rel=relative)
    assert list(got[1]) == list(expected[1])
    for name, gradient in expected[1].items():
        assert np.abs(got[1][name] - gradient).max() <= relative * np.abs(gradient).max(), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_each_layers_output_is_that_of_the_module(name, size):
    network = Network(name, *size)
    weights, (images, _) = random_weights(network, gain=2.0), batch(network, 3)
    module, seen = module_of(network, weights), {}
    for layer, part in module.named_children():
        part.register_forward_hook(lambda _m, _i, out, layer=layer: seen.update({layer: out.detach().numpy()}))
    expected = module(torch.from_numpy(images / 255)).detach().numpy()
    got = forward(network, weights, images)
    assert list(got) == [layer.name for layer in network.layers]
    for layer, values in seen.items():
        np.testing.assert_allclose(got[layer], values, rtol=1e-12, atol=1e-12, err_msg=layer)
    np.testing.assert_allclose(log_probabilities(network, weights, images), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("name", ["lenet", "mlp"])
@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_autograds(name, size, count):
    network = Network(name, *size)
    weights, data = random_weights(network), batch(network, count)
    check_gradients(gradients(network, weights, *data), by_autograd(network, weights, *data), 1e-10)


def test_gradients_of_float32_are_autograds_on_real_images(mnist):
    network, train = Network("lenet"), mnist.train.take(np.arange(100)).resized(32)
    weights, data = random_weights(network, np.float32), (train.images, train.labels.astype(np.int64))
    got = gradients(network, weights, *data)
    assert {gradient.dtype for gradient in got[1].values()} == {np.dtype(np.float32)}
    check_gradients(got, by_autograd(network, weights, *data), 2e-5)


def test_the_first_of_equals_wins_and_dead_units_get_nothing():
    network = Network("lenet")
    weights = random_weights(network)
    for name, array in weights.items():
        weights[name] = (array * 20).round().clip(-1, 1) if name.startswith("conv") else array
    images, labels = batch(network, 20, levels=2)
    data = images * np.uint8(255), labels  # sums of whole numbers, so that windows are full of equals
    check_gradients(gradients(network, weights, *data), by_autograd(network, weights, *data), 1e-11)


def test_predictions_in_parts_are_those_of_the_whole(monkeypatch):
    network = Network("lenet")
    weights, (images, _) = random_weights(network), batch(network, 10)
    whole = log_probabilities(network, weights, images)
    monkeypatch.setattr(numpy_pass, "CHUNK", 3)
    np.testing.assert_allclose(log_probabilities(network, weights, images), whole, rtol=1e-12)


def test_weights_and_images_stay_as_they_are():
    network = Network("lenet1998")
    weights, (images, _) = random_weights(network), batch(network, 2)
    before = {name: array.copy() for name, array in weights.items()}, images.copy()
    forward(network, weights, images)
    assert all(np.array_equal(array, before[0][name]) for name, array in weights.items())
    assert np.array_equal(images, before[1])


def test_a_decoder_is_refused():
    network = Network("autoencoder")
    weights, (images, _) = random_weights(network), batch(network, 1)
    with pytest.raises(UsageError, match="back2: numpy cannot compute a layer of kind deconv"):
        forward(network, weights, images)
