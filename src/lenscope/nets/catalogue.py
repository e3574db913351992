"""The networks by name, and the kernels of any network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from lenscope.errors import RunError, unknown_name
from lenscope.nets.autoencoder import Autoencoder
from lenscope.nets.initialisation import initialise
from lenscope.nets.lenet import LeNet
from lenscope.nets.lenet1998 import LeNet1998, TableConvolution
from lenscope.nets.mlp import Mlp, MlpAutoencoder
from lenscope.nets.threads import GENERATOR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from lenscope.config import InitName

Network = LeNet | LeNet1998 | Mlp | Autoencoder | MlpAutoencoder
LeNets = LeNet | LeNet1998  # whose kernels can be switched off, and which the report runs in its page
AutoencoderNetwork = Autoencoder | MlpAutoencoder

NETWORKS: dict[str, type[Network]] = {
    "lenet": LeNet,
    "lenet1998": LeNet1998,
    "mlp": Mlp,
    "autoencoder": Autoencoder,
    "mlp-autoencoder": MlpAutoencoder,
}


def build(name: str, channels: int, classes: int, seed: int, init: InitName = "pytorch") -> Network:
    """A network with its initial weights, on the CPU in float32; torch's generators stay as they are.

    Torch's default type and device change nothing. Threads may build at the same time.

    Args:
        name: one of `lenscope.config.NetworkName`.
        channels: channels of an image.
        classes: how many classes to tell apart.
        seed: decides the initial weights.
        init: how they are drawn; see `initialise`.

    Raises:
        UsageError: nobody knows the name, and the nearest known one is suggested; or a network that has initial weights
            of its own.
    """
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    # The layers draw weights of their own, which are replaced.
    with GENERATOR, torch.random.fork_rng(devices=[]), torch.device("cpu"):
        network = NETWORKS[name](channels, classes).float()
    initialise(network, seed, init)
    return network


def load_weights(network: nn.Module, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Set all weights of a network, in place; raises RunError where names or shapes are another network's."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise RunError(f"the weights are not those of a {type(network).__name__} of this size") from None


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
