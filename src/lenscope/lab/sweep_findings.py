"""What a sweep tells: which settings are best, by how much, and how far apart runs of the same settings lie."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.insight.findings import Chart, Findings, Line, Section, Table
from lenscope.insight.intervals import mean_interval, prediction_interval
from lenscope.lab.rows import Rows
from lenscope.lab.search import rungs
from lenscope.lab.summary import MEAN_BAND, line_of, paired, percent, percent_range, seeds, share, spread_over, told_gap
from lenscope.lab.sweep import COLUMN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lenscope.lab.experiment import Tables
    from lenscope.lab.sweep import Sweep

CHOSEN_BY, MEASURED = "validation_accuracy", "test_accuracy"
DRAWN, LISTED = 6, 50  # settings in a chart, and in a table
FEWEST = 3  # values of a setting that make a line
VALUES_LEAD = "Means over the seeds with the 95 % interval of the mean; along a line all other settings are the same."
SEARCHED_LEAD = "Every setting that was tried to its end; the other settings differ from ring to ring."
APART_LEAD = "The share of the runs that lie at or below an accuracy: the steeper the line, the more alike the runs."


@dataclass(frozen=True)
class Entry:
    """The runs of one setting.

    Attributes:
        name: of the setting.
        rows: every epoch of each run.
        ends: the last row of each run.
    """

    name: str
    rows: Rows
    ends: Rows


def sweep_findings(settings: Sweep, tables: Tables) -> Findings:
    """The settings from the best to the worst, where images were held out to choose by; else in their order."""
    results = tables["results"]
    chosen = bool(np.isfinite(results.numbers(CHOSEN_BY)).any())
    by = CHOSEN_BY if chosen else MEASURED
    entries = _entries(results, by, rungs(settings)[-1] if settings.halving else None)
    if not entries:
        return Findings("A search of settings", SEARCHED_LEAD, ("No setting came to its last epoch.",), ())
    if chosen:
        n = len(settings.each_seed)
        entries.sort(
            key=lambda entry: (len(entry.ends) < n, -_sum(entry, by))
        )  # a run that failed counts as none right
    sections = [Section("settings", "The settings", _lead(entries, chosen=chosen), tables=(_table(entries, by),))]
    if charts := _against_values(entries, by, searched=bool(settings.search)):
        lead = SEARCHED_LEAD if settings.search else VALUES_LEAD
        sections.append(Section("values", "Against one setting", lead, charts=charts))
    best, lead = entries[:DRAWN], _drawn(entries, chosen=chosen)
    sections.append(Section("curves", "Epoch by epoch", lead, charts=(_curves(best, by),)))
    if len(entries[0].ends) > 1:
        sections.append(Section("apart", "How far apart runs lie", APART_LEAD, charts=(_distribution(best, by),)))
    title = "A search of settings" if settings.search else "A sweep of settings"
    told = _told_best(entries) if chosen and len(entries) > 1 else _told_each(entries, by)
    told = (*_told_tried(settings, results), *told)
    return Findings(title, _question(settings, entries, chosen=chosen), told, tuple(sections))


def _entries(results: Rows, by: str, last_rung: int | None) -> list[Entry]:
    """The settings in their order; of a search by halving those that came to the last rung."""
    kept = [row for row in results.cells if last_rung is None or row["epochs"] == str(last_rung)]
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in kept:
        groups.setdefault(_key(row), []).append(row)
    shared = Counter(key[0] for key in groups)
    ends = {key: tuple({row["trial"]: row for row in rows}.values()) for key, rows in groups.items()}
    names = {key: key[0] if shared[key[0]] == 1 else _in_full(rows[0]) for key, rows in groups.items()}
    return [Entry(names[key], Rows(tuple(rows)), Rows(ends[key])) for key, rows in groups.items() if ends[key][0][by]]


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    """A setting's name and values: two that differ in their fifth digit have one name."""
    return (row["setting"], *(value for name, value in row.items() if name.startswith(COLUMN)))


def _in_full(row: Mapping[str, str]) -> str:
    return ", ".join(f"{name.removeprefix(COLUMN)}={value}" for name, value in row.items() if name.startswith(COLUMN))


def _mean(entry: Entry, column: str) -> float:
    return float(entry.ends.numbers(column).mean())


def _sum(entry: Entry, column: str) -> float:
    return float(entry.ends.numbers(column).sum())


def _part(by: str) -> str:
    return by.removesuffix("_accuracy")


def _question(settings: Sweep, entries: Sequence[Entry], *, chosen: bool) -> str:
    how = "a search with Optuna" if settings.search else "every combination"
    what = f"{len(entries)} settings, {how}" if len(entries) > 1 else "One setting"
    held = (
        " The best is chosen by images held out of the training set; test images are measured and steer nothing."
        if chosen
        else " Test images are measured and steer nothing."
    )
    return f"{what}, on {settings.data}, {seeds(len(settings.each_seed))} each.{held}"


def _lead(entries: Sequence[Entry], *, chosen: bool) -> str:
    order = (
        "From the best to the worst on the held-out images, those last of which runs failed. The best of many is first "
        "partly by luck, which makes its validation accuracy a little too high; the test images had no part in it."
        if chosen
        else "In the order in which they were given: without images held out none of them is chosen."
    )
    more = f" The first {LISTED} of {len(entries)}; results.csv has all." if len(entries) > LISTED else ""
    return order + more if len(entries) > 1 else "After the last epoch."


def _drawn(entries: Sequence[Entry], *, chosen: bool) -> str:
    which = f"The {'best' if chosen else 'first'} {DRAWN} of them. " if len(entries) > DRAWN else ""
    return f"{which}Means over the seeds with the 95 % interval of the mean."


