"""`lenscope runs`, `compare`, `summary` and `doctor`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import Field, field_validator

from lenscope.cli.command import Command, JsonFlag
from lenscope.cli.output import percent, print_json, print_line, print_table
from lenscope.config import NetworkName
from lenscope.errors import LenscopeError, UsageError

if TYPE_CHECKING:
    from lenscope.runs.run import Run

SPARKS = "▁▂▃▄▅▆▇█"


class Runs(Command):
    """List the runs in a directory with state, accuracy and its course; of an autoencoder its reconstruction error."""

    directory: tyro.conf.Positional[Path] = Field(Path("runs"), description="where the runs are")
    json_output: JsonFlag = False

    def execute(self) -> None:
        """List them."""
        from lenscope.runs.run import list_runs

        if not self.directory.is_dir():
            raise UsageError(f"{self.directory}: no such directory; 'lenscope train' makes runs/")
        found = list_runs(self.directory)
        if self.json_output:
            print_json([{"error": str(run)} if isinstance(run, LenscopeError) else _facts(run) for run in found])
            return
        rows = [_row(run) for run in found if not isinstance(run, LenscopeError)]
        if rows:
            print_table([("run", "state", "epochs", "accuracy", "seconds", "course"), *rows])
        for broken in found:
            if isinstance(broken, LenscopeError):
                print_line(f"broken: {broken}")
        if not found:
            print_line(f"{self.directory}: no runs yet; make one with: lenscope train")


class Compare(Command):
    """Print the settings in which runs differ, and their results."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = Field(description="run directories, two or more")
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Compare and print."""
        from lenscope import api

        if len(self.runs) < 2:
            raise UsageError(f"got {len(self.runs)} runs, expected two or more; lenscope compare RUN RUN…")
        table = api.compare(self.runs)
        if self.json_output:
            print_json({"runs": [str(run) for run in self.runs], **table})
            return
        print_table([("", *(run.name for run in self.runs)), *((name, *cells) for name, cells in table.items())])


class ShowSummary(Command):
    """Print each layer's output size, kernel, parameters, multiply-adds and bytes."""

    network: NetworkName = Field(
        "lenet", description="the lecture's LeNet, the 1998 paper's, one without convolutions, or an autoencoder"
    )
    input: Annotated[str | None, tyro.conf.arg(metavar="CxHxW")] = Field(
        None, description="channels, height and width of an image; by default grey, at the size that the network takes"
    )
    classes: int = Field(10, ge=2, le=1000, description="how many classes the network tells apart")
    batch_size: Annotated[int | None, tyro.conf.arg(metavar="INT")] = Field(
        None, ge=1, description="images a batch, shown as the first index of each output"
    )
    json_output: JsonFlag = False

    @field_validator("input")
    @classmethod
    def _is_a_size(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\d{1,5}([x×]\d{1,5}){2}", value):
            raise ValueError(f"input: got {value!r}, expected channels, height and width such as 1x32x32")
        return value

    def execute(self) -> None:
        """Summarise and print."""
        from lenscope import api
        from lenscope.nets.layers import Network

        side = Network(self.network).image_size
        shape = [int(part) for part in re.split("[x×]", self.input)] if self.input else [1, side, side]
        recap = api.summary(self.network, input_shape=shape, classes=self.classes, batch_size=self.batch_size)
        if self.json_output:
            print_json(recap.as_dict())
        else:
            print_line(*recap.text().split("\n"))


class Doctor(Command):
    """Print versions, processor, engines, devices and the data sets found here."""

    json_output: JsonFlag = False

    def execute(self) -> None:
        """Look around and print."""
        facts = _examine()
        if self.json_output:
            print_json(facts)
            return
        for name, value in facts.items():
            print_line(f"{name}:" if isinstance(value, dict) else f"{name}: {value}")
            if isinstance(value, dict):
                for key, part in value.items():
                    print_line(f"  {key}: {part if part is not None else 'not installed'}")


def sparkline(values: list[float]) -> str:
    """Values as a row of at most 20 little bars, from the least to the greatest.

    >>> sparkline([0.0, 0.5, 1.0])
    '▁▅█'
    """
    if not values:
        return ""
    step = max(1, -(-len(values) // 20))
    shown = values[::-1][::step][::-1]  # the last value is always there
    low, span = min(shown), (max(shown) - min(shown)) or 1.0
    return "".join(SPARKS[round((value - low) / span * (len(SPARKS) - 1))] for value in shown)


def _facts(run: Run) -> dict[str, Any]:
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


def _row(run: Run) -> tuple[str, ...]:
    facts = _facts(run)
    errors = facts["reconstruction_errors"]
    accuracy = "" if facts["accuracy"] is None else percent(facts["accuracy"])
    accuracy = f"error {errors[-1]:z.4f}" if errors else accuracy
    epochs, course = f"{facts['epochs']}/{facts['of_epochs']}", sparkline(errors or facts["accuracies"])
    return run.name, facts["state"], epochs, accuracy, f"{facts['train_seconds']:.1f}", course


def _examine() -> dict[str, Any]:
    from lenscope.data.catalogue import CATALOGUE
    from lenscope.data.fetch import locate
    from lenscope.environment import describe_environment

    facts = describe_environment()
    found = {name: locate(name) for name in CATALOGUE}
    folders = {name: str(next(iter(paths.values())).parent) for name, paths in found.items() if paths}
    torch, devices = _torch_engine()
    engines = {"fused": _fused_engine(), "numpy": "a LeNet without native code, slowly", "torch": torch}
    return facts | {"engines": engines, "devices": devices, "data": folders}


def _torch_engine() -> tuple[str, list[str]]:
    """PyTorch's version and threads, or why it is not here; and the devices that can be used."""
    try:
        from lenscope.pytorch.devices import available_devices, describe_torch
    except UsageError as error:
        return str(error), ["cpu"]
    return describe_torch(), available_devices()


def _fused_engine() -> str:
    """Instruction set and threads of the fused engine, or why it is not here."""
    from lenscope import native
    from lenscope.environment import usable_processors

    try:
        isa = native.instruction_set()
    except UsageError as error:
        return str(error)
    return f"{isa} (runs here: {', '.join(native.load().instruction_sets())}), {usable_processors()} threads"
