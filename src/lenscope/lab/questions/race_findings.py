"""How the optimisers compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.insight.findings import Findings
from lenscope.insight.section import Chart, Line, Section, Table
from lenscope.lab.questions.race import ADAMW_DECAY
from lenscope.lab.tables.kernels import films_of
from lenscope.lab.tables.summary import (
    MEAN_BAND,
    error_rate,
    gap_text,
    line_of,
    mean_cells,
    mean_text,
    paired,
    sentences,
    spread_over,
    trained,
)
from lenscope.numbers_as_text import percent
from lenscope.text import counted
from lenscope.training.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lenscope.lab.experiment import Tables
    from lenscope.lab.questions.race import Race
    from lenscope.lab.tables.rows import Rows

    ByOptimizer = Mapping[str, Rows]

MARKS = (0.70, 0.80, 0.85, 0.90, 0.95, 0.97, 0.98, 0.99)  # test accuracies to reach
MARKS_LEAD = (
    "A test accuracy counts as reached at the end of the first epoch whose accuracy is at least that. Seconds are of "
    "training, one run at a time on all threads. Medians over the seeds."
)
SEARCH_LEAD = (
    "Mean validation accuracy after the last epoch. The seeds differ from those of the race. Where the best rate is "
    "the lowest or the highest that was tried, a better one may lie beyond it."
)


def race_findings(settings: Race, tables: Tables) -> Findings:
    """Accuracy by epoch and by seconds, time to reach each accuracy, kernels, and the search for the rates."""
    search, race = (tables["results"].where(stage=stage) for stage in ("search", "race"))
    runs: ByOptimizer = {name: race.where(optimizer=name) for name in OPTIMIZERS if race.where(optimizer=name)}
    n = counted(len(race.names("seed")), "seed")
    lead = (
        f"Means of {n} with the {MEAN_BAND}. gd takes one step per epoch, the others one per batch; adamw has a weight "
        f"decay of {ADAMW_DECAY}."
    )
    kernels = "conv1 of the first seed, from the same initial weights. The slider moves all films."
    sections = (
        Section("curves", "By epoch and by seconds", lead, charts=_charts(runs)),
        Section("marks", "Time to reach an accuracy", MARKS_LEAD, tables=(_ends(runs), _reached(runs))),
        Section("kernels", "Kernels", kernels, films=films_of(tables["films"])),
        Section("search", "Choice of the learning rates", SEARCH_LEAD, tables=(_searched(search, settings.epochs),)),
    )
    question = (
        f"Six optimisers on {settings.data}, {n}, {counted(settings.epochs, 'epoch')}, from the same initial weights "
        f"and with the images in the same order. Each has the best of {settings.rates} learning rates, chosen on "
        f"{settings.validation:,} held-out training images with {counted(settings.search_seeds, 'seed')} per rate. "
        "Test images are measured; nothing is chosen by them."
    )
    return Findings("The race of the optimisers", question, sentences(_conclusions(runs, n)), sections)


def _charts(runs: ByOptimizer) -> tuple[Chart, ...]:
    errors = tuple(line_of(name, spread_over(rows, "test_accuracy"), error_rate) for name, rows in runs.items())
    timed = tuple(_against_seconds(line, runs[line.name]) for line in errors)
    spreads = {name: trained(spread_over(rows, "train_loss")) for name, rows in runs.items()}
    losses = tuple(line_of(name, own) for name, own in spreads.items() if own)
    as_errors: dict[str, Any] = {"band": MEAN_BAND, "format": "percent", "log_y": True}
    loss = "Nats per image (mean over the epoch)"
    return (
        Chart("errors-epochs", "Test error by epoch", "Epoch", "Test error", errors, **as_errors),
        Chart("errors-seconds", "Test error by seconds", "Seconds of training", "Test error", timed, **as_errors),
        Chart("loss-epochs", "Training loss by epoch", "Epoch", loss, losses, MEAN_BAND, log_y=True),
    )


def _against_seconds(line: Line, rows: Rows) -> Line:
    """A line by epoch as one by the seeds' mean seconds of training."""
    each = [spread.mean for spread in spread_over(rows, "train_seconds")]
    seconds = np.concatenate([[0.0], np.cumsum(each)])[: len(line.xs)]
    return Line(line.name, tuple(seconds.tolist()), line.ys, line.low, line.high)


def _ends(runs: ByOptimizer) -> Table:
    rows = []
    for name, own in runs.items():
        accuracies, seconds = last_accuracies(own), own.numbers("train_seconds")
        rows.append((name, own.cells[0]["rate"], *mean_cells(accuracies.tolist()), f"{np.nanmedian(seconds):.2f}"))
    header = ("optimiser", "rate", "test accuracy", "95 % interval", "seconds per epoch")
    return Table("After the last epoch", header, tuple(rows))


