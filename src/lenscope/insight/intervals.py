"""Intervals for proportions and for means."""

from __future__ import annotations

from math import atan, cos, exp, inf, lgamma, log, pi, sqrt
from statistics import mean, stdev
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's interval of a mean ("The probable error of a mean", Biometrika 6, 1908); all numbers for one value."""
    if len(values) < 2:
        return Interval(-inf, inf)
    half = student_quantile((1 + level) / 2, len(values) - 1) * stdev(values) / sqrt(len(values))
    return Interval(mean(values) - half, mean(values) + half)


def student_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t distribution for 0.5 ≤ probability < 1, by bisection; to 8 digits."""
    low, high = 0.0, 1.0
    while _student_probability(high, freedom) < probability:
        high *= 2
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _student_probability(middle, freedom) < probability else (low, middle)
    return high


def _student_probability(t: float, freedom: int, steps: int = 512) -> float:
    """P(T ≤ t) for t ≥ 0, by Simpson's rule in the angle arctan(t/√ν), where the density is a power of the cosine."""
    angle = atan(t / sqrt(freedom))
    weights = [1, *([4, 2] * (steps // 2))[: steps - 1], 1]
    area = sum(w * cos(angle * at / steps) ** (freedom - 1) for at, w in enumerate(weights)) * angle / steps / 3
    return 0.5 + area * exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2) - log(pi) / 2)
