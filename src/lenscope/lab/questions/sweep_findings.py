"""The settings of a sweep in order of their accuracy, and how runs with equal settings vary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.insight.findings import Findings
from lenscope.insight.intervals import prediction_interval
from lenscope.insight.section import Chart, Line, Section, Table
from lenscope.lab.questions.search import rungs
from lenscope.lab.questions.sweep import COLUMN
from lenscope.lab.tables.rows import Rows
from lenscope.lab.tables.summary import (
    ACCURACY,
    MEAN_BAND,
    PREDICTION_BAND,
    gap_text,
    line_of,
    mean_cells,
    paired,
    sentences,
    spread_over,
)
from lenscope.numbers_as_text import clip01
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lenscope.lab.experiment import Tables
    from lenscope.lab.questions.sweep import Sweep

CHOSEN_BY, MEASURED = "validation_accuracy", "test_accuracy"
DRAWN, LISTED = 6, 50  # settings in a chart, and in a table
FEWEST = 3  # values of a setting that make a line
MEANS = f"Means over the seeds with the {MEAN_BAND}"
VALUES_LEAD = f"{MEANS}; along a line all other settings are equal."
SEARCHED_LEAD = "Every setting that was trained to the last epoch; the other settings differ from ring to ring."
DISTRIBUTION_LEAD = "Fraction of the runs at or below an accuracy: the steeper the line, the less the runs vary."


@dataclass(frozen=True)
class SettingRuns:
    """The runs of one setting.

    Attributes:
        name: of the setting.
        rows: every epoch of each run.
        ends: the last row of each run.
    """

    name: str
    rows: Rows
    ends: Rows

    def values(self, column: str) -> list[float]:
        """The last value of each run."""
        return list(map(float, self.ends.numbers(column)))


def sweep_findings(settings: Sweep, tables: Tables) -> Findings:
    """The settings, the best first where validation images were held out; otherwise in the order given."""
    results = tables["results"]
    chosen, tested = (bool(np.isfinite(results.numbers(name)).any()) for name in (CHOSEN_BY, MEASURED))
    by = CHOSEN_BY if chosen else MEASURED
    title = "A search of settings" if settings.search else "A sweep of settings"
    each = _by_setting(results, by, rungs(settings)[-1] if settings.halving else None)
    if not each:
        return Findings(title, SEARCHED_LEAD, ("No setting was trained to its last epoch.",), ())
    if chosen:
        n = len(settings.each_seed)
        each.sort(key=lambda one: (len(one.ends) < n, -sum(one.values(by))))  # a run that failed counts as 0
    sections = [Section("settings", "Settings", _order(each, chosen=chosen, tested=tested), tables=(_table(each, by),))]
    if charts := _charts_by_value(each, by, searched=bool(settings.search)):
        lead = SEARCHED_LEAD if settings.search else VALUES_LEAD
        sections.append(Section("values", "By one setting", lead, charts=charts))
    drawn = each[:DRAWN]
    which = f"The {'best' if chosen else 'first'} {DRAWN} settings. " if len(each) > DRAWN else ""
    sections.append(Section("curves", "By epoch", f"{which}{MEANS}.", charts=(_curves(drawn, by),)))
    if len(each[0].ends) > 1:
        chart = _distribution(drawn, by)
        sections.append(Section("apart", "Variation between runs", DISTRIBUTION_LEAD, charts=(chart,)))
    what = f"{len(each)} settings, {'a search with Optuna' if settings.search else 'every combination'}"
    seeds = counted(len(settings.each_seed), "seed")
    question = (
        f"{what if len(each) > 1 else 'One setting'}, on {settings.data}, {seeds} each. "
        f"{'The best is chosen on validation images. ' if chosen else ''}"
        f"{'Test images are measured; nothing is chosen by them.' if tested else 'There are no test images.'}"
    )
    found = _best(each) if chosen and len(each) > 1 else _first(each, by)
    return Findings(title, question, sentences(_tried(settings, results) | found), tuple(sections))


def _by_setting(results: Rows, by: str, last_rung: int | None) -> list[SettingRuns]:
    """The settings in their order; of a search by halving, those that reached the last rung."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in results.cells:
        if last_rung is None or row["epochs"] == str(last_rung):
            groups.setdefault(_key(row), []).append(row)
    shared = Counter(key[0] for key in groups)
    ends = {key: tuple({row["trial"]: row for row in rows}.values()) for key, rows in groups.items()}
    names = {key: key[0] if shared[key[0]] == 1 else _in_full(rows[0]) for key, rows in groups.items()}
    return [
        SettingRuns(names[key], Rows(tuple(rows)), Rows(ends[key])) for key, rows in groups.items() if ends[key][0][by]
    ]


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    """A setting's name and values: two that differ in the fifth digit have the same name."""
    return (row["setting"], *(value for name, value in row.items() if name.startswith(COLUMN)))


def _in_full(row: Mapping[str, str]) -> str:
    return ", ".join(f"{name.removeprefix(COLUMN)}={value}" for name, value in row.items() if name.startswith(COLUMN))


def _title(by: str) -> str:
    """`Validation accuracy` or `Test accuracy`."""
    return by.replace("_", " ").capitalize()


