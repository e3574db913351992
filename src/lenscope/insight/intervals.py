"""Intervals for proportions, means, further values, and paired differences; all of 95 % by default."""

from __future__ import annotations

from functools import cache
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
    """Student's interval of a mean ("The probable error of a mean", Biometrika 6, 1908); infinite for one value."""
    return _student_interval(values, level, 1 / len(values))


def prediction_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The prediction interval of one more value from a normal distribution: mean ± t·s·√(1 + 1/n).

    It is infinite for one value.

    Source: G. J. Hahn and W. Q. Meeker, Statistical Intervals, 1991, section 4.7.
    """
    return _student_interval(values, level, 1 + 1 / len(values))


def _student_interval(values: Sequence[float], level: float, variance: float) -> Interval:
    """The mean ± t·s·√variance."""
    if len(values) < 2:
        return Interval(-inf, inf)
    half = student_quantile((1 + level) / 2, len(values) - 1) * stdev(values) * sqrt(variance)
    return Interval(mean(values) - half, mean(values) + half)


class Difference(NamedTuple):
    """The mean of paired differences.

    Attributes:
        mean: the mean difference.
        interval: Student's interval of the mean.
        p_value: of Student's two-sided test that the mean is zero.
        n: number of pairs.
    """

    mean: float
    interval: Interval
    p_value: float
    n: int


def paired_difference(values: Sequence[float], others: Sequence[float], level: float = 0.95) -> Difference:
    """The mean difference of paired values, `values` minus `others`; raises ValueError for unequal lengths."""
    gaps = [one - other for one, other in zip(values, others, strict=True)]
    interval = mean_interval(gaps, level)
    return Difference(mean(gaps), interval, _p_value(gaps), len(gaps))


def _p_value(gaps: Sequence[float]) -> float:
    if len(gaps) < 2:
        return 1.0
    spread = stdev(gaps) / sqrt(len(gaps))
    if not spread:
        return 0.0 if mean(gaps) else 1.0
    return 2 * (1 - student_probability(abs(mean(gaps)) / spread, len(gaps) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, adjusted to control the family-wise error rate.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


@cache
def student_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t distribution for 0.5 ≤ probability < 1, by bisection; to 8 digits."""
    low, high = 0.0, 1.0
    while student_probability(high, freedom) < probability:
        high *= 2
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if student_probability(middle, freedom) < probability else (low, middle)
    return high


def student_probability(t: float, freedom: int, steps: int = 512) -> float:
    """P(T ≤ t) for t ≥ 0, by Simpson's rule in the angle arctan(t/√ν), where the density is a power of the cosine."""
    angle = atan(t / sqrt(freedom))
    weights = [1, *([4, 2] * (steps // 2))[: steps - 1], 1]
    area = sum(w * cos(angle * at / steps) ** (freedom - 1) for at, w in enumerate(weights)) * angle / steps / 3
    return 0.5 + area * exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2) - log(pi) / 2)
