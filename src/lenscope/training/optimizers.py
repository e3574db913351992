"""The optimisers, by the names that students know: one table for every engine, and their steps in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from lenscope.config import OptimizerName, TrainConfig

    Array = NDArray[np.floating[Any]]  # float32
    Moments = tuple[Array, Array]

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8  # of Adam


class Step(NamedTuple):
    """What a step depends on.

    Attributes:
        config: momentum and weight decay.
        number: of the step, counted from 1.
        rate: the learning rate.
        gradient: of the loss and of any L2 penalty; float32, shape (parameters,).
        first: the optimiser's first moment or velocity, of the same shape; empty where it keeps none.
        second: its second moment; empty where it keeps none.
    """

    config: TrainConfig
    number: int
    rate: float
    gradient: Array
    first: Array
    second: Array


class Optimizer(NamedTuple):
    """One optimiser.

    Attributes:
        step: what it subtracts from the weights, and its new moments.
        torch: its class in `torch.optim`, one that has a fused implementation.
        middle_rate: the middle of the learning rates that `lenscope lab race` tries.
        native: its rule in the native code; empty where the fused engine has none.
        moments: the arrays of the size of the weights that it keeps, at most two, by their names in PyTorch.
        options: arguments of the PyTorch class other than learning rate and weight decay.
        decoupled: whether weight decay shrinks the weights themselves, instead of being an L2 penalty of the loss.
    """

    step: Callable[[Step], tuple[Array, Array, Array]]
    torch: str
    middle_rate: float
    native: str = ""
    moments: tuple[str, ...] = ()
    options: Callable[[TrainConfig], dict[str, Any]] = lambda _: {}
    decoupled: bool = False


def _sgd(of: Step) -> tuple[Array, Array, Array]:
    """The plain step; `gd` and `sgd` differ in the batch alone."""
    return of.rate * of.gradient, of.first, of.second


def _momentum(of: Step) -> tuple[Array, Array, Array]:
    """The learning rate is outside the velocity, as in Sutskever et al. (ICML 2013)."""
    velocity = of.config.momentum * of.first + of.gradient
    return of.rate * velocity, velocity, of.second


def _nesterov(of: Step) -> tuple[Array, Array, Array]:
    velocity = of.config.momentum * of.first + of.gradient
    return of.rate * (of.gradient + of.config.momentum * velocity), velocity, of.second


def _adam(of: Step) -> tuple[Array, Array, Array]:
    """Kingma and Ba (ICLR 2015); with decoupled weight decay it is `adamw` of Loshchilov and Hutter (ICLR 2019)."""
    first = of.first + (1 - FIRST_DECAY) * (of.gradient - of.first)
    second = SECOND_DECAY * of.second + (1 - SECOND_DECAY) * np.square(of.gradient)
    size, scale = of.rate / (1 - FIRST_DECAY**of.number), (1 - SECOND_DECAY**of.number) ** -0.5
    return size * first / (np.sqrt(second) * scale + EPSILON), first, second


VELOCITY, ADAM = ("momentum_buffer",), ("exp_avg", "exp_avg_sq")
OPTIMIZERS: Mapping[OptimizerName, Optimizer] = {
    "gd": Optimizer(_sgd, "SGD", 0.3, "sgd"),
    "sgd": Optimizer(_sgd, "SGD", 0.1, "sgd"),
    "momentum": Optimizer(_momentum, "SGD", 0.03, "momentum", VELOCITY, lambda config: {"momentum": config.momentum}),
    "nesterov": Optimizer(
        _nesterov,
        "SGD",
        0.03,
        "nesterov",
        VELOCITY,
        # PyTorch refuses Nesterov's without momentum, which is the plain step.
        lambda config: {"momentum": config.momentum, "nesterov": config.momentum > 0},
    ),
    "adam": Optimizer(_adam, "Adam", 1e-3, "adam", ADAM),
    "adamw": Optimizer(_adam, "AdamW", 1e-3, "adamw", ADAM, decoupled=True),
}


def updated(  # noqa: PLR0913, PLR0917 - all that a step depends on
    config: TrainConfig, number: int, rate: float, weights: Array, moments: Moments, gradient: Array
) -> tuple[Array, Array, Array]:
    """New weights and the two new moments, by PyTorch's formulas; the arguments are not changed.

    Args:
        config: optimiser, momentum and weight decay.
        number: of the step, counted from 1.
        rate: the learning rate.
        weights: float32, shape (parameters,).
        moments: those of the last step, at first `no_moments`.
        gradient: of the loss, without weight decay.
    """
    optimizer = OPTIMIZERS[config.optimizer]
    if optimizer.decoupled:
        weights = weights * (1 - rate * config.weight_decay)
    else:
        gradient = gradient + config.weight_decay * weights
    change, first, second = optimizer.step(Step(config, number, rate, gradient, *moments))
    return weights - change, first, second


def no_moments(config: TrainConfig, count: int) -> Moments:
    """The moments before the first step: zeros for those that the optimiser keeps of `count` parameters."""
    kept = len(OPTIMIZERS[config.optimizer].moments)
    return np.zeros(count * (kept > 0), np.float32), np.zeros(count * (kept > 1), np.float32)
