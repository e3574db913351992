"""Where in a network the first number is that is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.nets.layers import first_broken
from lenscope.nets.numpy_pass import forward, gradients

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.nets.layers import Network, Weights

UNKNOWN = "the loss or its gradient"


def first_non_finite(
    network: Network, weights: Weights, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]]
) -> str:
    """Name the first weight, layer's output or gradient that is not finite, or else has no finite square.

    Args:
        network: a LeNet, or an mlp.
        weights: those that the step was taken from.
        images: some of that step's, uint8, shape (N, C, H, W).
        labels: theirs, shape (N,).

    Returns:
        Such as `conv1.weight`, `fc2`, `the gradient of fc3.bias` or `the square of fc3.bias`; UNKNOWN where all is
        finite.
    """
    _, found = gradients(network, weights, images, labels)
    named = {f"the gradient of {name}": gradient for name, gradient in found.items()}
    with np.errstate(over="ignore"):
        squares = {f"the square of {name}": np.square(value).sum() for name, value in (weights | named).items()}
    return first_broken({**weights, **forward(network, weights, images), **named, **squares}) or UNKNOWN
