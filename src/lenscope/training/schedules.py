"""The schedules: the learning rate as a function of the step, and the epochs that are evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from lenscope.config import EvaluateName, ScheduleName

WARM_UP = 0.3  # share of the run
PER_POWER_OF_TEN = 10  # evaluated epochs
START, END = 1 / 25, 1 / 25 / 1e4  # of the peak


def learning_rates(schedule: ScheduleName, peak: float, total_steps: int, start: int, stop: int) -> NDArray[np.float64]:
    """The learning rates of the steps start ≤ step < stop, counted from 0.

    Args:
        schedule: `constant`; `cosine`, from the peak to 0 (Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5,
            one period); `onecycle`, a cosine up from 1/25 of the peak in the first 30 % and down to 1/250,000 of it
            (Smith and Topin, "Super-convergence", 2018; the shape and numbers of PyTorch's OneCycleLR, with the
            momentum unchanged). A run of one to three steps has no step before the peak: all have the peak rate.
        peak: the highest rate.
        total_steps: steps of the whole run.
        start: the first step.
        stop: the step after the last.

    Returns:
        float64, shape (stop − start,).
    """
    steps = np.arange(start, stop, dtype=np.float64)
    if schedule == "constant":
        return np.full(len(steps), peak)
    if schedule == "cosine":
        return _cosine(peak, 0.0, steps / total_steps)
    return _onecycle(peak, total_steps, steps)


def _onecycle(peak: float, total_steps: int, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    top = WARM_UP * total_steps - 1  # PyTorch's convention: the step of the peak rate, possibly between two steps
    if top <= 0:
        return np.full(len(steps), peak)
    rising = _cosine(START * peak, peak, steps / top)
    falling = _cosine(peak, END * peak, (steps - top) / (total_steps - 1 - top))
    return np.where(steps <= top, rising, falling)


def _cosine(first: float, last: float, progress: NDArray[np.float64]) -> NDArray[np.float64]:
    return last + (first - last) * (1 + np.cos(np.pi * progress)) / 2


def evaluated_epochs(evaluate: EvaluateName, last: int) -> Collection[int]:
    """The epochs, up to the last, after which a run is evaluated: that of the untrained network, 0, and the last too.

    >>> sorted(evaluated_epochs("spread", 20))
    [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20]
    """
    if evaluate == "every":
        return range(last + 1)
    # A longer run is evaluated after the same epochs, but for the last one.
    powers = int(np.log10(last) * PER_POWER_OF_TEN) + 1 if evaluate == "spread" else 0
    return {0, last, *(round(10 ** (power / PER_POWER_OF_TEN)) for power in range(powers))}
