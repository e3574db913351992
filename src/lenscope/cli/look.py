"""`lenscope runs`, `compare` and `summary`."""

from __future__ import annotations

import os
import re
from datetime import datetime
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import Field, field_validator

import lenscope
from lenscope.cli.command import RUN, Command, RunPath
from lenscope.cli.output import WORDS, fitted, table, terminal_width, wrapped
from lenscope.config import NetworkName
from lenscope.errors import LenscopeError, UsageError
from lenscope.insight.comparison import (
    equal_as_text,
    name_as_text,
    names_of,
    notes_of,
    results_of,
    rows_of,
    split_settings,
    value_as_text,
)
from lenscope.numbers_as_text import percent, percent_range

if TYPE_CHECKING:
    from collections.abc import Callable

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 20
HEADER = ("run", "date", "state", "epochs", "accuracy", "95 % interval", "error", "seconds", "curve", "settings")
ORDERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "date": lambda row: row["started"],
    "name": lambda row: row["name"],
    "accuracy": lambda row: _quality(row["accuracy"], row["reconstruction_error"]),
    "seconds": lambda row: row["seconds"],
}


class Runs(Command):
    """List runs: state, accuracy (or reconstruction error), the settings that differ, a curve over the epochs.

    A directory is a run, contains runs, or contains directories of runs, such as an experiment's.
    """

    directories: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="[DIR ...]")] = Field(
        (Path("runs"),), description="a run, or a directory of runs, of an experiment or of several people's runs"
    )
    sort: Literal["date", "name", "accuracy", "seconds"] = Field(
        "date", description="the order, ascending: the latest, best or slowest run is last"
    )
    reverse: bool = Field(default=False, description="descending order")

    def execute(self) -> None:
        """List them."""
        found = [run for directory in self.directories for run in _runs_in(directory)]
        broken = [run for run in found if isinstance(run, LenscopeError)]
        runs = [run for run in found if not isinstance(run, LenscopeError)]
        equal, differing = split_settings([run.config.model_dump() for run in runs])
        rows = [
            {"name": name, **_facts(run), "settings": {key: cells[at] for key, cells in differing.items()}}
            for at, (run, name) in enumerate(zip(runs, names_of(runs), strict=True))
        ]
        rows.sort(key=ORDERS[self.sort], reverse=self.reverse)
        lines = _listed(rows, equal) if rows else []
        lines += [f"broken: {error}" for error in broken]
        where = ", ".join(map(str, self.directories))
        self.show(
            [*rows, *({"error": str(error)} for error in broken)],
            *(lines or [f"{where}: no runs yet; create one with: lenscope train"]),
        )


class Compare(Command):
    """Print the settings in which runs differ, and their results."""

    runs: Annotated[tyro.conf.Positional[tuple[RunPath, ...]], tyro.conf.arg(metavar="RUN RUN [RUN ...]")] = Field(
        description=f"two or more; {RUN}"
    )

    def execute(self) -> None:
        """Compare and print."""
        if len(self.runs) < 2:
            raise UsageError(f"got {len(self.runs)} run, expected two or more; lenscope compare RUN RUN…")
        runs = [lenscope.open_run(run) for run in self.runs]
        found, names = lenscope.compare(runs), names_of(runs)
        rows = [("run", *names), *rows_of(found)]
        lines = table(*rows, right=True)
        if max(map(len, lines)) > terminal_width():
            lines = fitted(*zip(*rows, strict=True))
        lines += [line for note in notes_of(found, names) for line in wrapped(note)]
        self.show({"runs": [str(run.path) for run in runs], **found}, *lines)


