"""PyTorch modules built from our networks and weights, and the weights read from a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from lenscope.errors import RunError
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.pytorch.nets.module import AutoencoderModule, TableConvolution, TableModule, title_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lenscope.config import InitName
    from lenscope.nets.layers import Weights


def build(name: str, channels: int, classes: int, seed: int, init: InitName = "pytorch") -> TableModule:
    """A network as a PyTorch module with its initial weights, on the CPU in float32.

    Args:
        name: one of `lenscope.config.NetworkName`.
        channels: channels of an image.
        classes: the number of classes.
        seed: decides the initial weights.
        init: their distribution; see `initial_weights`.

    Raises:
        UsageError: an unknown name; or a distribution other than its own for a LeNet1998.
    """
    network = Network(name, channels, classes)
    return build_module(network, initial_weights(network, seed, init))


def build_module(network: Network, weights: Weights) -> TableModule:
    """A network as a PyTorch module with these weights, copied; on the CPU in float32.

    PyTorch's generators, default type and default device have no effect and are not changed.
    """
    kind = TableModule if network.has_classes else AutoencoderModule
    with torch.device("meta"):  # on which layers do not initialise weights
        module = kind(network)
    tensors = {name: torch.from_numpy(weights[name].copy()) for name in network.shapes}
    module.load_state_dict(tensors, assign=True)
    return module


def load_weights(module: torch.nn.Module, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Set all weights of a module, in place; raises RunError for names or shapes of another network."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    try:
        module.load_state_dict(tensors)
    except RuntimeError:
        raise RunError(f"the weights do not match a {title_of(module)} of this size") from None


def read_weights(module: torch.nn.Module) -> Weights:
    """A copy of all weights of a module, float32, named as in its state_dict."""
    return {name: copied(tensor) for name, tensor in module.state_dict().items()}


def convolutions(module: torch.nn.Module) -> Weights:
    """A copy of the kernels of each two-dimensional convolution, named conv1, conv2, … in the network's order.

    Returns:
        float32 of shape (output maps, input maps, height, width). C3 of LeNet1998 has zeros where maps are unconnected.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, torch.nn.Conv2d | TableConvolution)]
    dense = (layer.dense_weight() if isinstance(layer, TableConvolution) else layer.weight for layer in layers)
    return {f"conv{number}": copied(kernels) for number, kernels in enumerate(dense, start=1)}


def copied(tensor: torch.Tensor) -> NDArray[np.float32]:
    """A copy of a tensor as a float32 array."""
    return tensor.detach().to("cpu", torch.float32, copy=True).numpy()
