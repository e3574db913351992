"""The experiments: `lenscope reproduce` and its like, and `lenscope lab`, which makes their pages again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro
from pydantic import Field, model_validator

from lenscope.cli.command import Command, DataDir, JsonFlag, parse
from lenscope.cli.output import print_json, print_line, print_note
from lenscope.config import read_settings
from lenscope.environment import usable_processors
from lenscope.errors import ConfigError, RunError, UsageError
from lenscope.lab.catalogue import EXPERIMENTS
from lenscope.lab.experiment import RUNS
from lenscope.lab.grid import read_grid
from lenscope.lab.initlab import Initlab as InitlabExperiment
from lenscope.lab.longrun import Longrun as LongrunExperiment
from lenscope.lab.race import Race as RaceExperiment
from lenscope.lab.reproduce import Reproduce as ReproduceExperiment
from lenscope.lab.sweep import Sweep as SweepExperiment

if TYPE_CHECKING:
    from typing import Self

    from lenscope.insight.findings import Findings
    from lenscope.lab.experiment import Experiment

OWN = ("out", "processes", "backend", "ray_address", "data_dir", "quiet", "json_output")


class Conduct(Command):
    """What all experiments share on the command line."""

    name: ClassVar[str]

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = Field(
        None, description="the experiment's directory, gone on with where it is there; by default experiments/NAME-DATA"
    )
    processes: Annotated[int | None, tyro.conf.arg(metavar="INT")] = Field(
        None, ge=1, le=1024, description="runs at once, a thread each; by default one a core"
    )
    backend: Literal["local", "ray"] = Field(
        "local", description="who trains: processes of this machine, or a Ray cluster"
    )
    ray_address: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = Field(
        None, description="of a running Ray cluster, auto for one on this machine; by default one is started"
    )
    data_dir: DataDir = None
    quiet: bool = Field(default=False, description="print the conclusions only")
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Carry it out, or what is missing of it, and say what came of it."""
        conduct(self, EXPERIMENTS[self.name](**self.asked()))

    def asked(self) -> dict[str, Any]:
        """The experiment's settings, without the options that say how it is carried out."""
        return self.model_dump(exclude=set(OWN))


class Reproduce(ReproduceExperiment, Conduct):
    """Train the lecture's recipe with many seeds and lay its table beside what comes out."""


class Race(RaceExperiment, Conduct):
    """Race the optimisers, each at its best learning rate, from the same weights and in the same order of images."""


class Initlab(InitlabExperiment, Conduct):
    """Start networks in many ways, also from what autoencoders learned without labels, and fine-tune them."""


class Longrun(LongrunExperiment, Conduct):
    """Train for hundreds of epochs and watch kernels, loss and accuracy."""


_SWEEP: dict[str, Any] = {**SweepExperiment.model_fields}


class Sweep(SweepExperiment, Conduct):
    """Train every combination of settings with every seed, or search for the best, and say which it is.

    lenscope sweep --set optimizer=adam,momentum --set lr=1e-4,1e-3 --seeds 10
    """

    chosen: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="set", metavar="NAME=VALUE,…")] = (
        Field((), description=_SWEEP["grid"].description)
    )
    grid: tyro.conf.SuppressFixed[dict[str, list[Any]]] = _SWEEP["grid"]
    each: tyro.conf.SuppressFixed[list[dict[str, Any]]] = _SWEEP["each"]
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None, description="TOML file: data, seeds, settings in a table [grid] or a list [[each]]; options go over it"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """A file alone, or options without --set, need not agree yet: the experiment that is made of all is asked."""
        return self

    @classmethod
    def parse(cls, program: str, arguments: list[str]) -> Self:
        """The command with its options over the file; raises UsageError."""
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        first.add_argument("--config", nargs="?", type=Path)
        file = first.parse_known_args(arguments)[0].config
        settings = read_settings(file) if file else {}
        try:
            default = cls(**settings)
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from None
        return parse(cls, program, arguments, default)

    def asked(self) -> dict[str, Any]:
        """The sweep's settings, those of the file and of --set together."""
        settings = self.model_dump(exclude={*OWN, "chosen", "config"})
        try:
            return settings | {"grid": self.grid | read_grid(self.chosen)}
        except ValueError as error:
            raise ConfigError(f"--set: {error}") from None


class Lab(Command):
    """Draw the pictures and the page of an experiment again, from its tables alone."""

    directory: tyro.conf.Positional[Path] = Field(description="an experiment's directory")
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Draw, and say what came of it."""
        from lenscope.lab.experiment import rebuild

        tell(rebuild(self.directory), self.directory, json_output=self.json_output)


def conduct(command: Conduct, experiment: Experiment) -> None:
    """Carry out the experiment that a command's options describe."""
    from lenscope.lab import experiment as lab
    from lenscope.watch.runs import RunsBar
    from lenscope.watch.screen import Screen

    directory = command.out or lab.default_directory(experiment)
    if command.ray_address and command.backend != "ray":
        raise UsageError("--ray-address: is of a Ray cluster; add --backend ray")
    bar = None if command.quiet else RunsBar(Screen())
    try:
        findings = lab.conduct(
            experiment,
            directory,
            processes=command.processes or usable_processors(),
            data_dir=command.data_dir,
            teller=bar,
            ray=(command.ray_address or "local") if command.backend == "ray" else None,
        )
    finally:
        if bar:
            bar.close()
    if not command.quiet:
        print_note(f"open {directory / lab.PAGE} in a browser; every run is in {directory / lab.RUNS}")
    tell(findings, directory, json_output=command.json_output)


def tell(findings: Findings, directory: Path, *, json_output: bool) -> None:
    """Print what came of an experiment; raises RunError where no run came to its end."""
    if json_output:
        print_json({"experiment": str(directory), "title": findings.title, "conclusions": list(findings.conclusions)})
    else:
        print_line(*findings.conclusions)
    if findings.is_empty:
        raise RunError(f"{directory}: no run came to its end; 'lenscope runs {directory / RUNS}' lists them")
