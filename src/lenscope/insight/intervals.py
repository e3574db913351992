"""Intervals for proportions."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


class Interval(NamedTuple):
    """A closed interval."""

    low: float
    high: float


def wilson_interval(right: int, total: int, z: float = Z95) -> Interval:
    """The Wilson score interval of a proportion (E. B. Wilson, JASA 22, 1927); 95 % by default.

    Args:
        right: successes, 0 ≤ right ≤ total.
        total: trials; with none, the interval is [0, 1].
        z: normal quantile of the two-sided level.
    """
    if not total:
        return Interval(0.0, 1.0)
    share, weight = right / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    half = z * sqrt(share * (1 - share) / total + weight / (4 * total)) / (1 + weight)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))
