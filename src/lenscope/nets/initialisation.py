"""Initial weights as a function of the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from lenscope.randomness import Purpose, random_uniforms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@runtime_checkable
class HasInitialBounds(Protocol):
    """A network that has an initial distribution of its own."""

    def initial_bounds(self) -> Mapping[str, float | NDArray[np.float64]]:
        """The bound b of each parameter, or of each of its values, that is to be uniform in ±b."""
        ...


def initialise(network: nn.Module, seed: int) -> None:
    """Fill the weights and biases of a network from the seed, in place; torch's generators stay as they are.

    Parameter number i, counted in state_dict order, is (2u − 1)·b for the uniforms u of the stream (seed, WEIGHTS, i),
    in float64, rounded to float32. The bound b is 1/√fan_in for the weight and the bias of each Conv2d and Linear,
    which is PyTorch's default distribution (He, Zhang, Ren and Sun 2015, with a = √5), or what the network's own
    `initial_bounds` says. Parameters without a bound, such as those of a BatchNorm, keep their values.

    Args:
        network: any network; changed in place.
        seed: 0 ≤ seed < 2⁶⁴.
    """
    bounds = network.initial_bounds() if isinstance(network, HasInitialBounds) else default_bounds(network)
    with torch.no_grad():
        for index, (name, parameter) in enumerate(network.named_parameters()):
            if name in bounds:
                uniforms = random_uniforms(seed, Purpose.WEIGHTS, index, parameter.numel()).reshape(parameter.shape)
                values = ((2 * uniforms - 1) * bounds[name]).astype(np.float32)
                parameter.copy_(torch.from_numpy(values))


def default_bounds(network: nn.Module) -> dict[str, float]:
    """1/√fan_in for the weight and the bias of every Conv2d and Linear, by their names in the state_dict."""
    return {
        f"{prefix}.{name}".removeprefix("."): layer.weight[0].numel() ** -0.5
        for prefix, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
        for name, _ in layer.named_parameters(recurse=False)
    }
