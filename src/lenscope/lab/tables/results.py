"""The metrics of runs as rows of the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenscope.lab.tables.rows import collect

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from lenscope.lab.execution.trials import Trial
    from lenscope.lab.tables.rows import Rows
    from lenscope.runs.run import Run

    Pair = tuple[Trial, Run]

COLUMNS = (
    *("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy"),
    *("learning_rate", "train_seconds", "evaluation_seconds"),
)


def finished_runs(runs: Iterable[Pair]) -> list[Pair]:
    """Those that ran to their end: their loss stayed finite."""
    return [(trial, run) for trial, run in runs if run.status.state == "finished"]


def results_of(runs: Iterable[Pair], epochs: Container[int] | None = None) -> Rows:
    """A row for each run and epoch, by default all: the run's name, its tags, and its metrics."""
    return collect(row for trial, run in runs for row in metrics_rows(trial, run, epochs))


def metrics_rows(trial: Trial, run: Run, epochs: Container[int] | None = None) -> list[dict[str, object]]:
    """The rows of one run."""
    return [
        trial.row | {column: getattr(row, column) for column in COLUMNS}
        for row in run.metrics.rows()
        if epochs is None or row.epoch in epochs
    ]
