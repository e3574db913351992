"""The lecture's LeNet: sizes, counts, values and names."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from lenscope.config import AUTOENCODERS, NetworkName
from lenscope.errors import UsageError
from lenscope.nets.catalogue import NETWORKS, build, convolutions
from lenscope.nets.lenet import LeNet


def test_has_the_lectures_61706_parameters_under_the_lectures_names() -> None:
    counts = {name: parameter.numel() for name, parameter in LeNet().named_parameters()}
    weights = {name: count for name, count in counts.items() if name.endswith("weight")}
    assert weights == {
        "conv1.weight": 150,
        "conv2.weight": 2400,
        "fc1.weight": 48000,
        "fc2.weight": 10080,
        "fc3.weight": 840,
    }
    assert list(LeNet().state_dict()) == list(counts)
    assert sum(counts.values()) == 61_706


def test_print_shows_the_lectures_layers() -> None:
    shown = [line.split(":")[0].strip(" (") for line in str(LeNet()).splitlines()[1:-1]]
    assert shown == ["conv1)", "pool1)", "conv2)", "pool2)", "fc1)", "fc2)", "fc3)"]


def test_gives_log_probabilities_that_sum_to_one() -> None:
    log_probabilities = build("lenet", 1, 10, 0)(torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert log_probabilities.shape == (3, 10)
    torch.testing.assert_close(log_probabilities.exp().sum(dim=1), torch.ones(3))


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


def test_the_catalogue_holds_every_name_of_the_configuration() -> None:
    assert set(NETWORKS) == set(get_args(NetworkName))


def test_an_unknown_network_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown network 'lenet98'; did you mean 'lenet1998'"):
        build("lenet98", 1, 10, 0)


def test_convolutions_are_the_kernels_in_order() -> None:
    network = build("lenet", 1, 10, 0)
    kernels = convolutions(network)
    assert list(kernels) == ["conv1", "conv2"]
    assert torch.equal(kernels["conv1"], network.conv1.weight)
    assert torch.equal(kernels["conv2"], network.conv2.weight)
    assert not any(kernel.requires_grad for kernel in kernels.values())


def test_convolutions_are_found_in_any_network() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(4, 8, 3, groups=2), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(8, 2, (1, 3)))
    )
    assert {name: tuple(kernel.shape) for name, kernel in convolutions(network).items()} == {
        "conv1": (8, 2, 3, 3),
        "conv2": (2, 8, 1, 3),
    }
