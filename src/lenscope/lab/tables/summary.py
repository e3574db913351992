"""Statistics over seeds: means and differences with their intervals, as numbers, lines of a chart, and text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.insight.intervals import Interval, mean_interval, paired_difference, prediction_interval
from lenscope.insight.section import Line
from lenscope.numbers_as_text import clip01, points, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lenscope.insight.intervals import Difference
    from lenscope.lab.tables.rows import Rows

MEAN_BAND = "95 % interval of the mean"
PREDICTION_BAND = "95 % prediction interval for a new run"


class Spread(NamedTuple):
    """The values of all seeds at one place.

    Attributes:
        at: the place, such as an epoch.
        mean: over the seeds that have a value there.
        interval: of the mean, or for a new run.
        least, most: the range of the values.
        n: how many values.
    """

    at: float
    mean: float
    interval: Interval
    least: float
    most: float
    n: int


def spread_over(rows: Rows, value: str, at: str = "epoch", *, predict: bool = False) -> list[Spread]:
    """The spread of a column over the seeds at each value of another column.

    Args:
        rows: of one group of runs, one per seed.
        value: the column.
        at: the other column; ascending in the result.
        predict: with the 95 % prediction interval for a new run instead of the interval of the mean.
    """
    interval = prediction_interval if predict else mean_interval
    places, values = rows.numbers(at), rows.numbers(value)
    found = []
    for place in np.unique(places):
        own = values[(places == place) & ~np.isnan(values)].tolist()
        if own:
            found.append(Spread(float(place), float(np.mean(own)), interval(own), min(own), max(own), len(own)))
    return found


def trained(spreads: Sequence[Spread]) -> list[Spread]:
    """Without the untrained network at 0, which a logarithmic axis cannot show."""
    return [spread for spread in spreads if spread.at > 0]


def paired(ours: Rows, theirs: Rows, column: str) -> Difference:
    """The last values of a column minus those of other rows, paired by seed, over the seeds that both have."""
    last, others = ({row["seed"]: float(row[column] or "nan") for row in rows.cells} for rows in (ours, theirs))
    both = [seed for seed in last if seed in others]
    return paired_difference([last[seed] for seed in both], [others[seed] for seed in both])


def line_of(name: str, spreads: Sequence[Spread], change: Callable[[float], float] = float) -> Line:
    """A line through the means with their intervals as a band; without a band where there is one seed."""
    several = all(spread.n > 1 for spread in spreads)
    bounds = [sorted(map(change, spread.interval)) for spread in spreads] if several else []
    xs, ys = tuple(spread.at for spread in spreads), tuple(change(spread.mean) for spread in spreads)
    return Line(name, xs, ys, tuple(low for low, _ in bounds), tuple(high for _, high in bounds))


def error_rate(accuracy: float) -> float:
    """1 minus an accuracy, limited to 0 to 1."""
    return clip01(1 - accuracy)


class Quantity(NamedTuple):
    """How a kind of number is written.

    Attributes:
        show: writes the number.
        unit: follows it, with its space.
    """

    show: Callable[[float], str]
    unit: str = ""

    def value(self, number: float) -> str:
        """A number with its unit."""
        return f"{self.show(number)}{self.unit}"

    def range(self, interval: Interval) -> str:
        """An interval with its unit; empty where it has no bounds.

        >>> ACCURACY.range(Interval(0.9716, 1.004)), ACCURACY.range(Interval(-np.inf, np.inf))
        ('97.16 to 100.00 %', '')
        """
        low, high = interval
        return f"{self.show(low)} to {self.value(high)}" if np.isfinite(low) else ""


def _percent(digits: int) -> Quantity:
    return Quantity(lambda fraction: f"{100 * clip01(fraction):.{digits}f}", " %")


ACCURACY, ACCURACY_TENTHS, WHOLE_PERCENT = map(_percent, (2, 1, 0))
SCORE = Quantity(lambda score: f"{clip01(score):.2f}")
SCORE_DIFFERENCE = Quantity(signed)
LOSS = Quantity(lambda loss: f"{max(loss, 0.0):.3g}")
LOSS_DIFFERENCE = Quantity(lambda nats: f"{nats:z.4f}".replace("-", "−"), " nats")
POINTS = Quantity(points, " points")


def mean_text(values: Sequence[float], quantity: Quantity = ACCURACY) -> str:
    """The mean over the seeds, its interval and the number of seeds.

    >>> mean_text([0.98, 0.99, 0.985]), mean_text([0.98])
    ('98.50 %, 95 % interval 97.26 to 99.74 (n = 3)', '98.00 % (n = 1: no interval)')
    """
    return _text(float(np.mean(values)), mean_interval(values), len(values), quantity)


def mean_cell(values: Sequence[float], quantity: Quantity = SCORE) -> str:
    """The mean over the seeds and its interval, for a cell of a table; empty where a seed has no value.

    >>> mean_cell([0.4, 0.5, 0.45]), mean_cell([0.4]), mean_cell([0.4, float("nan")])
    ('0.45, 0.33 to 0.57', '0.40', '')
    """
    return "" if np.isnan(values).any() else ", ".join(filter(None, mean_cells(values, quantity)))


def mean_cells(values: Sequence[float], quantity: Quantity = ACCURACY) -> tuple[str, str]:
    """The mean over the seeds, and its interval, for two cells of a table.

    >>> mean_cells([0.98, 0.99, 0.985])
    ('98.50 %', '97.26 to 99.74 %')
    """
    return quantity.value(float(np.mean(values))), quantity.range(mean_interval(values))


def gap_text(gap: Difference, quantity: Quantity = POINTS) -> str:
    """A paired difference, its interval and the number of pairs; says so where the interval contains 0.

    >>> from lenscope.insight.intervals import Difference
    >>> gap_text(Difference(0.0003, Interval(-0.0005, 0.0011), 0.4, 20))
    'no difference found: 0.03 points, 95 % interval −0.05 to 0.11 (n = 20)'
    """
    none = gap.n > 1 and gap.interval.low <= 0 <= gap.interval.high
    return f"{'no difference found: ' if none else ''}{_text(gap.mean, gap.interval, gap.n, quantity)}"


def plain_gap_text(gap: Difference) -> str:
    """A paired difference in percentage points, its interval and the number of pairs."""
    return _text(gap.mean, gap.interval, gap.n, POINTS)


def _text(mean: float, interval: Interval, n: int, quantity: Quantity) -> str:
    bounds = quantity._replace(unit="").range(interval)
    return f"{quantity.value(mean)}{f', 95 % interval {bounds} (n = {n})' if bounds else f' (n = {n}: no interval)'}"


def sentences(conclusions: Mapping[str, str]) -> tuple[str, ...]:
    """Conclusions as text, each with what it is about before the colon.

    >>> sentences({"Mean test accuracy": "98.00 % (n = 1: no interval)"})
    ('Mean test accuracy: 98.00 % (n = 1: no interval).',)
    """
    return tuple(f"{about}: {value}." for about, value in conclusions.items())
