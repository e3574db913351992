"""The experiments, such as `lenscope lab reproduce`, and `lenscope lab show`, which draws their pages again."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro
from pydantic import Field, create_model, model_validator

from lenscope.cli.command import Command, DataDir, early
from lenscope.cli.output import print_note
from lenscope.config import Settings, TrainConfig, read_settings, renamed
from lenscope.environment import usable_processors
from lenscope.errors import ConfigError, RunError, UsageError
from lenscope.lab.catalogue import EXPERIMENTS
from lenscope.lab.directory import PAGE, RUNS, default_directory, last_rows, rebuild
from lenscope.lab.questions.grid import read_grid
from lenscope.lab.questions.sweep import Sweep as SweepExperiment

if TYPE_CHECKING:
    from typing import Self

    from lenscope.insight.findings import Findings
    from lenscope.lab.experiment import Experiment

OWN = ("out", "processes", "backend", "ray_address", "data_dir", "quiet", "json_output")


class Conduct(Command):
    """The options that all experiments share."""

    name: ClassVar[str]

    data_dir: DataDir = None
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = Field(
        None, description="the experiment's directory, continued if it exists; by default experiments/NAME-DATA"
    )
    processes: Annotated[int | None, tyro.conf.arg(metavar="INT")] = Field(
        None, ge=1, le=1024, description="how many runs to train at a time, one thread each; by default one per core"
    )
    backend: Literal["local", "ray"] = Field(
        "local", description="train in processes on this machine, or on a Ray cluster"
    )
    ray_address: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = Field(
        None, description="address of a running Ray cluster; auto finds one on this machine; by default one is started"
    )
    quiet: bool = Field(default=False, description="print only the conclusions")

    def execute(self) -> None:
        """Train the runs that are missing, and print the conclusions."""
        conduct(self, EXPERIMENTS[self.name](**self.asked()))

    def asked(self) -> dict[str, Any]:
        """The settings of the experiment, without the options for how to run it."""
        return self.model_dump(exclude=set(OWN))


Reproduce, Race, Initlab, Longrun = (
    create_model(kind.__name__, __base__=(Conduct, kind), __doc__=kind.__doc__, __module__=__name__)
    for kind in map(EXPERIMENTS.__getitem__, ("reproduce", "race", "initlab", "longrun"))
)
_SWEEP: dict[str, Any] = {**SweepExperiment.model_fields}


class Varied(Settings):
    """What a sweep varies, as options."""

    chosen: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="set", metavar="NAME=VALUE,…")] = (
        Field((), description=f"{_SWEEP['grid'].description}; repeat --set for each setting")
    )
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None, description="TOML file: data, seeds, settings in a table [grid] or a list [[each]]; options override it"
    )


class Sweep(Conduct, SweepExperiment, Varied):
    """Train every combination of settings with every seed, or search for the best combination.

    lenscope lab sweep --set optimizer=adam,momentum --set lr=1e-4,1e-3 --seeds 10
    """

    grid: tyro.conf.SuppressFixed[dict[str, list[Any]]] = _SWEEP["grid"]
    each: tyro.conf.SuppressFixed[list[dict[str, Any]]] = _SWEEP["each"]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Skip the check of the experiment: file and options are valid only together, and `asked` combines them."""
        return self

    @classmethod
    def parse(cls, program: str, arguments: list[str]) -> Self:
        """The command with its options; raises UsageError, which names --set for a setting of the runs."""
        try:
            return super().parse(program, arguments)
        except UsageError as error:
            found = re.match(r"unrecognized options: --([\w-]+)", str(error))
            name = found[1].replace("-", "_") if found else ""
            if renamed({name: None}).keys() <= TrainConfig.model_fields.keys():
                raise UsageError(f"--{name}: a setting of the runs; give it as --set {name}=VALUE") from None
            raise

    @classmethod
    def before_options(cls, arguments: list[str]) -> Self | None:
        """The command with the settings of the file."""
        file = early(arguments, "config").get("config")
        if file is None:
            return None
        settings = read_settings(Path(file))
        try:
            return cls(**settings)
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from None

    def asked(self) -> dict[str, Any]:
        """The settings of the sweep, from the file and from --set; raises UsageError where there are none."""
        settings = self.model_dump(exclude={*OWN, "chosen", "config"})
        try:
            grid = self.grid | read_grid(self.chosen)
        except ValueError as error:
            raise ConfigError(f"--set: {error}") from None
        if not grid and not self.each:
            raise UsageError("got no setting to vary; give its values, such as --set lr=1e-4,1e-3 --seeds 5")
        return settings | {"grid": grid}


class Lab(Command):
    """Draw the pictures and the page of an experiment again, from its tables."""

    directory: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")] = Field(
        description="directory of an experiment"
    )

    def execute(self) -> None:
        """Draw, and print the conclusions."""
        show_findings(self, rebuild(self.directory), self.directory)


def conduct(command: Conduct, experiment: Experiment) -> None:
    """Run the experiment that the options of a command describe."""
    from lenscope import lab
    from lenscope.watch.runs import RunsBar
    from lenscope.watch.screen import Screen

    directory = command.out or default_directory(experiment)
    if command.ray_address and command.backend != "ray":
        raise UsageError("--ray-address requires --backend ray")
    bar = None if command.quiet else RunsBar(Screen())
    try:
        findings = lab.conduct(
            experiment,
            directory,
            processes=command.processes or usable_processors(),
            data_dir=command.data_dir,
            progress=bar,
            ray=(command.ray_address or "local") if command.backend == "ray" else None,
        )
    finally:
        if bar:
            bar.close()
    if not command.quiet:
        print_note(f"open {directory / PAGE} in a browser; every run is in {directory / RUNS}")
    show_findings(command, findings, directory)


def show_findings(command: Command, findings: Findings, directory: Path) -> None:
    """Print the conclusions of an experiment; raises RunError if no run finished."""
    facts = {
        "experiment": str(directory),
        "title": findings.title,
        "conclusions": list(findings.conclusions),
        "charts": {chart.name: asdict(chart) for section in findings.sections for chart in section.charts},
        "runs": last_rows(directory),
    }
    command.show(facts, *findings.conclusions)
    if findings.is_empty:
        raise RunError(f"{directory}: no run finished; 'lenscope runs {directory / RUNS}' lists them")
