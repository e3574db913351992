"""The experiments: `lenscope reproduce` and its like, and `lenscope lab`, which makes their pages again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro
from pydantic import Field

from lenscope.cli.command import Command, DataDir, JsonFlag, parse, print_json, print_line, print_note
from lenscope.environment import usable_processors
from lenscope.lab.catalogue import EXPERIMENTS
from lenscope.lab.initlab import Initlab as InitlabExperiment
from lenscope.lab.longrun import Longrun as LongrunExperiment
from lenscope.lab.race import Race as RaceExperiment
from lenscope.lab.reproduce import Reproduce as ReproduceExperiment

if TYPE_CHECKING:
    from typing import Self

    from lenscope.insight.findings import Findings
    from lenscope.lab.experiment import Experiment

OWN = ("out", "processes", "data_dir", "quiet", "json_output")


class Conduct(Command):
    """What all experiments share on the command line."""

    name: ClassVar[str]

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = Field(
        None, description="the experiment's directory, gone on with where it is there; by default experiments/NAME-DATA"
    )
    processes: Annotated[int | None, tyro.conf.arg(metavar="INT")] = Field(
        None, ge=1, le=1024, description="runs at once, a thread each; by default one a core"
    )
    data_dir: DataDir = None
    quiet: bool = Field(default=False, description="print the conclusions only")
    json_output: JsonFlag = False

    @classmethod
    def parse(cls, program: str, arguments: list[str]) -> Self:
        """The command with its options; raises UsageError."""
        return parse(cls, program, arguments)

    def execute(self) -> None:
        """Carry it out, or what is missing of it, and say what came of it."""
        conduct(self, EXPERIMENTS[self.name])


class Reproduce(ReproduceExperiment, Conduct):
    """Train the lecture's recipe with many seeds and lay its table beside what comes out."""


class Race(RaceExperiment, Conduct):
    """Race the optimisers, each at its best learning rate, from the same weights and in the same order of images."""


class Initlab(InitlabExperiment, Conduct):
    """Start networks in many ways, also from what autoencoders learned without labels, and fine-tune them."""


class Longrun(LongrunExperiment, Conduct):
    """Train for hundreds of epochs and watch kernels, loss and accuracy."""


class Lab(Command):
    """Draw the pictures and the page of an experiment again, from its tables alone."""

    directory: tyro.conf.Positional[Path] = Field(description="an experiment's directory")
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Draw, and say what came of it."""
        from lenscope.lab.experiment import rebuild

        tell(rebuild(self.directory), self.directory, json_output=self.json_output)


def conduct(command: Any, kind: type[Experiment]) -> None:
    """Carry out the experiment that a command's options describe."""
    from rich.console import Console

    from lenscope.lab import experiment as lab
    from lenscope.watch.runs import RunsBar

    experiment = kind(**command.model_dump(exclude=set(OWN)))
    directory = command.out or lab.default_directory(experiment)
    bar = None if command.quiet else RunsBar(Console(file=sys.stderr))
    try:
        findings = lab.conduct(
            experiment,
            directory,
            processes=command.processes or usable_processors(),
            data_dir=command.data_dir,
            teller=bar,
        )
    finally:
        if bar:
            bar.close()
    if not command.quiet:
        print_note(f"open {directory / lab.PAGE} in a browser; every run is in {directory / lab.RUNS}")
    tell(findings, directory, json_output=command.json_output)


def tell(findings: Findings, directory: Path, *, json_output: bool) -> None:
    """Print what came of an experiment."""
    if json_output:
        print_json({"experiment": str(directory), "title": findings.title, "conclusions": list(findings.conclusions)})
    else:
        print_line("\n".join(findings.conclusions))