def _table(entries: Sequence[Entry], by: str) -> Table:
    columns = list(dict.fromkeys((by, MEASURED)))
    found = [column for column in columns if np.isfinite(entries[0].ends.numbers(column)).any()]
    header = ("setting", "n", *(head for column in found for head in (f"{_part(column)} accuracy", "95 % interval")))
    rows = tuple((one.name, str(len(one.ends)), *_shown(one, found)) for one in entries[:LISTED])
    return Table("After the last epoch", header, rows)


def _shown(entry: Entry, columns: Iterable[str]) -> Iterable[str]:
    for column in columns:
        values = entry.ends.numbers(column).tolist()
        yield from (percent(float(np.mean(values))), percent_range(mean_interval(values)))


def _curves(entries: Sequence[Entry], by: str) -> Chart:
    right = tuple(line_of(entry.name, spread_over(entry.rows, by), share) for entry in entries)
    title = f"{_part(by).capitalize()} images right"
    return Chart("curves", title, "epoch", title.lower(), right, MEAN_BAND, "percent")


def _distribution(entries: Sequence[Entry], by: str) -> Chart:
    lines = tuple(_steps(entry.name, entry.ends.numbers(by)) for entry in entries)
    label = f"{_part(by)} images right (%)"
    return Chart("distribution", "The runs of each setting", label, "share of the runs", lines, format="percent")


def _steps(name: str, values: Iterable[float]) -> Line:
    """The empirical distribution function, in percent."""
    ordered = sorted(100 * value for value in values)
    xs = tuple(value for value in ordered for _ in range(2))
    return Line(name, xs, tuple((place + step) / len(ordered) for place in range(len(ordered)) for step in range(2)))


def _against_values(entries: Sequence[Entry], by: str, *, searched: bool) -> tuple[Chart, ...]:
    """A chart for each setting that is a number and has several values."""
    found = {name: (_rings if searched else _lines)(entries, name, by) for name in _columns(entries)}
    enough = {name: lines for name, lines in found.items() if len({x for one in lines for x in one.xs}) >= FEWEST}
    return tuple(_against(name, lines, by) for name, lines in enough.items())


def _columns(entries: Sequence[Entry]) -> list[str]:
    """The columns of the settings that are not the same in all."""
    return [column for column in entries[0].ends.cells[0] if column.startswith(COLUMN)]


def _against(column: str, lines: tuple[Line, ...], by: str) -> Chart:
    name, right = column.removeprefix(COLUMN).replace("_", " "), f"{_part(by)} images right"
    values = [x for line in lines for x in line.xs]
    far = min(values) > 0 and max(values) >= 10 * min(values)
    title = f"{right.capitalize()}, against {name}"
    return Chart(f"against-{name.replace(' ', '-')}", title, name, right, lines, MEAN_BAND, "percent", log_x=far)


def _lines(entries: Sequence[Entry], name: str, by: str) -> tuple[Line, ...]:
    """A line for each combination of the other settings, those of the best entries."""
    others = [column for column in _columns(entries) if column != name]
    groups: dict[str, list[dict[str, str]]] = {}
    for entry in entries:
        own = entry.ends.cells[0]
        alike = ", ".join(f"{other.removeprefix(COLUMN)}={own[other]}" for other in others) or "all else alike"
        if _number(own[name]) is not None:
            groups.setdefault(alike, []).extend(entry.ends.cells)
    spreads = ((alike, spread_over(Rows(tuple(cells)), by, name)) for alike, cells in groups.items())
    return tuple(line_of(alike, found, share) for alike, found in spreads if len(found) >= FEWEST)[:DRAWN]


def _rings(entries: Sequence[Entry], name: str, by: str) -> tuple[Line, ...]:
    found = ((_number(entry.ends.cells[0][name]), _mean(entry, by)) for entry in entries)
    ordered = sorted((x, y) for x, y in found if x is not None)
    return (Line("a setting", tuple(x for x, _ in ordered), tuple(y for _, y in ordered), points=True),)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _told_tried(settings: Sweep, results: Rows) -> tuple[str, ...]:
    if not settings.search:
        return ()
    runs = len(results.names("trial"))
    ended = f" in {runs} runs, of which the poorer ones ended early" if settings.halving else f" in {runs} runs"
    return (f"{len({_key(row) for row in results.cells})} settings were tried{ended}.",)


def _told_best(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Which is the best, whether it is better than the next, and what it does on images that had no part in it."""
    best, following = entries[:2]
    told = [f"Best on the held-out images: {best.name}: {_told(best, CHOSEN_BY)}."]
    if set(best.ends.names("seed")) & set(following.ends.names("seed")):
        gap = paired(best.ends, following.ends, CHOSEN_BY)
        told.append(f"Beside the next, {following.name}: {told_gap(gap)}.")
    if np.isfinite(best.ends.numbers(MEASURED)).all():
        told.append(f"On the test images, which had no part in the choice: {_told(best, MEASURED)}.")
    return tuple(told)


def _told_each(entries: Sequence[Entry], by: str) -> tuple[str, ...]:
    told = tuple(f"{entry.name}: {_told(entry, by)}." for entry in entries[:DRAWN])
    return told if len(entries) > 1 else (f"{_part(by).capitalize()} images right: {_told(entries[0], by)}.",)


def _told(entry: Entry, column: str) -> str:
    values = entry.ends.numbers(column).tolist()
    if len(values) == 1:
        return f"{percent(values[0])} (n = 1: no interval)"
    return (
        f"{percent(float(np.mean(values)))}, 95 % interval {percent_range(mean_interval(values))}; one more run would "
        f"lie at {percent_range(prediction_interval(values))} in 95 of 100 cases (n = {len(values)})"
    )
