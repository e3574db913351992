"""What a race of the optimisers tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.insight.findings import Chart, Findings, Line, Section, Table
from lenscope.insight.intervals import mean_interval
from lenscope.lab.kernels import films_of
from lenscope.lab.race import ADAMW_DECAY, OPTIMIZERS
from lenscope.lab.summary import (
    MEAN_BAND,
    errors,
    line_of,
    paired,
    percent,
    percent_range,
    seeds,
    spread_over,
    told_gap,
    told_mean,
    trained,
)
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lenscope.lab.experiment import Tables
    from lenscope.lab.race import Race
    from lenscope.lab.rows import Rows

    Entries = Mapping[str, Rows]

MARKS = (0.90, 0.95, 0.97, 0.98, 0.99)
LOWER_MARKS = (0.70, 0.80, 0.85)  # for data on which nobody comes to the first of these
RIGHT, WRONG = "test_accuracy", "test images wrong"
MARKS_LEAD = (
    "A mark counts as reached at the end of the first epoch whose test accuracy is at least that; seconds are those of "
    "training alone, one run at a time on all threads. Medians over the seeds; “not reached” is an answer."
)
SEARCH_LEAD = (
    "Mean accuracy on the held-out images after the last epoch. The seeds are others than those of the race. Where the "
    "best rate is the first or the last that was tried, a better one may lie beyond."
)


def race_findings(settings: Race, tables: Tables) -> Findings:
    """Who came how far, and when."""
    search, race = (tables["results"].where(stage=stage) for stage in ("search", "race"))
    entries: Entries = {name: race.where(optimizer=name) for name in OPTIMIZERS if race.where(optimizer=name)}
    n = len(race.names("seed"))
    kernels = "conv1 of the first seed: the same start, six ways on. The bar moves all of them."
    sections = (
        Section("curves", "Against epochs and against seconds", _lead(n), charts=_charts(entries)),
        Section("marks", "How long to each mark", MARKS_LEAD, tables=(_ends(entries), _reached(entries))),
        Section("kernels", "Their kernels", kernels, films=films_of(tables["films"])),
        Section("search", "How the rates were chosen", SEARCH_LEAD, tables=(_searched(search, settings.epochs),)),
    )
    return Findings("The race of the optimisers", _question(settings, n), _conclusions(entries), sections)


def _question(settings: Race, n: int) -> str:
    runs = settings.rates * settings.search_seeds
    return (
        f"Six optimisers on {settings.data}, {seeds(n)}, {counted(settings.epochs, 'epoch')} each, from the "
        f"same initial weights and through the images in the same order. Each has the learning rate that was best of "
        f"{settings.rates} on {settings.validation:,} held-out training images, with {seeds(settings.search_seeds)} "
        f"each: {runs} runs an optimiser. Test images are measured and stop nothing."
    )


def _lead(n: int) -> str:
    return (
        f"Means of {seeds(n)} with the 95 % interval of the mean. gd makes one update an epoch, the others one a "
        f"batch; adamw has a weight decay of {ADAMW_DECAY}."
    )


def _charts(entries: Entries) -> tuple[Chart, ...]:
    wrong = tuple(line_of(name, spread_over(rows, "test_accuracy"), errors) for name, rows in entries.items())
    timed = tuple(_against_seconds(line, entries[line.name]) for line in wrong)
    spreads = {name: trained(spread_over(rows, "train_loss")) for name, rows in entries.items()}
    losses = tuple(line_of(name, own) for name, own in spreads.items() if own)
    as_errors: dict[str, Any] = {"band": MEAN_BAND, "format": "percent", "log_y": True}
    return (
        Chart("errors-epochs", "Test images wrong, against epochs", "epoch", WRONG, wrong, **as_errors),
        Chart("errors-seconds", "The same against seconds of training", "seconds", WRONG, timed, **as_errors),
        Chart("loss-epochs", "Training loss, against epochs", "epoch", "nats an image", losses, MEAN_BAND, log_y=True),
    )


def _against_seconds(line: Line, rows: Rows) -> Line:
    """The same line where the seeds' mean seconds of training are, instead of epochs."""
    each = [spread.mean for spread in spread_over(rows, "train_seconds")]
    seconds = np.concatenate([[0.0], np.cumsum(each)])[: len(line.xs)]
    return Line(line.name, tuple(seconds.tolist()), line.ys, line.low, line.high)


def _ends(entries: Entries) -> Table:
    rows = []
    for name, own in entries.items():
        right, seconds = last_accuracies(own), own.numbers("train_seconds")
        shown = percent_range(mean_interval(right.tolist()))
        rows.append((name, own.cells[0]["rate"], percent(right.mean()), shown, f"{np.nanmedian(seconds):.2f}"))
    header = ("optimiser", "rate", "accuracy", "95 % interval", "seconds an epoch")
    return Table("After the last epoch", header, tuple(rows))


