"""The networks by name, and the kernels of any network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from lenscope.errors import unknown_name
from lenscope.nets.initialisation import initialise
from lenscope.nets.lenet import LeNet
from lenscope.nets.lenet1998 import LeNet1998, TableConvolution

if TYPE_CHECKING:
    from torch import Tensor

Network = LeNet | LeNet1998

NETWORKS: dict[str, type[Network]] = {"lenet": LeNet, "lenet1998": LeNet1998}


def build(name: str, channels: int, classes: int, seed: int) -> Network:
    """A network with its initial weights, on the CPU in float32; torch's generators stay as they are.

    Args:
        name: one of `lenscope.config.NetworkName`.
        channels: channels of an image.
        classes: how many classes to tell apart.
        seed: decides the initial weights.

    Raises:
        UsageError: nobody knows the name; the nearest known one is suggested.
    """
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    with torch.random.fork_rng(devices=[]):  # the layers draw weights of their own, which are replaced
        network = NETWORKS[name](channels, classes)
    initialise(network, seed)
    return network


def convolutions(network: nn.Module) -> dict[str, Tensor]:
    """The kernels of each two-dimensional convolution, named conv1, conv2, … in the network's order.

    Returns:
        Detached tensors of shape (output maps, input maps, height, width). Those of a Conv2d are the live weights:
        copy what has to outlast the next update. C3 of LeNet1998 has zeros where it has no connection.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | TableConvolution)]
    return {f"conv{number}": _kernels(layer).detach() for number, layer in enumerate(layers, start=1)}


def _kernels(layer: nn.Conv2d | TableConvolution) -> Tensor:
    return layer.dense_weight() if isinstance(layer, TableConvolution) else layer.weight
