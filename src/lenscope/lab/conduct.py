"""Carrying out an experiment: train the runs that it needs, measure them, and write tables, pictures and page."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from lenscope import api
from lenscope.engines import require_backend
from lenscope.errors import Interrupted
from lenscope.lab.directory import RUNS, declared, default_directory, rebuild
from lenscope.lab.execution.pool import NullProgress, Pool
from lenscope.lab.forecast import forecast
from lenscope.lab.tables.rows import collect, write_rows
from lenscope.nets.layers import Network
from lenscope.runs.run import open_run

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.insight.findings import Findings
    from lenscope.lab.execution.pool import Progress
    from lenscope.lab.execution.trials import Trial
    from lenscope.lab.experiment import Experiment, Runs


def conduct(  # noqa: PLR0913 - what is asked, where to, and how it is trained
    experiment: Experiment,
    out: Path | None = None,
    *,
    processes: int = 1,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    ray: str | None = None,
) -> Findings:
    """Carry out an experiment, or what is missing of it, into its directory.

    Args:
        experiment: the experiment with its settings.
        out: the directory; by default `experiments/NAME-DATA`. One that has the same experiment is continued.
        processes: runs at a time, with one thread each; 1 trains in this process.
        data_dir: as for `api.load`.
        progress: shows what will be trained, about how long it takes, and how many epochs are done.
        ray: the address of a Ray cluster that trains instead of processes of this machine: `auto` for one that runs
            here, `local` for one that is started for the experiment.

    Raises:
        UsageError: a directory with another experiment, or PyTorch is needed and not installed.
        RunError: a run that is broken, or could not be trained.
        DataError, StorageError: as for `api.train`.
        Interrupted: asked to stop; the same call resumes.
    """
    splits = api.load(experiment.data, data_dir=data_dir, **experiment.reading)
    experiment.check(splits)
    trials: dict[str, Trial] = {}
    runs: Runs = {}
    plan = experiment.trials(runs)
    first = next(plan)
    for trial in first:  # before anything is written
        require_backend(Network(trial.config.network, splits.train.channels, len(splits.classes)), trial.config)
    directory = out or default_directory(experiment)
    try:
        with declared(experiment, directory), Pool(splits, processes, progress or NullProgress(), ray) as pool:
            if progress:
                own = processes if ray in {None, "local"} else None
                progress.announce(f"{experiment.name}: {forecast(experiment, splits, directory / RUNS, own)}")
            for needed in chain([first], plan):
                missing = {trial.name: trial for trial in needed if trial.name not in runs}
                pool.train([*missing.values()], directory / RUNS)
                runs.update({name: open_run(directory / RUNS / name) for name in missing})
                trials |= missing
    except Interrupted as stop:
        raise Interrupted(directory, stop.signal, "run the same command again to resume") from None
    pairs = [(trial, runs[name]) for name, trial in trials.items()]
    failed = collect(trial.row for trial, run in pairs if run.status.state == "failed")
    for name, rows in (experiment.measure(pairs, splits) | {"failed": failed}).items():
        write_rows(directory / f"{name}.csv", rows)
    return rebuild(directory)
