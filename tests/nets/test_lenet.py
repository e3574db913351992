"""The lecture's LeNet: sizes, counts, values and names."""

from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lenscope.config import AUTOENCODERS, NetworkName
from lenscope.errors import RunError, UsageError
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.nets.summary import summarise
from lenscope.pytorch.nets.build import build, build_module, convolutions
from lenscope.pytorch.nets.summary import summarise as summarise_module


def test_has_the_lectures_61706_parameters_under_the_lectures_names() -> None:
    counts = {name: parameter.numel() for name, parameter in build("lenet", 1, 10, 0).named_parameters()}
    weights = {name: count for name, count in counts.items() if name.endswith("weight")}
    assert weights == {
        "conv1.weight": 150,
        "conv2.weight": 2400,
        "fc1.weight": 48000,
        "fc2.weight": 10080,
        "fc3.weight": 840,
    }
    assert list(build("lenet", 1, 10, 0).state_dict()) == list(counts)
    assert sum(counts.values()) == 61_706


def test_print_shows_the_lectures_layers() -> None:
    shown = [line.split(":")[0].strip(" (") for line in str(build("lenet", 1, 10, 0)).splitlines()[1:-1]]
    assert shown == ["conv1)", "pool1)", "conv2)", "pool2)", "fc1)", "fc2)", "fc3)"]


def test_computes_the_lectures_sequence() -> None:
    network = build("lenet", 3, 7, 1)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    w = network.state_dict()
    x = F.max_pool2d(F.conv2d(images, w["conv1.weight"], w["conv1.bias"]).clamp(min=0), 2, 2)
    x = F.max_pool2d(F.conv2d(x, w["conv2.weight"], w["conv2.bias"]).clamp(min=0), 2, 2)
    x = x.reshape(2, 400)
    x = (x @ w["fc1.weight"].T + w["fc1.bias"]).clamp(min=0)
    x = (x @ w["fc2.weight"].T + w["fc2.bias"]).clamp(min=0)
    logits = x @ w["fc3.weight"].T + w["fc3.bias"]
    torch.testing.assert_close(network(images), logits - logits.logsumexp(dim=1, keepdim=True))


@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 47), (2, 2)])
@pytest.mark.parametrize("name", get_args(NetworkName))
def test_every_network_takes_any_channels_and_classes(name: str, channels: int, classes: int) -> None:
    network = build(name, channels, classes, 0)
    size = network.image_size
    assert size == {"mlp": 28, "mlp-autoencoder": 28}.get(name, 32)
    expected = (2, channels, size, size) if name in AUTOENCODERS else (2, classes)
    assert network(torch.zeros(2, channels, size, size)).shape == expected


@pytest.mark.parametrize("name", get_args(NetworkName))
@pytest.mark.parametrize("channels", [1, 3])
def test_the_table_of_a_network_is_that_of_its_module(name: str, channels: int) -> None:
    network, module = Network(name, channels, 12), build(name, channels, 12, 3)
    assert str(module).startswith(f"{network.title}(\n")
    assert list(network.shapes.items()) == [(key, tuple(value.shape)) for key, value in module.state_dict().items()]
    shape = (channels, network.image_size, network.image_size)
    by_table, by_pass = summarise(network, shape).layers, summarise_module(build(name, channels, 12, 3).double(), shape)
    assert [(row.name, row.output) for row in by_table] == [(row.name, row.output) for row in by_pass.layers]
    counts = {name: sum(value.numel() for value in layer.parameters()) for name, layer in module.named_children()}
    assert counts == {row.name: row.parameters for row in summarise(network, shape).layers}
    weights = initial_weights(network, 3)
    ours, theirs = network.convolutions(weights), convolutions(build_module(network, weights))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(kernels, theirs[layer]) for layer, kernels in ours.items())


def test_weights_of_another_network_are_refused() -> None:
    network = Network("lenet")
    weights = initial_weights(network, 0)
    assert network.check(dict(reversed(weights.items()))).keys() == network.shapes.keys()
    for other in (initial_weights(Network("lenet", 3), 0), weights | {"fc4.bias": weights["fc3.bias"]}):
        with pytest.raises(RunError, match="the weights do not match a LeNet of this size"):
            network.check(other)
    weights["fc2.bias"][3] = np.nan
    with pytest.raises(RunError, match=r"fc2\.bias is not finite"):
        network.check(weights)


def test_an_unknown_network_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown network 'lenet98'; did you mean 'lenet1998'"):
        Network("lenet98")


def test_convolutions_are_found_in_any_network() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(4, 8, 3, groups=2), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(8, 2, (1, 3)))
    )
    assert {name: tuple(kernel.shape) for name, kernel in convolutions(network).items()} == {
        "conv1": (8, 2, 3, 3),
        "conv2": (2, 8, 1, 3),
    }
