"""The name of the first value in a network that is not finite."""

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
    """Name the first weight, layer output or gradient that is not finite, or else whose square is not.

    Args:
        network: a LeNet, or an mlp.
        weights: before the step.
        images: some images of the step, uint8, shape (N, C, H, W).
        labels: their labels, shape (N,).

    Returns:
        Such as `conv1.weight`, `fc2`, `the gradient of fc3.bias` or `the square of fc3.bias`; UNKNOWN where all is
        finite.
    """
    _, found = gradients(network, weights, images, labels)
    return name_non_finite(weights, forward(network, weights, images), found)


def name_non_finite(weights: Weights, outputs: Weights, gradients: Weights) -> str:
    """As `first_non_finite`, of weights, layers' outputs, and gradients by the names of their weights."""
    named = {f"the gradient of {name}": gradient for name, gradient in gradients.items()}
    with np.errstate(over="ignore"):
        squares = {f"the square of {name}": np.square(value).sum() for name, value in (weights | named).items()}
    return first_broken({**weights, **outputs, **named, **squares}) or UNKNOWN
