"""`lenscope runs`, `compare`, `summary` and `doctor`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field, field_validator

import lenscope
from lenscope.cli.command import Command
from lenscope.cli.output import table
from lenscope.config import NetworkName
from lenscope.errors import LenscopeError, UsageError
from lenscope.numbers_as_text import percent

SPARKS = "▁▂▃▄▅▆▇█"


class Runs(Command):
    """List the runs in a directory: state, accuracy (or reconstruction error), and a small curve over the epochs."""

    directory: tyro.conf.Positional[Path] = Field(Path("runs"), description="directory that contains the runs")

    def execute(self) -> None:
        """List them."""
        if not self.directory.is_dir():
            raise UsageError(f"{self.directory}: no such directory; 'lenscope train' creates runs/")
        found = lenscope.list_runs(self.directory)
        facts = [{"error": str(run)} if isinstance(run, LenscopeError) else _facts(run) for run in found]
        rows = [_row(run) for run in found if not isinstance(run, LenscopeError)]
        lines = table(("run", "state", "epochs", "accuracy", "seconds", "curve"), *rows) if rows else []
        lines += [f"broken: {error}" for error in found if isinstance(error, LenscopeError)]
        self.show(facts, *(lines or [f"{self.directory}: no runs yet; create one with: lenscope train"]))


class Compare(Command):
    """Print the settings in which runs differ, and their results."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = Field(description="run directories, two or more")

    def execute(self) -> None:
        """Compare and print."""
        if len(self.runs) < 2:
            raise UsageError(f"got {len(self.runs)} run, expected two or more; lenscope compare RUN RUN…")
        found = lenscope.compare(self.runs)
        names = ("", *(run.name for run in self.runs))
        facts = {"runs": [str(run) for run in self.runs], **found}
        self.show(facts, *table(names, *((name, *cells) for name, cells in found.items())))


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


class Doctor(Command):
    """Print versions, processor, engines, devices and the data sets on this machine."""

    def execute(self) -> None:
        """Collect and print."""
        facts = _examine()
        lines = []
        for name, value in facts.items():
            parts = value.items() if isinstance(value, dict) else ()
            lines += [f"{name}:" if isinstance(value, dict) else f"{name}: {value}"]
            lines += [f"  {key}: {part if part is not None else 'not installed'}" for key, part in parts]
        self.show(facts, *lines)


def sparkline(values: list[float]) -> str:
    """Values as a row of at most 20 small bars, scaled from their minimum to their maximum.

    >>> sparkline([0.0, 0.5, 1.0])
    '▁▅█'
    """
    if not values:
        return ""
    step = max(1, -(-len(values) // 20))
    shown = values[::-1][::step][::-1]  # the last value is always shown
    low, span = min(shown), (max(shown) - min(shown)) or 1.0
    return "".join(SPARKS[round((value - low) / span * (len(SPARKS) - 1))] for value in shown)


def _facts(run: lenscope.Run) -> dict[str, Any]:
    rows = run.metrics.rows()
    errors = [
        error for _, error in (row.reconstruction for row in rows) if error is not None and run.config.reconstructs
    ]
    accuracies = [accuracy for _, accuracy in (row.measured for row in rows) if accuracy is not None]
    return {
        "run": str(run.path),
        "state": run.status.state,
        "why": run.status.why,
        "epochs": rows[-1].epoch if rows else 0,
        "of_epochs": run.config.epochs,
        "accuracy": accuracies[-1] if accuracies else None,
        "train_seconds": sum(row.train_seconds or 0.0 for row in rows),
        "accuracies": accuracies,
        "reconstruction_errors": errors,
    }


def _row(run: lenscope.Run) -> tuple[str, ...]:
    facts = _facts(run)
    errors = facts["reconstruction_errors"]
    accuracy = "" if facts["accuracy"] is None else percent(facts["accuracy"])
    accuracy = f"error {errors[-1]:z.4f}" if errors else accuracy
    epochs, course = f"{facts['epochs']}/{facts['of_epochs']}", sparkline(errors or facts["accuracies"])
    return run.name, facts["state"], epochs, accuracy, f"{facts['train_seconds']:.1f}", course


def _examine() -> dict[str, Any]:
    from lenscope.data.published.catalogue import CATALOGUE
    from lenscope.data.published.locate import locate
    from lenscope.environment import describe_environment

    facts = describe_environment()
    found = {name: locate(name) for name in CATALOGUE}
    folders = {name: str(next(iter(paths.values())).parent) for name, paths in found.items() if paths}
    torch, devices = _torch_engine()
    engines = {"fused": _fused_engine(), "numpy": "trains a LeNet without native code, slowly", "torch": torch}
    return facts | {"engines": engines, "devices": devices, "data": folders}


def _torch_engine() -> tuple[str, list[str]]:
    """PyTorch's version and threads, or why it is missing; and the available devices."""
    try:
        from lenscope.pytorch.devices import available_devices, describe_torch
    except UsageError as error:
        return str(error), ["cpu"]
    return describe_torch(), available_devices()


def _fused_engine() -> str:
    """Instruction set and threads of the fused engine, or why it cannot run."""
    from lenscope import native
    from lenscope.environment import usable_processors

    try:
        isa = native.instruction_set()
    except UsageError as error:
        return str(error)
    return f"{isa} (supported: {', '.join(native.load().instruction_sets())}), {usable_processors()} threads"
