"""The update rules on flat arrays, by the names that students know; the formulas are PyTorch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.config import TrainConfig

    Array = NDArray[np.floating[Any]]  # float32
    Moments = tuple[Array, Array]

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8  # of Adam


def updated(  # noqa: PLR0913, PLR0917 - all that an update depends on
    config: TrainConfig, number: int, rate: float, weights: Array, moments: Moments, gradient: Array
) -> tuple[Array, Array, Array]:
    """New weights, and the two new moments; the old ones stay as they are.

    `gd` and `sgd` are the plain step (they differ in the batch alone). `momentum` and `nesterov` have the learning rate
    outside the velocity (Sutskever et al., ICML 2013). `adam` is Kingma and Ba's (ICLR 2015) with L2 weight decay;
    `adamw` decouples it (Loshchilov and Hutter, ICLR 2019).

    Args:
        config: optimiser, momentum and weight decay.
        number: of the update, counted from 1.
        rate: the learning rate.
        weights: float32, shape (parameters,).
        moments: what `no_moments` began with.
        gradient: of the loss, without weight decay.
    """
    if config.optimizer == "adamw":
        weights = weights * (1 - rate * config.weight_decay)
    else:
        gradient = gradient + config.weight_decay * weights
    first, second = moments
    match config.optimizer:
        case "momentum" | "nesterov":
            first = config.momentum * first + gradient
            step = gradient + config.momentum * first if config.optimizer == "nesterov" else first
            return weights - rate * step, first, second
        case "adam" | "adamw":
            first = first + (1 - FIRST_DECAY) * (gradient - first)
            second = SECOND_DECAY * second + (1 - SECOND_DECAY) * np.square(gradient)
            size, scale = rate / (1 - FIRST_DECAY**number), (1 - SECOND_DECAY**number) ** -0.5
            return weights - size * first / (np.sqrt(second) * scale + EPSILON), first, second
        case _:
            return weights - rate * gradient, first, second


def no_moments(config: TrainConfig, count: int) -> Moments:
    """Zeros for each moment that the optimiser keeps of `count` parameters: Adam's two, or the velocity; else empty."""
    kept = {"momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}.get(config.optimizer, 0)
    return np.zeros(count * (kept > 0), np.float32), np.zeros(count * (kept > 1), np.float32)