def _reached(runs: ByOptimizer) -> Table:
    rows = tuple((name, *(_arrival_cell(own, mark) for mark in MARKS)) for name, own in runs.items())
    return Table(
        "Epochs (and seconds) to a test accuracy of", ("optimiser", *(percent(mark, 0) for mark in MARKS)), rows
    )


def _arrival_cell(rows: Rows, mark: float) -> str:
    found = _arrivals(rows, mark)
    there = [one for one in found if one is not None]
    few = "" if len(there) == len(found) else f"{len(there)} of {len(found)} seeds"
    if len(there) <= len(found) / 2:
        return f"not reached ({few})" if there else "not reached"
    epochs, seconds = (float(np.median(part)) for part in zip(*there, strict=True))
    return f"{epochs:g} ({seconds:.1f} s{few and ', '}{few})"


def _arrivals(rows: Rows, mark: float) -> list[tuple[float, float] | None]:
    return [arrival(rows.where(seed=seed), mark) for seed in rows.names("seed")]


def arrival(run: Rows, mark: float) -> tuple[float, float] | None:
    """The first epoch of a run whose test accuracy is at least the mark, and the seconds of training until then."""
    reached = np.flatnonzero(run.numbers("test_accuracy") >= mark)
    if not len(reached):
        return None
    return float(run.numbers("epoch")[reached[0]]), float(np.nansum(run.numbers("train_seconds")[: reached[0] + 1]))


def _median_epochs(rows: Rows, mark: float) -> float:
    return float(np.median([one[0] if one else np.inf for one in _arrivals(rows, mark)]))


def _common_mark(runs: ByOptimizer) -> float:
    """The highest mark that more than half of the optimisers reach, or the lowest."""
    reached = {mark: sum(np.isfinite(_median_epochs(rows, mark)) for rows in runs.values()) for mark in MARKS}
    return max((mark for mark in MARKS if reached[mark] > len(runs) / 2), default=MARKS[0])


def last_accuracies(rows: Rows) -> NDArray[np.float64]:
    """The test accuracy of each seed after its last epoch, in the order of the seeds' first rows."""
    return np.array([rows.where(seed=seed).numbers("test_accuracy")[-1] for seed in rows.names("seed")])


def _searched(search: Rows, epochs: int) -> Table:
    rows = []
    for name in search.names("optimizer"):
        own = search.where(optimizer=name)
        rows.append((name, *(f"{rate}: {_rate_cell(own.where(rate=rate), epochs)}" for rate in own.names("rate"))))
    rates = (f"rate {place}" for place in range(1, max(map(len, rows))))
    return Table("Validation accuracy by learning rate", ("optimiser", *rates), tuple(rows))


def _rate_cell(rows: Rows, epochs: int) -> str:
    """The mean accuracy at the end, or that a run failed: it ended before."""
    ends = rows.where(epoch=epochs)
    finished = len(ends) == len(rows.where(epoch=0))
    return percent(float(ends.numbers("validation_accuracy").mean())) if finished else "failed"


def _conclusions(runs: ByOptimizer, n: str) -> dict[str, str]:
    """The best at the end, adam compared with the others, and the epochs and seconds."""
    ends = {name: last_accuracies(rows) for name, rows in runs.items()}
    first = max(ends, key=lambda name: float(ends[name].mean()))
    found = {"Highest final test accuracy": f"{first}, {mean_text(ends[first].tolist())}"}
    if not {"adam", "sgd"} <= runs.keys():
        return found
    for name, rows in runs.items():
        if name != "adam":
            found[f"adam minus {name}, final test accuracy"] = gap_text(paired(runs["adam"], rows, "test_accuracy"))
    adam, sgd = (runs[name].where(epoch=1) for name in ("adam", "sgd"))
    found["adam minus sgd, test accuracy after epoch 1"] = gap_text(paired(adam, sgd, "test_accuracy"))
    mark = _common_mark(runs)
    epochs = {name: _median_epochs(rows, mark) for name, rows in runs.items()}
    found[f"Epochs to a test accuracy of {percent(mark, 0)}, median of {n}"] = ", ".join(
        f"{name} {count:g}" if np.isfinite(count) else f"{name} not reached" for name, count in epochs.items()
    )
    seconds = [float(np.nanmedian(runs[name].numbers("train_seconds"))) for name in ("adam", "sgd")]
    ratio = f"ratio {seconds[0] / seconds[1]:.2f}"
    found["Seconds per epoch, median"] = f"adam {seconds[0]:.2f}, sgd {seconds[1]:.2f} ({ratio})"
    return found