def _reached(entries: Entries) -> Table:
    marks = _marks(entries)
    rows = tuple((name, *(_told_mark(own, mark) for mark in marks)) for name, own in entries.items())
    return Table("Epochs, and seconds, to", ("optimiser", *(percent(mark, 0) for mark in marks)), rows)


def _told_mark(rows: Rows, mark: float) -> str:
    found = _arrivals(rows, mark)
    there = [one for one in found if one is not None]
    if len(there) <= len(found) / 2:
        return "not reached" if not there else f"not reached ({len(there)} of {len(found)} seeds did)"
    epochs, seconds = (float(np.median(part)) for part in zip(*there, strict=True))
    few = "" if len(there) == len(found) else f", {len(there)} of {len(found)} seeds"
    return f"{epochs:g} ({seconds:.1f} s{few})"


def _arrivals(rows: Rows, mark: float) -> list[tuple[float, float] | None]:
    return [arrival(rows.where(seed=seed), mark) for seed in rows.names("seed")]


def _told_epochs(entries: Entries, mark: float) -> str:
    """After how many epochs each optimiser was at a mark: the median seed, those that never came there last of all."""
    epochs = {name: _median_epochs(rows, mark) for name, rows in entries.items()}
    each = ", ".join(f"{name} {count:g}" if np.isfinite(count) else f"{name} not" for name, count in epochs.items())
    n = len(next(iter(entries.values())).names("seed"))
    return f"Epochs to {percent(mark, 0)} of the test images right, median of {seeds(n)}: {each}."


def _median_epochs(rows: Rows, mark: float) -> float:
    return float(np.median([one[0] if one else np.inf for one in _arrivals(rows, mark)]))


def _marks(entries: Entries) -> tuple[float, ...]:
    reached = any(np.isfinite(_median_epochs(rows, MARKS[0])) for rows in entries.values())
    return MARKS if reached else (*LOWER_MARKS, *MARKS)


def _telling_mark(entries: Entries) -> float:
    """The highest mark that more than half of the optimisers came to, or the lowest."""
    marks = _marks(entries)
    came = {mark: sum(np.isfinite(_median_epochs(rows, mark)) for rows in entries.values()) for mark in marks}
    return max((mark for mark in marks if came[mark] > len(entries) / 2), default=marks[0])


def arrival(run: Rows, mark: float) -> tuple[float, float] | None:
    """The first epoch of a run whose test accuracy is at least the mark, and the seconds of training until then."""
    reached = np.flatnonzero(run.numbers("test_accuracy") >= mark)
    if not len(reached):
        return None
    return float(run.numbers("epoch")[reached[0]]), float(np.nansum(run.numbers("train_seconds")[: reached[0] + 1]))


def last_accuracies(rows: Rows) -> NDArray[np.float64]:
    """The accuracy of each seed after its last epoch, in the order of the seeds' first rows."""
    return np.array([rows.where(seed=seed).numbers("test_accuracy")[-1] for seed in rows.names("seed")])


def _searched(search: Rows, epochs: int) -> Table:
    rows = []
    for name in search.names("optimizer"):
        own = search.where(optimizer=name)
        rows.append((name, *(f"{rate}: {_told_rate(own.where(rate=rate), epochs)}" for rate in own.names("rate"))))
    rates = (f"rate {place}" for place in range(1, max(map(len, rows))))
    return Table("Validation accuracy by learning rate", ("optimiser", *rates), tuple(rows))


def _told_rate(rows: Rows, epochs: int) -> str:
    """The mean accuracy at the end; a run that ended before it failed."""
    ends = rows.where(epoch=epochs)
    whole = len(ends) == len(rows.where(epoch=0))
    return percent(float(ends.numbers("validation_accuracy").mean())) if whole else "failed"


def _conclusions(entries: Entries) -> tuple[str, ...]:
    """The best at the end, what Adam gains over each other one, and what an epoch of it costs."""
    ends = {name: last_accuracies(rows) for name, rows in entries.items()}
    first = max(ends, key=lambda name: float(ends[name].mean()))
    told = [f"Highest at the end: {first}, {told_mean(ends[first].tolist())}."]
    if not {"adam", "sgd"} <= entries.keys():
        return tuple(told)
    gaps = {name: paired(entries["adam"], rows, RIGHT) for name, rows in entries.items() if name != "adam"}
    told += [f"adam minus {name} at the end: {told_gap(gap)}." for name, gap in gaps.items()]
    first_gap = paired(entries["adam"].where(epoch=1), entries["sgd"].where(epoch=1), RIGHT)
    told += [f"adam minus sgd after the first epoch: {told_gap(first_gap)}."]
    told += [_told_epochs(entries, _telling_mark(entries))]
    adam, sgd = (float(np.nanmedian(entries[name].numbers("train_seconds"))) for name in ("adam", "sgd"))
    told.append(
        f"An epoch of adam took {adam:.2f} s, one of sgd {sgd:.2f} s (medians): {adam / sgd:.2f} times as long."
    )
    return tuple(told)
