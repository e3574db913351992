from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from lenscope.config import TrainConfig
from lenscope.insight import activations
from lenscope.insight.activations import Ablation, ablate_kernels, find_dead_shares
from lenscope.nets.catalogue import build
from lenscope.training.torch_engine import TorchEngine

LAYERS = {"lenet": ("conv1", "conv2"), "lenet1998": ("c1", "c3")}
COUNTS = {"conv1": 6, "conv2": 16}


@pytest.fixture
def _not_built(monkeypatch):
    monkeypatch.setitem(sys.modules, "lenscope.native._core", None)


def lively(name, channels=1, seed=0):
    """A network whose answers differ from image to image, as those of small initial weights do not."""
    network = build(name, channels, 10, seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_({"lenet": 3, "lenet1998": 4}[name])
    return network


@pytest.fixture(scope="module")
def digits(mnist):
    """200 digits, and the same in three colours."""
    grey = mnist.test.take(np.arange(200)).resized(32)
    tints = np.random.default_rng(1).uniform(0.2, 1, (200, 3, 1, 1))
    return {1: grey, 3: replace(grey, images=(grey.images * tints).astype(np.uint8), _resized={})}


def without(name, network, layer, kernel):
    """A copy with a kernel's weights and bias at 0; C3 keeps only the kernels that its table connects."""
    copied = deepcopy(network)
    convolution = getattr(copied, LAYERS[name][int(layer[-1]) - 1])
    with torch.no_grad():
        if layer == "conv2" and name == "lenet1998":
            for at, position in enumerate(convolution.positions.tolist()):
                if position // 6 == kernel:
                    convolution.weight[at] = 0
        else:
            convolution.weight[kernel] = 0
        convolution.bias[kernel] = 0
    return copied


def plain_scores(network, dataset):
    """Log-probabilities by the network's own forward pass in float64."""
    with torch.no_grad():
        return deepcopy(network).double()(torch.from_numpy(dataset.images / 255)).numpy()


def half_learned(network, dataset, seed=0):
    """The images under the network's own answers, but for a random half that have others."""
    answers = plain_scores(network, dataset).argmax(1)
    other = np.random.default_rng(seed).integers(0, 10, len(dataset))
    return replace(dataset, labels=np.where(np.arange(len(dataset)) % 2, answers, other), _resized={})


def check_answers(answers, scores):
    """The answer of each image is the best one, or as good within 1e-5."""
    given = scores[np.arange(len(scores)), answers]
    assert (scores.max(1) - given).max() < 1e-5


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_gets_the_answer_of_the_network_without_the_kernel(digits, name, channels):
    network = lively(name, channels)
    answers = {
        "conv1": activations._answers_without_first(network, digits[channels]),
        "conv2": activations._answers_without_second(network, digits[channels]),
    }
    with_all = plain_scores(network, digits[channels]).argmax(1)
    for layer, rows in answers.items():
        assert rows.shape == (COUNTS[layer], 200)
        for kernel, row in enumerate(rows):
            check_answers(row, plain_scores(without(name, network, layer, kernel), digits[channels]))
    assert all((rows != with_all).any() for rows in answers.values())


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_accuracies_are_those_of_the_torch_engine(digits, name, channels, seed):
    network = lively(name, channels, seed)
    labelled = half_learned(network, digits[channels])
    found = ablate_kernels(network, labelled)
    config = TrainConfig(device="cpu", threads=1)

    def accuracy(of):
        return TorchEngine(deepcopy(of), labelled, config).evaluate(labelled).accuracy

    assert found.images == 200
    assert found.accuracy == accuracy(network)
    assert [(entry.layer, entry.kernel) for entry in found.kernels] == [
        (layer, kernel) for layer, count in COUNTS.items() for kernel in range(count)
    ]
    for entry in found.kernels:
        assert entry.accuracy == accuracy(without(name, network, entry.layer, entry.kernel))
        assert entry.change == pytest.approx(entry.accuracy - found.accuracy, abs=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_lost_and_gained_are_those_of_a_loop(digits, name):
    network = lively(name)
    labelled = half_learned(network, digits[1])
    before = plain_scores(network, labelled).argmax(1)
    found = ablate_kernels(network, labelled)
    for entry in found.kernels:
        after = plain_scores(without(name, network, entry.layer, entry.kernel), labelled).argmax(1)
        triples = list(zip(labelled.labels.tolist(), before.tolist(), after.tolist(), strict=True))
        assert entry.lost == sum(old == label != new for label, old, new in triples)
        assert entry.gained == sum(old != label == new for label, old, new in triples)
    assert sum(entry.lost for entry in found.kernels) > 0
    assert sum(entry.gained for entry in found.kernels) > 0


@pytest.mark.usefixtures("_not_built")
def test_without_native_code_torch_does_it(digits):
    network = lively("lenet")
    assert activations.fused_engine.obstacle(network) is not None
    answers = activations._answers_without_second(network, digits[1])
    for kernel, row in enumerate(answers):
        check_answers(row, plain_scores(without("lenet", network, "conv2", kernel), digits[1]))
    assert ablate_kernels(network, digits[1]).images == 200
    assert not network.pool2._forward_hooks


@pytest.mark.usefixtures("_not_built")
def test_dead_shares_of_torch_are_those_of_a_loop(digits):
    check_dead_shares(digits[1])


def test_dead_shares_are_those_of_a_loop(digits):
    check_dead_shares(digits[1])


def check_dead_shares(digits):
    network = with_dead_kernels()
    found = find_dead_shares(network, digits)
    assert list(found) == ["conv1", "conv2"]
    images = torch.from_numpy(digits.images / 255)
    exact = deepcopy(network).double()
    with torch.no_grad():
        first = torch.relu(exact.conv1(images))
        second = torch.relu(exact.conv2(exact.pool1(first)))
    for (layer, shares), maps in zip(found.items(), (first, second), strict=True):
        dead = [sum(not any(image[k].flatten().tolist()) for image in maps) for k in range(COUNTS[layer])]
        assert shares.dtype == np.float64
        assert shares.tolist() == pytest.approx([count / len(digits) for count in dead], abs=1e-12)
    assert (found["conv1"][2], found["conv2"][5], found["conv2"][6]) == (1, 1, 1)
    assert (found["conv1"][3], found["conv2"][0]) == (0, 0)
    assert 0.1 < found["conv1"][4] < 0.9


def with_dead_kernels():
    """conv1's 2 and conv2's 5 and 6 are always dead, conv1's 4 where ink is thin; conv1's 3 and conv2's 0 never are."""
    network = lively("lenet")
    with torch.no_grad():
        network.conv1.weight[2], network.conv1.bias[2] = 0, -1e-3
        network.conv1.weight[3], network.conv1.bias[3] = 0, 1e-3
        network.conv1.weight[4], network.conv1.bias[4] = 1, -17.5
        network.conv2.weight[5], network.conv2.bias[5] = 0, 0
        network.conv2.weight[6], network.conv2.bias[6] = -network.conv2.weight[6].abs(), -10
        network.conv2.bias[0] = 1e6
    return network


def test_a_dead_kernel_can_be_switched_off_without_loss(digits):
    network = with_dead_kernels()
    labelled = half_learned(network, digits[1])
    found = {(entry.layer, entry.kernel): entry for entry in ablate_kernels(network, labelled).kernels}
    for layer, kernel in [("conv1", 2), ("conv2", 5), ("conv2", 6)]:
        accuracy = ablate_kernels(network, labelled).accuracy
        assert found[layer, kernel] == Ablation(layer, kernel, accuracy, change=0, lost=0, gained=0)


@pytest.mark.parametrize("name", LAYERS)
def test_parts_give_what_the_whole_gives(digits, monkeypatch, name):
    network = lively(name)
    whole = ablate_kernels(network, digits[1]), find_dead_shares(network, digits[1])
    monkeypatch.setattr(activations, "PART", 70)
    parts = ablate_kernels(network, digits[1]), find_dead_shares(network, digits[1])
    assert whole[0] == parts[0]
    if name == "lenet":
        assert [list(shares) for shares in whole[1].values()] == [list(shares) for shares in parts[1].values()]


def test_lenet1998_has_no_relu_and_is_asked_about_images_of_the_whole_set(digits, monkeypatch):
    network = lively("lenet1998")
    assert find_dead_shares(network, digits[1]) is None
    monkeypatch.setattr(activations, "LENET1998_IMAGES", 50)
    found = ablate_kernels(network, digits[1])
    assert found.images == 50
    spread = np.linspace(0, len(digits[1]) - 1, 50).astype(np.int64)
    assert spread[-1] == len(digits[1]) - 1
    assert found == ablate_kernels(network, digits[1].take(spread))


@pytest.mark.parametrize("name", LAYERS)
def test_the_network_stays_as_it_is_and_images_of_any_size_will_do(tiny, name):
    network = lively(name).train()
    before = {key: values.clone() for key, values in network.state_dict().items()}
    found = ablate_kernels(network, tiny.test), find_dead_shares(network, tiny.test)
    assert tiny.test.images.shape[2:] == (28, 28)
    assert found[0] == ablate_kernels(network, tiny.test.resized(32))
    assert all(torch.equal(values, before[key]) for key, values in network.state_dict().items())
    assert all(not module._forward_hooks for module in network.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
