"""The learning-rate schedules: the rate as a function of the step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.config import ScheduleName

WARM_UP = 0.3  # share of the run
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
