"""What an experiment is, and how one is carried out: its runs, its tables, what they tell, pictures and a page."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import tomli_w
from pydantic import ConfigDict, Field, field_validator

from lenscope import api
from lenscope.config import Settings, parse_toml
from lenscope.engines import require_backend
from lenscope.errors import ConfigError, Interrupted, RunError, UsageError
from lenscope.insight.findings import Findings
from lenscope.lab.pool import Pool, Silence
from lenscope.lab.rows import collect, read_rows, write_rows
from lenscope.nets.layers import Network
from lenscope.runs.run import open_run
from lenscope.runs.storage import make_directory, write_file

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from lenscope.data.dataset import Splits
    from lenscope.lab.pool import Teller
    from lenscope.lab.rows import Rows
    from lenscope.lab.trials import Trial
    from lenscope.plots.display import Display
    from lenscope.runs.run import Run

FILE, RUNS, PLOTS, PAGE = "experiment.toml", "runs", "plots", "report.html"
MOST_CHARACTERS = 10_000
TOLD = 10  # runs that failed, by their names
Runs = dict[str, "Run"]
Tables = dict[str, "Rows"]


class Experiment(Settings):
    """A question put to many runs; its fields are its settings.

    Raises:
        ConfigError: a setting outside its range, in one line.
    """

    model_config = ConfigDict(strict=True)
    name: ClassVar[str]

    data: str = Field("mnist", min_length=1, description="data set: a name from `lenscope data list`, or a folder")
    seeds: str = Field("20", description="how many seeds, from 0 on, or a range of them such as 100..119")

    @field_validator("seeds", mode="before")
    @classmethod
    def _take_a_count(cls, value: Any) -> Any:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(text, str) and not _range_of(text):
            raise ValueError(f"seeds: got {text[:60]!r}, expected how many (20), or a range (100..119)")
        return text

    @property
    def each_seed(self) -> range:
        """The seeds."""
        return _range_of(self.seeds) or range(0)

    @property
    def leaves_out(self) -> bool:
        """Whether pictures of a folder that cannot be read are left out."""
        return False

    def goes_beyond(self, held: Experiment) -> set[str]:
        """Names of settings in which this is the same as another with more: what that one has trained counts."""
        return {"seeds"} if set(held.each_seed) <= set(self.each_seed) else set()

    def check(self, splits: Splits) -> None:
        """Raise UsageError for settings that do not fit the data, before anything is written."""

    @abstractmethod
    def trials(self, runs: Runs) -> list[Trial]:
        """All runs that are asked for, by what is known: asked again when these are done, until no more are missing."""

    @abstractmethod
    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:
        """What is kept of the runs, as tables by the names of their files."""

    def compared(self, results: Rows) -> Rows:
        """The results that conclusions are drawn from: without any there are none."""
        return results

    @abstractmethod
    def conclude(self, tables: Tables) -> Findings:
        """What the tables tell; nothing else is looked at, so that the page can be made again from them."""


def conduct(  # noqa: PLR0913 - what is asked, where to, and who does it
    experiment: Experiment,
    out: Path | None = None,
    *,
    processes: int = 1,
    data_dir: Path | None = None,
    teller: Teller | None = None,
    ray: str | None = None,
) -> Findings:
    """Carry out an experiment, or what of it is not done yet, into its directory.

    Args:
        experiment: which, with its settings.
        out: the directory; by default `experiments/NAME-DATA`. One that holds the same experiment is gone on with.
        processes: how many runs at once, with a thread each; 1 trains in this process.
        data_dir: as for `api.load`.
        teller: who shows how far it is.
        ray: the address of a Ray cluster that trains instead of processes of this machine: `auto` for one that runs
            here, `local` for one that is started for the experiment.

    Raises:
        UsageError: a directory that holds another experiment, or PyTorch is needed and not installed.
        RunError: a run that is broken, or could not be trained.
        DataError, StorageError: as for `api.train`.
        Interrupted: asked to stop; the same call goes on.
    """
    splits = api.load(experiment.data, data_dir=data_dir, skip_unreadable=experiment.leaves_out)
    if splits.test is None:
        raise UsageError(f"{experiment.data}: has no test part, on which an experiment measures; add one")
    experiment.check(splits)
    for trial in experiment.trials({}):  # before anything is written
        require_backend(Network(trial.config.network, splits.train.channels, len(splits.classes)), trial.config)
    directory = out or default_directory(experiment)
    _declare(experiment, directory)
    runs: Runs = {}
    try:
        with _pool(splits, processes, teller or Silence(), ray) as pool:
            while missing := [trial for trial in experiment.trials(runs) if trial.name not in runs]:
                pool.train(missing, directory / RUNS)
                runs |= {trial.name: open_run(directory / RUNS / trial.name) for trial in missing}
    except Interrupted as stop:
        raise Interrupted(directory, stop.signal, "the same command goes on") from None
    pairs = [(trial, runs[trial.name]) for trial in experiment.trials(runs)]
    failed = {
        "failed": collect({"trial": trial.name, **trial.tags} for trial, run in pairs if run.status.state == "failed")
    }
    for name, rows in (experiment.measure(pairs, splits) | failed).items():
        write_rows(directory / f"{name}.csv", rows)
    return rebuild(directory)


def _pool(splits: Splits, processes: int, teller: Teller, ray: str | None) -> Pool:
    if ray is None:
        return Pool(splits, processes, teller)
    from lenscope.lab.ray_pool import RayPool

    return RayPool(splits, processes, teller, ray)


def default_directory(experiment: Experiment) -> Path:
    """Where an experiment goes that is told no other place: `experiments/NAME-DATA`."""
    return Path("experiments") / f"{experiment.name}-{Path(experiment.data).name or 'data'}"


def rebuild(directory: Path) -> Findings:
    """Draw the pictures and the page of an experiment again, from its tables alone; raises RunError."""
    from lenscope.reports.findings import render_findings

    experiment = read_experiment(directory)
    tables = {path.stem: read_rows(path) for path in sorted(directory.glob("*.csv"))}
    if "results" not in tables:
        raise RunError(f"{directory}: has no results yet; 'lenscope {experiment.name} --out {directory}' makes them")
    try:
        found = experiment.conclude(tables) if experiment.compared(tables["results"]) else _nothing(experiment)
    except (LookupError, ValueError) as error:  # a column or a row that is not there, a cell that is no number
        raise RunError(
            f"{directory}: its tables are not those of {experiment.name}: {error}; run the experiment again"
        ) from error
    findings = _with_failures(found, tables.get("failed"))
    make_directory(directory / PLOTS, exist_ok=True)
    for name, display in _displays(findings).items():
        display.save(directory / PLOTS / f"{name}.png")
    write_file(directory / PAGE, render_findings(findings, settings_of(experiment)).encode(errors="replace"))
    return findings


def _displays(findings: Findings) -> dict[str, Display]:
    """The pictures by their names: charts by theirs, kernels and images by that of their section."""
    from lenscope.plots.chart import ChartDisplay
    from lenscope.plots.films import FilmsDisplay
    from lenscope.plots.reconstructions import PicturesDisplay

    shown: dict[str, Display] = {}
    for part in findings.sections:
        shown |= {chart.name: ChartDisplay(chart) for chart in part.charts}
        if films := [film for film in part.films if film.frames.shape[2] in {1, 3}]:
            shown[part.anchor] = FilmsDisplay(
                f"{films[0].layer} before training and after, each row on a scale of its own", films
            )
        if part.pictures:
            shown[part.anchor] = PicturesDisplay(part.title, part.pictures)
    return shown


def whole(runs: Sequence[tuple[Trial, Run]]) -> list[tuple[Trial, Run]]:
    """Those that came to their end, and not to a loss that is no number."""
    return [(trial, run) for trial, run in runs if run.status.state == "finished"]


def _nothing(experiment: Experiment) -> Findings:
    question = f"What {experiment.name} makes of its runs, when there are any."
    return Findings(f"No results of {experiment.name}", question, ("No run came to its end.",), ())


def _with_failures(findings: Findings, failed: Rows | None) -> Findings:
    """With a last sentence on the runs that failed, if any did."""
    if not failed:
        return findings
    names = ", ".join(map(_told_failed, failed.cells[:TOLD])) + (
        " and others (failed.csv)" if len(failed) > TOLD else ""
    )
    told = f"Failed, since the loss was no number any more, and left out ({len(failed)}): {names}."
    return replace(findings, conclusions=(*findings.conclusions, told))


def _told_failed(row: Mapping[str, str]) -> str:
    """A run by its name; where that is a hash, with what it is one of."""
    return f"{row['trial']} ({row['setting']}, seed {row['seed']})" if "setting" in row else row["trial"]


def read_experiment(directory: Path) -> Experiment:
    """The experiment that a directory holds; raises RunError where it holds none."""
    from lenscope.lab.catalogue import EXPERIMENTS

    try:
        with (directory / FILE).open(encoding="utf-8") as file:
            settings = parse_toml(file.read(MOST_CHARACTERS + 1), str(directory / FILE))
        kind = EXPERIMENTS[settings.pop("experiment")]
        return kind(**settings)
    except (OSError, UnicodeDecodeError, KeyError, TypeError):
        raise RunError(f"{directory}: holds no experiment; expected its {FILE}") from None
    except ConfigError as error:
        raise RunError(f"{directory / FILE}: {error}") from None


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """The experiment's name and settings, as `experiment.toml` has them."""
    return {"experiment": experiment.name, **experiment.model_dump(exclude_none=True)}


