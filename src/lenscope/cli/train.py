"""`lenscope train` and `lenscope plot`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import tyro
from pydantic import Field

from lenscope.cli.command import Command, parse, percent, percent_range, print_json, print_line, print_note
from lenscope.config import TrainConfig, resolve

if TYPE_CHECKING:
    from lenscope.runs.run import Run

OWN = ("out", "config", "data_dir", "quiet", "json_output")


class Train(TrainConfig):
    """Train a network and keep everything about it in a run directory.

    Settings count in this order: defaults, --recipe, --config, other options.
    """

    learning_rate: Annotated[float, tyro.conf.arg(aliases=["--lr"])] = Field(
        1e-4, gt=0, description="peak learning rate; 1e-4 is the lecture's for adam, sgd wants about 0.1"
    )
    patience: Annotated[int | None, tyro.conf.arg(metavar="INT")] = Field(
        None, ge=1, description="stop after this many epochs without a lower validation loss; needs --validation"
    )
    threads: Annotated[int | None, tyro.conf.arg(metavar="INT")] = Field(
        None, ge=1, le=1024, description="processor threads; all by default"
    )
    init_from: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = Field(
        None, description="run whose trained weights this one starts from"
    )
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None, description="TOML file of settings, such as a run's config.toml"
    )
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = Field(
        None, description="the run's directory, which must not exist; by default the next free one under runs/"
    )
    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = Field(
        None, description="where else to look for the files of a named data set"
    )
    quiet: bool = Field(default=False, description="print the last line only")
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print the result as one JSON document"
    )

    @classmethod
    def parse(cls, program: str, arguments: list[str]) -> Self:
        """The command with its options over recipe and file; raises UsageError."""
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        first.add_argument("--recipe", nargs="?")
        first.add_argument("--config", nargs="?", type=Path)
        found, _ = first.parse_known_args(arguments)
        default = cls(**resolve(found.recipe, found.config).model_dump())
        return parse(cls, program, arguments, default)

    def execute(self) -> None:
        """Train, draw the pictures, and say where they are."""
        from lenscope import api

        settings = TrainConfig(**self.model_dump(exclude=set(OWN)))
        data = api.load(settings.data, data_dir=self.data_dir)
        run = api.train(data, out=self.out, progress=not self.quiet, config=settings)
        if not self.quiet:
            print_note("drawing the pictures …")
        api.plot(run, data=data.hold_out(settings.validation, settings.seed))
        result = describe_result(run)
        if self.json_output:
            print_json(result)
            return
        if not self.quiet:
            print_line(f"look: open {run.path / 'plots'}; again: lenscope plot {run.path}")
        print_line(result_line(result))


class Plot(Command):
    """Draw a run's pictures into its plots/, anew where they exist."""

    run: tyro.conf.Positional[Path] = Field(description="run directory")
    kernel: int = Field(0, ge=0, description="which kernel of conv2 is shown, from 0")
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print the paths as one JSON document"
    )

    def execute(self) -> None:
        """Draw, and print the paths."""
        from lenscope import api

        paths = [str(path) for path in api.plot(self.run, kernel=self.kernel)]
        if self.json_output:
            print_json(paths)
        else:
            print_line("\n".join(paths))


def describe_result(run: Run) -> dict[str, Any]:
    """What came of a finished run, as plain values; what does not apply is None."""
    import numpy as np

    from lenscope.insight.intervals import wilson_interval

    last = run.metrics.rows()[-1]
    part, accuracy, images = "test", last.test_accuracy, run.data.test_images
    if accuracy is None:
        part, accuracy, images = "validation", last.validation_accuracy, run.data.validation_images
    interval = None if accuracy is None else wilson_interval(round(accuracy * images), images)
    return {
        "run": str(run.path),
        "epochs": last.epoch,
        "accuracy": accuracy,
        "accuracy_interval": interval,
        "accuracy_part": part if accuracy is not None else None,
        "images": images if accuracy is not None else None,
        "train_loss": last.train_loss,
        "train_seconds": float(np.nansum(run.metrics.train_seconds)),
        "evaluation_seconds": float(np.nansum(run.metrics.evaluation_seconds)),
        "why": run.status.why,
    }


def result_line(result: dict[str, Any]) -> str:
    """The last line of a training run."""
    seconds = result["train_seconds"] + result["evaluation_seconds"]
    epochs = f"{result['epochs']} epoch{'' if result['epochs'] == 1 else 's'}"
    time = f"{epochs} in {seconds:.1f} s, {result['train_seconds']:.1f} s of them training"
    early = f" (stopped: {result['why']})" if result["why"] else ""
    if result["accuracy"] is None:
        return f"{result['run']}: training loss {result['train_loss']:.4f}; {time}{early}"
    images = f"{result['images']:,} {result['accuracy_part']} images"
    return (
        f"{result['run']}: {percent(result['accuracy'])} of {images} right, "
        f"95 % Wilson interval {percent_range(result['accuracy_interval'])}; {time}{early}"
    )
