"""Runs compared: the settings in which they differ, and their results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenscope.training.events import EpochMetrics

if TYPE_CHECKING:
    from lenscope.runs.run import Run


def compare_runs(runs: list[Run]) -> dict[str, list[str]]:
    """Rows by name, one cell per run: the settings that differ, then the results; all as text to print."""
    settings = [_settings(run) for run in runs]
    names = dict.fromkeys(name for table in settings for name in table)  # a package may be recorded in one run only
    rows = {name: [table.get(name, "") for table in settings] for name in names}
    differing = {name: cells for name, cells in rows.items() if len(set(cells)) > 1}
    results = [describe_results(run) for run in runs]
    outcome = {name: [table[name] for table in results] for name in results[0]}
    return differing | {name: cells for name, cells in outcome.items() if any(cells)}


def describe_results(run: Run) -> dict[str, str]:
    """The results of a run so far, as text; a cell that does not apply is empty."""
    rows = run.metrics.rows() or [EpochMetrics(epoch=0)]
    last = rows[-1]
    returns = run.config.reconstructs
    seconds = sum((row.train_seconds or 0) + (row.evaluation_seconds or 0) for row in rows)
    return {
        "state": run.status.state,
        "epochs done": str(last.epoch),
        "train loss": _shown(last.train_loss, "{:z.4f}"),
        "validation accuracy": _shown(last.validation_accuracy, "{:.2f} %", of=100),
        "test loss": "" if returns else _shown(last.test_loss, "{:z.4f}"),
        "reconstruction error": _shown(last.reconstruction[1], "{:z.4f}") if returns else "",
        "test accuracy": _shown(last.test_accuracy, "{:.2f} %", of=100),
        "seconds": f"{seconds:.1f}",
    }


def _settings(run: Run) -> dict[str, str]:
    own = {name: str(value) for name, value in run.config}
    environment = {name: str(run.environment.get(name)) for name in ("engine", "device", "threads", "processor")}
    packages = {f"{name} version": str(version) for name, version in run.environment["packages"].items()}
    return own | environment | packages | {"training data": run.data.train_sha256[:12]}


def _shown(value: float | None, form: str, of: int = 1) -> str:
    return "" if value is None else form.format(of * value)
