"""Rows of many seeds as what can be said of them: means, intervals, lines with bands, and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.insight.findings import Line
from lenscope.insight.intervals import Interval, mean_interval, paired_difference, prediction_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lenscope.insight.intervals import Difference
    from lenscope.lab.rows import Rows

MEAN_BAND = "95 % interval of the mean"


class Spread(NamedTuple):
    """What the seeds give at one place.

    Attributes:
        at: where, such as an epoch.
        mean: over the seeds that have a value there.
        interval: of what was asked for.
        least: of them.
        most: of them.
        n: how many.
    """

    at: float
    mean: float
    interval: Interval
    least: float
    most: float
    n: int


def spread_over(rows: Rows, value: str, at: str = "epoch", *, next_one: bool = False) -> list[Spread]:
    """The spread of a column over the seeds, wherever `at` has a value.

    Args:
        rows: of one group of runs, a seed each.
        value: the column.
        at: the column to go along.
        next_one: give the 95 % interval in which one more run would lie, and not that of the mean.
    """
    interval = prediction_interval if next_one else mean_interval
    places, values = rows.numbers(at), rows.numbers(value)
    found = []
    for place in np.unique(places):
        own = values[(places == place) & ~np.isnan(values)].tolist()
        if own:
            found.append(Spread(float(place), float(np.mean(own)), interval(own), min(own), max(own), len(own)))
    return found


def paired(ours: Rows, theirs: Rows, column: str) -> Difference:
    """How far the last values of a column lie above others, seed by seed, over the seeds that both have."""
    last, others = ({row["seed"]: float(row[column] or "nan") for row in rows.cells} for rows in (ours, theirs))
    both = [seed for seed in last if seed in others]
    return paired_difference([last[seed] for seed in both], [others[seed] for seed in both])


def trained(spreads: Sequence[Spread]) -> list[Spread]:
    """Without the untrained network at 0, which a logarithmic axis has no place for."""
    return [spread for spread in spreads if spread.at > 0]


def line_of(name: str, spreads: Sequence[Spread], change: Callable[[float], float] = float) -> Line:
    """A line through the means with the intervals about it; without a band where there is but one seed."""
    several = all(spread.n > 1 for spread in spreads)
    bounds = [sorted(map(change, spread.interval)) for spread in spreads] if several else []
    xs, ys = tuple(spread.at for spread in spreads), tuple(change(spread.mean) for spread in spreads)
    return Line(name, xs, ys, tuple(low for low, _ in bounds), tuple(high for _, high in bounds))


def share(accuracy: float) -> float:
    """Between none and all, also where an interval of an accuracy goes beyond."""
    return min(1.0, max(0.0, accuracy))


def errors(accuracy: float) -> float:
    """The share that is wrong, between none and all."""
    return share(1 - accuracy)


def seeds(n: int) -> str:
    """So many seeds, in words.

    >>> seeds(1), seeds(20)
    ('1 seed', '20 seeds')
    """
    return f"{n} seed{'' if n == 1 else 's'}"


def percent(share: float, digits: int = 2) -> str:
    """A fraction as a percentage.

    >>> percent(0.9749)
    '97.49 %'
    """
    return f"{100 * share:.{digits}f} %"


def percent_range(interval: Interval, digits: int = 2) -> str:
    """An interval of fractions as percentages, within 0 and 100; nothing where it has no bounds.

    >>> percent_range(Interval(0.9716, 0.97779)), percent_range(Interval(0.991, 1.004), 1)
    ('97.16 to 97.78 %', '99.1 to 100.0 %')
    """
    low, high = share(interval.low), share(interval.high)
    return f"{100 * low:.{digits}f} to {percent(high, digits)}" if np.isfinite(interval.low) else ""


def points(difference: float) -> str:
    """A difference of fractions in percentage points.

    >>> points(-0.0012), points(-0.00003)
    ('−0.12', '0.00')
    """
    return f"{100 * difference:z.2f}".replace("-", "−")


def signed(difference: float) -> str:
    """A difference of scores.

    >>> signed(-0.121)
    '−0.12'
    """
    return f"{difference:+z.2f}".replace("-", "−")


def shown_score(score: float) -> str:
    """A score, or a bound of its interval, within 0 and 1.

    >>> shown_score(0.461), shown_score(-0.25)
    ('0.46', '0.00')
    """
    return f"{share(score):.2f}"


def hundredths(fraction: float, digits: int = 2) -> str:
    """A fraction in hundredths, without their sign, within 0 and 100.

    >>> hundredths(0.9749), hundredths(1.003, 0)
    ('97.49', '100')
    """
    return f"{100 * share(fraction):.{digits}f}"


def told_mean(values: Sequence[float], show: Callable[[float], str] = hundredths, unit: str = " %") -> str:
    """The mean of what each seed gives, in words: how large, between which bounds, of how many.

    >>> told_mean([0.98, 0.99, 0.985]), told_mean([0.98])
    ('98.50 %, 95 % interval 97.26 to 99.74 (n = 3)', '98.00 % (n = 1: no interval)')
    """
    return _told(float(np.mean(values)), mean_interval(values), len(values), show, unit)


def mean_cell(values: Sequence[float], show: Callable[[float], str] = shown_score, unit: str = "") -> str:
    """The same as a cell of a table; empty where a seed gives nothing.

    >>> mean_cell([0.4, 0.5, 0.45]), mean_cell([0.4]), mean_cell([0.4, float("nan")])
    ('0.45, 0.33 to 0.57', '0.40', '')
    """
    mean = float(np.mean(values))
    if np.isnan(mean):
        return ""
    interval = mean_interval(values)
    bounds = f", {show(interval.low)} to {show(interval.high)}{unit}" if len(values) > 1 else ""
    return f"{show(mean)}{unit}{bounds}"


def told_gap(gap: Difference, show: Callable[[float], str] = points, unit: str = " points") -> str:
    """A paired difference in words: whether there is one, how large, between which bounds, of how many pairs.

    >>> from lenscope.insight.intervals import Difference
    >>> told_gap(Difference(0.0003, Interval(-0.0005, 0.0011), 0.4, 20))
    'no difference found: 0.03 points, 95 % interval −0.05 to 0.11 (n = 20)'
    """
    nothing = gap.n > 1 and gap.interval.low <= 0 <= gap.interval.high
    return f"{'no difference found: ' if nothing else ''}{shown_gap(gap, show, unit)}"


def shown_gap(gap: Difference, show: Callable[[float], str] = points, unit: str = " points") -> str:
    """A paired difference: how large, between which bounds, of how many pairs."""
    return _told(gap.mean, gap.interval, gap.n, show, unit)


def _told(mean: float, interval: Interval, n: int, show: Callable[[float], str], unit: str) -> str:
    if n < 2:
        return f"{show(mean)}{unit} (n = {n}: no interval)"
    return f"{show(mean)}{unit}, 95 % interval {show(interval.low)} to {show(interval.high)} (n = {n})"