def each_once(name: str, value: Any) -> Any:
    """The values of a setting that is several, a list from TOML or a tuple; raises ValueError where one comes twice."""
    value = tuple(value) if isinstance(value, list) else value
    if isinstance(value, tuple) and (not value or len(set(value)) < len(value)):
        raise ValueError(f"{name}: got {_words(value)}, expected one or more, each once")
    return value


def _words(value: Any) -> str:
    """A setting as it is given on the command line."""
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _declare(experiment: Experiment, directory: Path) -> None:
    """Write what is asked before anything is trained; what a directory holds must be the same, or of fewer seeds."""
    text = tomli_w.dumps(settings_of(experiment))
    if len(text) > MOST_CHARACTERS:
        raise UsageError(
            f"{directory / FILE}: its settings take {len(text):,} characters, expected {MOST_CHARACTERS:,} at most; "
            "give fewer values, or ranges to a search"
        )
    make_directory(directory / RUNS, exist_ok=True)
    if (directory / FILE).exists():
        held = read_experiment(directory)
        before, now = settings_of(held), settings_of(experiment)
        other = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
        other -= experiment.goes_beyond(held)
        if other:
            name = min(other)
            raise UsageError(
                f"{directory}: holds an experiment with {name} = {_words(before.get(name))}, "
                f"got {_words(now.get(name))}; "
                "choose another --out"
            )
    write_file(directory / FILE, text.encode())


def _range_of(text: str) -> range | None:
    """The seeds in a text such as `20` or `100..119`; None where it is no such text."""
    found = re.fullmatch(r"(?:([0-9]{1,9})\.\.)?([0-9]{1,9})", text, re.ASCII)
    if not found:
        return None
    first, last = (0, int(found[2]) - 1) if found[1] is None else (int(found[1]), int(found[2]))
    return range(first, last + 1) or None


def metrics_rows(trial: Trial, run: Run, epochs: Container[int] | None = None) -> list[dict[str, object]]:
    """A row of the results for each epoch of a run: its name, its tags, and its metrics."""
    own: dict[str, object] = {"trial": trial.name, **trial.tags}
    return [
        own | {column: getattr(row, column) for column in KEPT}
        for row in run.metrics.rows()
        if epochs is None or row.epoch in epochs
    ]


KEPT = (
    *("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy"),
    *("learning_rate", "train_seconds", "evaluation_seconds"),
)