def _order(each: Sequence[SettingRuns], *, chosen: bool, tested: bool) -> str:
    unbiased = "; its test accuracy is not, since it did not affect the choice" if tested else ""
    order = (
        "Ordered by validation accuracy; settings with failed runs come last. The best of many is first partly by "
        f"chance, so its validation accuracy is biased upwards{unbiased}."
        if chosen
        else "In the order given: without validation images none is chosen."
    )
    more = f" The first {LISTED} of {len(each)}; results.csv has all." if len(each) > LISTED else ""
    return order + more if len(each) > 1 else "After the last epoch."


def _table(each: Sequence[SettingRuns], by: str) -> Table:
    columns = [column for column in dict.fromkeys((by, MEASURED)) if np.isfinite(each[0].values(column)).any()]
    header = ("setting", "n", *(head for column in columns for head in (_title(column).lower(), "95 % interval")))
    rows = tuple(
        (one.name, str(len(one.ends)), *(cell for column in columns for cell in mean_cells(one.values(column))))
        for one in each[:LISTED]
    )
    return Table("After the last epoch", header, rows)


def _curves(each: Sequence[SettingRuns], by: str) -> Chart:
    lines = tuple(line_of(one.name, spread_over(one.rows, by), clip01) for one in each)
    return Chart("curves", _title(by), "Epoch", _title(by), lines, MEAN_BAND, "percent")


def _distribution(each: Sequence[SettingRuns], by: str) -> Chart:
    lines = tuple(_steps(one.name, one.values(by)) for one in each)
    return Chart(
        "distribution", "Runs of each setting", f"{_title(by)} (%)", "Fraction of runs", lines, format="percent"
    )


def _steps(name: str, values: Iterable[float]) -> Line:
    """The empirical distribution function; x in percent."""
    ordered = sorted(100 * value for value in values)
    xs = tuple(value for value in ordered for _ in range(2))
    return Line(name, xs, tuple((place + step) / len(ordered) for place in range(len(ordered)) for step in range(2)))


def _charts_by_value(each: Sequence[SettingRuns], by: str, *, searched: bool) -> tuple[Chart, ...]:
    """A chart for each numeric setting with several values."""
    columns = [column for column in each[0].ends.cells[0] if column.startswith(COLUMN)]
    charts = []
    for column in columns:
        others = [other for other in columns if other != column]
        lines = _rings(each, column, by) if searched else _lines(each, column, others, by)
        xs = {x for line in lines for x in line.xs}
        if len(xs) >= FEWEST:
            name = column.removeprefix(COLUMN).replace("_", " ")
            log_x = min(xs) > 0 and max(xs) >= 10 * min(xs)
            title, file = f"{_title(by)} by {name}", f"against-{name.replace(' ', '-')}"
            label = name.capitalize()
            charts.append(Chart(file, title, label, _title(by), lines, MEAN_BAND, "percent", log_x=log_x))
    return tuple(charts)


def _lines(each: Sequence[SettingRuns], column: str, others: Sequence[str], by: str) -> tuple[Line, ...]:
    """A line for each combination of the other settings, those of the best settings first."""
    groups: dict[str, list[dict[str, str]]] = {}
    for one in each:
        own = one.ends.cells[0]
        if _number(own[column]) is not None:
            name = ", ".join(f"{other.removeprefix(COLUMN)}={own[other]}" for other in others)
            groups.setdefault(name or "all other settings equal", []).extend(one.ends.cells)
    spreads = ((name, spread_over(Rows(tuple(cells)), by, column)) for name, cells in groups.items())
    return tuple(line_of(name, found, clip01) for name, found in spreads if len(found) >= FEWEST)[:DRAWN]


def _rings(each: Sequence[SettingRuns], column: str, by: str) -> tuple[Line, ...]:
    """A ring for each setting."""
    found = ((_number(one.ends.cells[0][column]), float(np.mean(one.values(by)))) for one in each)
    ordered = sorted((x, y) for x, y in found if x is not None)
    return (Line("a setting", tuple(x for x, _ in ordered), tuple(y for _, y in ordered), points=True),)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _tried(settings: Sweep, results: Rows) -> dict[str, str]:
    if not settings.search:
        return {}
    stopped = ", the poorer ones stopped early" if settings.halving else ""
    settings_tried = len({_key(row) for row in results.cells})
    return {"Settings tried": f"{settings_tried} in {counted(len(results.names('trial')), 'run')}{stopped}"}


def _best(each: Sequence[SettingRuns]) -> dict[str, str]:
    """The best setting, its difference from the second best, and its test accuracy."""
    best, second = each[:2]
    found = {"Best validation accuracy": f"{best.name}: {_accuracy(best, CHOSEN_BY)}"}
    if set(best.ends.names("seed")) & set(second.ends.names("seed")):
        found[f"Best minus second best ({second.name})"] = gap_text(paired(best.ends, second.ends, CHOSEN_BY))
    if np.isfinite(best.values(MEASURED)).all():
        found["Test accuracy of the best, which did not affect the choice"] = _accuracy(best, MEASURED)
    return found


def _first(each: Sequence[SettingRuns], by: str) -> dict[str, str]:
    """The accuracy of the first settings."""
    return {one.name if len(each) > 1 else _title(by): _accuracy(one, by) for one in each[:DRAWN]}


def _accuracy(one: SettingRuns, column: str) -> str:
    values = one.values(column)
    mean, interval = mean_cells(values)
    if not interval:
        return f"{mean} (n = 1: no interval)"
    predicted = ACCURACY.range(prediction_interval(values))
    return f"{mean}, 95 % interval {interval}; {PREDICTION_BAND}: {predicted} (n = {len(values)})"
