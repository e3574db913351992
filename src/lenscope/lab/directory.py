"""The directory of an experiment: its settings, its tables, and the pictures and the page that are made of these."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from lenscope.config import parse_toml
from lenscope.errors import ConfigError, RunError, StorageError, UsageError
from lenscope.insight.findings import Findings
from lenscope.lab.catalogue import EXPERIMENTS, FINDINGS
from lenscope.lab.execution.trials import is_finished
from lenscope.lab.tables.rows import read_rows, value_of
from lenscope.runs.files import checkpoint
from lenscope.storage import explained, make_directory, remove_directory, remove_file, write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lenscope.lab.experiment import Experiment
    from lenscope.lab.tables.rows import Rows
    from lenscope.plots.display import Display

FILE, RUNS, PLOTS, PAGE = "experiment.toml", "runs", "plots", "report.html"
MOST_CHARACTERS = 10_000  # of the settings
MOST_NAMED = 10  # failed runs whose names are listed


def default_directory(experiment: Experiment) -> Path:
    """`experiments/NAME-DATA`."""
    return Path("experiments") / f"{experiment.name}-{Path(experiment.data).name or 'data'}"


def settings_of(experiment: Experiment) -> dict[str, Any]:
    """The experiment's name and settings, as `experiment.toml` has them."""
    return {"experiment": experiment.name, **experiment.model_dump(exclude_none=True)}


@contextmanager
def declared(experiment: Experiment, directory: Path) -> Iterator[None]:
    """Write the settings before anything is trained, and take them back if an error ends the block before it is.

    Raises:
        UsageError: the directory has an experiment with other settings, or they are too long.
    """
    text = tomli_w.dumps(settings_of(experiment))
    if len(text) > MOST_CHARACTERS:
        raise UsageError(
            f"{directory / FILE}: its settings take {len(text):,} characters, expected at most {MOST_CHARACTERS:,}; "
            "give fewer values, or ranges to a search"
        )
    with explained(directory):
        new = [path for path in (directory / RUNS, directory, *directory.parents) if not path.exists()]
        before = (directory / FILE).read_bytes() if (directory / FILE).exists() else None
    if before is not None:
        _require_extension(experiment, read_experiment(directory), directory)
    there = set((directory / RUNS).glob("*"))
    try:
        make_directory(directory / RUNS, exist_ok=True)
        write_file(directory / FILE, text.encode())
        yield
    except BaseException:
        _take_back(directory, before, set((directory / RUNS).glob("*")) - there)
        for path in new:
            remove_directory(path)
        raise


def _take_back(directory: Path, before: bytes | None, runs: set[Path]) -> None:
    """Restore the settings and remove the new runs, unless one of them has ended or has a checkpoint."""
    if any(is_finished(run) or any((run / checkpoint.FOLDER).glob("*")) for run in runs):
        return
    with suppress(StorageError):  # the error that is being raised matters more
        for run in runs:
            for path in sorted(run.rglob("*"), reverse=True):
                remove_directory(path) if path.is_dir() else remove_file(path)
            remove_directory(run)
        if before is None:
            remove_file(directory / FILE)
        else:
            write_file(directory / FILE, before)


def _require_extension(experiment: Experiment, existing: Experiment, directory: Path) -> None:
    before, now = settings_of(existing), settings_of(experiment)
    differing = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    differing -= experiment.extendable_settings(existing)
    if differing:
        name = min(differing)
        raise UsageError(
            f"{directory}: has an experiment with {name} = {_words(before.get(name))}, got {_words(now.get(name))}; "
            f"{experiment.remedy(existing, name)}choose another --out, such as {directory}-2"
        )


def _words(value: Any) -> str:
    """A setting as it is given on the command line."""
    if isinstance(value, dict):
        return " ".join(f"{name}={','.join(map(str, values))}" for name, values in value.items()) or "none"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def read_experiment(directory: Path) -> Experiment:
    """The experiment of a directory; raises RunError where there is none."""
    try:
        with (directory / FILE).open(encoding="utf-8") as file:
            settings = parse_toml(file.read(MOST_CHARACTERS + 1), str(directory / FILE))
        return EXPERIMENTS[settings.pop("experiment")](**settings)
    except (OSError, UnicodeDecodeError, KeyError, TypeError):
        raise RunError(f"{directory}: not an experiment; expected a directory with {FILE}") from None
    except ConfigError as error:
        raise RunError(f"{directory / FILE}: {error}") from None


def rebuild(directory: Path) -> Findings:
    """Draw the pictures and the page of an experiment from its settings and tables; raises RunError."""
    from lenscope.reports.findings import render_findings

    experiment = read_experiment(directory)
    tables = {path.stem: read_rows(path) for path in sorted(directory.glob("*.csv"))}
    if "results" not in tables:
        raise RunError(f"{directory}: no results yet; run: lenscope lab {experiment.name} --out {directory}")
    try:
        findings = _findings(experiment, tables)
    except (LookupError, ValueError) as error:  # a missing column or row, or a cell that is not a number
        raise RunError(
            f"{directory}: its tables do not fit {experiment.name}: {error}; run the experiment again"
        ) from error
    make_directory(directory / PLOTS, exist_ok=True)
    for name, display in _displays(findings).items():
        display.save(directory / PLOTS / f"{name}.png")
    write_file(directory / PAGE, render_findings(findings, settings_of(experiment)).encode(errors="replace"))
    return findings


def last_rows(directory: Path) -> list[dict[str, object]]:
    """The last row of each run of the results, with numbers as numbers; None where there is none."""
    rows = {row["trial"]: row for row in read_rows(directory / "results.csv").cells}
    return [{name: value_of(cell) for name, cell in row.items()} for row in rows.values()]


def _findings(experiment: Experiment, tables: dict[str, Rows]) -> Findings:
    if tables["results"].where(**experiment.compared):
        findings = FINDINGS[experiment.name](experiment, tables)
    else:
        findings = Findings(f"No results of {experiment.name}", "No run has finished.", ("No run finished.",), ())
    return _with_failures(findings, tables.get("failed"))


def _with_failures(findings: Findings, failed: Rows | None) -> Findings:
    """With a last conclusion that names the runs that failed, if any did."""
    if not failed:
        return findings
    names = ", ".join(map(_failed_name, failed.cells[:MOST_NAMED]))
    more = " and others (failed.csv)" if len(failed) > MOST_NAMED else ""
    excluded = f"Excluded, since the loss became NaN or infinite ({len(failed)}): {names}{more}."
    return replace(findings, conclusions=(*findings.conclusions, excluded))


def _failed_name(row: Mapping[str, str]) -> str:
    """The name of a run; where it is a hash, with its setting and seed."""
    return f"{row['trial']} ({row['setting']}, seed {row['seed']})" if "setting" in row else row["trial"]


def _displays(findings: Findings) -> dict[str, Display]:
    """The pictures by name: charts by their own, kernels and images by that of their section."""
    from lenscope.plots.chart import ChartDisplay
    from lenscope.plots.films import FilmsDisplay
    from lenscope.plots.reconstructions import PicturesDisplay

    displays: dict[str, Display] = {}
    for section in findings.sections:
        displays |= {chart.name: ChartDisplay(chart) for chart in section.charts}
        if films := [film for film in section.films if film.frames.shape[2] in {1, 3}]:
            title = f"{films[0].layer} before and after training, one scale per row"
            displays[section.anchor] = FilmsDisplay(title, films)
        if section.pictures:
            displays[section.anchor] = PicturesDisplay(section.title, section.pictures)
    return displays
