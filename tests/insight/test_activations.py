from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lenscope.insight import activations
from lenscope.insight.activations import ablate_kernels
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.nets.lenet1998 import connection_table
from lenscope.pytorch.nets.build import build_module

LAYERS = {"lenet": ("conv1", "conv2"), "lenet1998": ("c1", "c3")}
COUNTS = {"conv1": 6, "conv2": 16}


def lively(name, channels=1):
    """A network whose answers differ from image to image, as those of small initial weights do not."""
    network = Network(name, channels)
    gain = np.float32({"lenet": 3, "lenet1998": 4}[name])
    return network, {key: array * gain for key, array in initial_weights(network, 0).items()}


@pytest.fixture(scope="module")
def digits(mnist):
    """100 digits, in grey and in three colours."""
    grey = mnist.test.take(np.arange(100)).resized(32)
    tints = np.random.default_rng(1).uniform(0.2, 1, (100, 3, 1, 1))
    return {1: grey, 3: replace(grey, images=(grey.images * tints).astype(np.uint8))}


def without(network, weights, layer, kernel):
    """A copy of the weights with a kernel's and its bias at 0; C3 keeps only the kernels that its table connects."""
    copied = {key: array.copy() for key, array in weights.items()}
    name = LAYERS[network.name][int(layer[-1]) - 1]
    if name == "c3":
        copied["c3.weight"][connection_table().nonzero()[0] == kernel] = 0
    else:
        copied[f"{name}.weight"][kernel] = 0
    copied[f"{name}.bias"][kernel] = 0
    return copied


def plain_scores(network, weights, dataset):
    """Log-probabilities by the module's forward pass in float64."""
    with torch.no_grad():
        return build_module(network, weights).double()(torch.from_numpy(dataset.images / 255)).numpy()


def half_learned(network, weights, dataset):
    """The images under the network's own answers, but for a random half that have others."""
    answers = plain_scores(network, weights, dataset).argmax(1)
    other = np.random.default_rng(0).integers(0, 10, len(dataset))
    return replace(dataset, labels=np.where(np.arange(len(dataset)) % 2, answers, other))


@pytest.mark.parametrize(("name", "channels"), [("lenet", 3), ("lenet1998", 1)])
def test_what_is_lost_and_gained_is_that_of_the_network_without_the_kernel(digits, monkeypatch, name, channels):
    network, weights = lively(name, channels)
    labelled = half_learned(network, weights, digits[channels])
    monkeypatch.setattr(activations, "CHUNK", 35)
    found = ablate_kernels(network, weights, labelled)
    before = plain_scores(network, weights, labelled).argmax(1) == labelled.labels
    assert (found.images, found.accuracy) == (100, before.mean())
    assert [(entry.layer, entry.kernel) for entry in found.kernels] == [
        (layer, kernel) for layer, count in COUNTS.items() for kernel in range(count)
    ]
    for entry in found.kernels:
        changed = without(network, weights, entry.layer, entry.kernel)
        after = plain_scores(network, changed, labelled).argmax(1) == labelled.labels
        assert (entry.lost, entry.gained) == ((before & ~after).sum(), (after & ~before).sum())
        assert entry.accuracy == after.mean()
        assert entry.change == pytest.approx(after.mean() - before.mean(), abs=1e-12)
    assert sum(entry.lost for entry in found.kernels) > 0
    assert sum(entry.gained for entry in found.kernels) > 0


def test_dead_shares_are_those_of_a_loop(digits):
    network, weights = with_dead_kernels()
    found = ablate_kernels(network, weights, digits[1]).dead
    assert list(found) == ["conv1", "conv2"]
    images, exact = torch.from_numpy(digits[1].images / 255), build_module(network, weights).double()
    with torch.no_grad():
        first = torch.relu(exact.conv1(images))
        second = torch.relu(exact.conv2(exact.pool1(first)))
    for (layer, shares), maps in zip(found.items(), (first, second), strict=True):
        dead = [sum(not any(image[k].flatten().tolist()) for image in maps) for k in range(COUNTS[layer])]
        assert shares.dtype == np.float64
        assert shares.tolist() == pytest.approx([count / len(digits[1]) for count in dead], abs=1e-12)
    assert (found["conv1"][2], found["conv2"][5], found["conv2"][6]) == (1, 1, 1)
    assert (found["conv1"][3], found["conv2"][0]) == (0, 0)
    assert 0.1 < found["conv1"][4] < 0.9


def with_dead_kernels():
    """conv1's 2 and conv2's 5 and 6 are always dead, conv1's 4 where ink is thin; conv1's 3 and conv2's 0 never are."""
    network, weights = lively("lenet")
    for kernel, weight, bias in ((2, 0, -1e-3), (3, 0, 1e-3), (4, 1, -17.5)):
        weights["conv1.weight"][kernel], weights["conv1.bias"][kernel] = weight, bias
    for kernel, weight, bias in ((5, 0, 0), (6, -np.abs(weights["conv2.weight"][6]), -10)):
        weights["conv2.weight"][kernel], weights["conv2.bias"][kernel] = weight, bias
    weights["conv2.bias"][0] = 1e6
    return network, weights


def test_lenet1998_has_no_relu_and_is_asked_about_images_of_the_whole_set(digits, monkeypatch):
    monkeypatch.setattr(activations, "LENET1998_IMAGES", 50)
    found = ablate_kernels(*lively("lenet1998"), digits[1])
    assert found.dead is None
    assert found.images == 50
    spread = np.linspace(0, len(digits[1]) - 1, 50).astype(np.int64)
    assert spread[-1] == len(digits[1]) - 1
    assert found == ablate_kernels(*lively("lenet1998"), digits[1].take(spread))


@pytest.mark.parametrize("name", LAYERS)
def test_the_weights_stay_as_they_are_and_images_of_any_size_will_do(tiny, name):
    network, weights = lively(name)
    assert tiny.test.images.shape[2:] == (28, 28)
    assert ablate_kernels(network, weights, tiny.test) == ablate_kernels(network, weights, tiny.test.resized(32))
    assert all(np.array_equal(array, weights[key]) for key, array in lively(name)[1].items())