class ShowSummary(Command):
    """Print each layer's output size, kernel, parameters, multiply-adds and bytes."""

    network: NetworkName = Field(
        "lenet",
        description="lenet: the lecture's; lenet1998: the paper's; mlp: without convolutions; or an autoencoder",
    )
    input: Annotated[str | None, tyro.conf.arg(metavar="CxHxW")] = Field(
        None, description="channels, height and width of an image; by default one channel at the network's size"
    )
    classes: int = Field(10, ge=2, le=1000, description="number of classes")
    batch_size: Annotated[int | None, tyro.conf.arg(metavar="INT")] = Field(
        None, ge=1, description="images per batch, shown as the first dimension of each output"
    )

    @field_validator("input")
    @classmethod
    def _is_a_size(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\d{1,5}([x×]\d{1,5}){2}", value):
            raise ValueError(f"input: got {value!r}, expected channels, height and width such as 1x32x32")
        return value

    def execute(self) -> None:
        """Summarise and print."""
        side = lenscope.Network(self.network).image_size
        shape = [int(part) for part in re.split("[x×]", self.input)] if self.input else [1, side, side]
        found = lenscope.summary(self.network, input_shape=shape, classes=self.classes, batch_size=self.batch_size)
        self.show(found.as_dict(), *found.text().split("\n"))


def sparkline(values: list[float], low: float, high: float) -> str:
    """Values as a row of at most 20 small bars, on a scale from `low` to `high`.

    >>> sparkline([0.0, 0.5, 1.0], 0.0, 1.0)
    '▁▅█'
    """
    if not values:
        return ""
    step = max(1, -(-len(values) // MOST_BARS))
    shown = values[::-1][::step][::-1]  # the last value is always shown
    return "".join(BARS[round((value - low) / ((high - low) or 1.0) * (len(BARS) - 1))] for value in shown)


def _runs_in(directory: Path) -> list[lenscope.Run | LenscopeError]:
    """The runs in a directory, and in its directories that are not runs, as unpacked archives and experiments are."""
    from lenscope.runs.run import is_run

    if not directory.is_dir():
        raise UsageError(f"{directory}: no such directory; 'lenscope train' creates runs/")
    below = sorted(path for path in directory.iterdir() if os.access(path, os.R_OK | os.X_OK) and not is_run(path))
    return [run for place in (directory, *below) for run in lenscope.list_runs(place)]


def _facts(run: lenscope.Run) -> dict[str, Any]:
    """A run's state, results and curves, as plain values."""
    rows, status, results = run.metrics.rows(), run.status, results_of(run)
    returns = run.config.reconstructs
    split, accuracy = rows[-1].measured if rows else (None, None)
    return {
        "run": str(run.path),
        "state": status.state,
        "why": status.why,
        "started": status.started,
        "ended": status.ended,
        "epochs": results["epochs_done"],
        "of_epochs": run.config.epochs,
        "split": rows[-1].reconstruction[0] if rows and returns else split,
        "accuracy": accuracy,
        "accuracy_interval": results[f"{split}_accuracy_interval"] if split else None,
        "reconstruction_error": results["reconstruction_error"],
        "seconds": results["seconds"],
        "accuracies": [row.measured[1] for row in rows if row.measured[1] is not None],
        "reconstruction_errors": [
            row.reconstruction[1] for row in rows if returns and row.reconstruction[1] is not None
        ],
    }


def _listed(rows: list[dict[str, Any]], equal: dict[str, Any]) -> list[str]:
    """The lines of a list of runs: a table, the scales of its curves, and what is equal.

    Columns that are empty are left out, and so is the state where all runs are finished.
    """
    accuracies, errors = ([_curve(row[name]) for row in rows] for name in ("accuracies", "reconstruction_errors"))
    scales = [_scale(values) for values in (accuracies, errors)]
    curves = [
        sparkline(error, *scales[1]) if error else sparkline(accuracy, *scales[0])
        for accuracy, error in zip(accuracies, errors, strict=True)
    ]
    columns = list(zip(HEADER, *map(_cells, rows, curves), strict=True))
    shown = [column for column in columns if any(column[1:]) and {*column} != {"state", "finished"}]
    lines = fitted(*zip(*shown, strict=True))
    notes = []
    if any(accuracies):
        low, high = scales[0]
        notes.append(f"curves: accuracy after each epoch, from {percent(low)} (▁) to {percent(high)} (█)")
    if any(errors):
        low, high = scales[1]
        notes.append(f"curves: reconstruction error after each epoch, from {low:z.4f} (▁) to {high:z.4f} (█)")
    if len(rows) > 1:
        notes.append(equal_as_text(equal, len(rows)))
    return [*lines, *(line for note in notes for line in wrapped(note))]


def _quality(accuracy: float | None, error: float | None) -> tuple[float, float]:
    """Larger for the better run; runs without a result come first, then autoencoders."""
    return accuracy or 0.0, -inf if error is None else -error


def _curve(values: list[float]) -> list[float]:
    """The values after training began that are finite, as are their differences."""
    return [value for value in values[1:] if isfinite(2 * value)]


def _scale(curves: list[list[float]]) -> tuple[float, float]:
    """The smallest and the largest value of several curves."""
    values = [value for curve in curves for value in curve]
    return min(values, default=0.0), max(values, default=0.0)


def _cells(row: dict[str, Any], curve: str) -> tuple[str, ...]:
    """The cells of a run under HEADER; those that do not apply are empty."""
    of = f" {row['split']}" if row["split"] == "validation" else ""
    texts = {name: value_as_text(name, value) for name, value in row["settings"].items() if name != "epochs"}
    return (
        row["name"],
        _local(row["started"]),
        row["state"],
        f"{row['epochs']}/{row['of_epochs']}",
        "" if row["accuracy"] is None else f"{percent(row['accuracy'])}{of}",
        "" if row["accuracy_interval"] is None else percent_range(row["accuracy_interval"]),
        "" if row["reconstruction_error"] is None else f"{row['reconstruction_error']:z.4f}{of}",
        f"{row['seconds']:.1f}",
        curve,
        ", ".join(f"{name_as_text(name)} {text}" for name, text in texts.items() if text not in WORDS),
    )


def _local(time: str) -> str:
    """An ISO time as local date and minute; a text that is not one stays."""
    try:
        return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        return time
