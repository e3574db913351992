"""How much an experiment will train, and about how long that takes on this machine."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from heapq import heapreplace
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.data.dataset import Splits
from lenscope.engines import engine_for
from lenscope.lab.execution.trials import divide, is_finished
from lenscope.numbers_as_text import duration
from lenscope.randomness import Purpose, random_order
from lenscope.runs.prepare import prepare
from lenscope.text import counted
from lenscope.training.events import EpochDone
from lenscope.training.fit import fit
from lenscope.training.schedules import evaluated_epochs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from lenscope.config import TrainConfig
    from lenscope.lab.execution.trials import Trial
    from lenscope.lab.experiment import Experiment

Kind = tuple[object, ...]

SAMPLE, SAMPLE_BYTES = 2_000, 2**26  # images to time, and their largest size
TIMING_SECONDS = 1.0  # of training, divided among the kinds of runs; each kind trains the sample at least twice
MOST_KINDS = 12  # that are timed; the others are taken for their mean
RUN_SECONDS, PROCESS_SECONDS = 0.3, 2.0  # besides the epochs: to write a run, to start processes; on two cores


class Pace(NamedTuple):
    """Seconds per image of training and of evaluation."""

    training: float
    evaluation: float


@dataclass(frozen=True)
class Forecast:
    """How much an experiment will train.

    Attributes:
        epochs: of each run.
        finished: number of runs that are finished.
        at_most: whether runs or epochs may be omitted, depending on results.
        processes: runs at a time; None where a cluster decides.
        seconds: that the other runs take; None where it is not known.
        per_epoch: the shortest and the longest seconds of an epoch.
    """

    epochs: tuple[int, ...]
    finished: int
    at_most: bool
    processes: int | None = None
    seconds: float | None = None
    per_epoch: tuple[float, float] = (0.0, 0.0)

    def __str__(self) -> str:
        """In one line.

        >>> print(Forecast((10,) * 20, 5, False, 2, 240.0, (1.1, 1.1)))
        20 runs of 10 epochs, 200 epochs in all; 5 runs are finished; about 4 min on 2 processes (an epoch: about 1.1 s)
        """
        few, many = min(self.epochs), max(self.epochs)
        each = counted(few, "epoch") if few == many else f"{few:,} to {many:,} epochs"
        total = f"{counted(len(self.epochs), 'run')} of {each}, {counted(sum(self.epochs), 'epoch')} in all"
        if self.finished:
            everything = self.finished == len(self.epochs)
            done = counted(self.finished, "run")
            total += "; all are finished" if everything else f"; {done} {'is' if done == '1 run' else 'are'} finished"
        if self.seconds is not None and self.processes:
            low, high = map(_brief, self.per_epoch)
            epoch = f"about {low}" if low == high else f"{low} to {high}"
            where = counted(self.processes, "process", "processes")
            total += f"; about {duration(self.seconds)} on {where} (an epoch: {epoch})"
        return f"up to {total}" if self.at_most else total


def _brief(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def forecast(experiment: Experiment, splits: Splits, runs: Path, processes: int | None) -> Forecast:
    """How much is to be trained, timed by a second of training on training images; writes nothing.

    Args:
        experiment: the experiment.
        splits: its data; of the test images only the number is used.
        runs: the directory of its runs.
        processes: runs at a time; None for a cluster, whose seconds are not known.
    """
    trials = experiment.expected_trials()
    left = _left(trials, runs)
    known = Forecast(tuple(trial.config.epochs for trial in trials), len(trials) - len(left), experiment.may_end_early)
    if not left or processes is None:
        return known
    paces = _paces(left, splits)
    costs = [_cost(trial.config, paces[_kind(trial.config)], splits) for trial in left]
    seconds = [RUN_SECONDS + _seconds(trial.config, *cost) for trial, cost in zip(left, costs, strict=True)]
    together = [time for trial, time in zip(left, seconds, strict=True) if not trial.alone]
    used = min(processes, max(1, len(together)))
    one_by_one = sum(seconds) - sum(together)
    total = _makespan(together, used) + one_by_one + (PROCESS_SECONDS if used > 1 else 0)
    epochs = [training + evaluation for training, evaluation in costs]
    return Forecast(known.epochs, known.finished, known.at_most, used, total, (min(epochs), max(epochs)))


def _left(trials: Sequence[Trial], runs: Path) -> Sequence[Trial]:
    """The trials that are not finished. Those of a search have other names than its runs: as many are finished."""
    finished = {path.name for path in runs.glob("*") if is_finished(path)}
    left = [trial for trial in trials if trial.name not in finished]
    return left[len(finished) - (len(trials) - len(left)) :]


def _kind(config: TrainConfig) -> Kind:
    """What decides the seconds per image."""
    return (
        config.network, config.engine, config.device, config.threads, config.optimizer, config.batch_size,
        str(config.augment),
    )  # fmt: skip


def _paces(trials: Iterable[Trial], splits: Splits) -> dict[Kind, Pace]:
    """The pace of each kind of run."""
    epochs, examples = Counter[Kind](), {}
    for trial in trials:
        kind = _kind(trial.config)
        epochs[kind] += trial.config.epochs
        examples[kind] = trial.config
    timed = [kind for kind, _ in epochs.most_common(MOST_KINDS)]
    part = _part(splits)
    paces = {kind: time_training(examples[kind], part, TIMING_SECONDS / len(timed)) for kind in timed}
    mean = Pace(*np.mean([*paces.values()], axis=0).tolist())
    return {kind: paces.get(kind, mean) for kind in epochs}


def _part(splits: Splits) -> Splits:
    """Some of the training images."""
    train = splits.train
    count = max(1, min(SAMPLE, SAMPLE_BYTES // train.images[0].nbytes))
    return Splits(train.take(random_order(0, Purpose.SUBSET, 0, len(train))[:count]))


def time_training(config: TrainConfig, part: Splits, seconds: float) -> Pace:
    """Train in memory for about this many seconds, and evaluate once.

    Args:
        config: the settings of a run.
        part: training images at their own size, and no others.
        seconds: of training, at least.
    """
    images = len(part.train)
    asked = config.with_settings(
        epochs=1_000, batch_size=min(config.batch_size, images), learning_rate=1e-6, schedule="constant",
        validation=0, train_images=None, patience=None, train_accuracy=False, init_from=None, checkpoint_every=None,
    )  # fmt: skip
    prepared = prepare(asked, part)
    taken: list[float] = []
    with engine_for(prepared.network, prepared.weights, prepared.sized.train, prepared.config) as engine:
        for event in fit(prepared.config, prepared.sized, engine):
            if isinstance(event, EpochDone) and event.metrics.train_seconds is not None:
                taken.append(event.metrics.train_seconds)
                if len(taken) > 1 and sum(taken) > seconds:
                    break
        started = perf_counter()
        engine.evaluate(prepared.sized.train)
        evaluation = perf_counter() - started
    return Pace(float(np.mean(taken[1:])) / images, evaluation / images)  # the first epoch warms up


def _cost(config: TrainConfig, pace: Pace, splits: Splits) -> tuple[float, float]:
    """Seconds of training and of evaluation in each epoch."""
    train, held_out = divide(config, len(splits.train))
    measured = held_out + len(splits.test or ()) + (train if config.train_accuracy else 0)
    return train * pace.training, measured * pace.evaluation


def _seconds(config: TrainConfig, training: float, evaluation: float) -> float:
    return config.epochs * training + len(evaluated_epochs(config.evaluate, config.epochs)) * evaluation


def _makespan(durations: Iterable[float], workers: int) -> float:
    """Seconds until all are done, each given to the worker that is free first.

    >>> _makespan([2, 2, 2], 2)
    4.0
    """
    busy = [0.0] * workers
    for seconds in durations:
        heapreplace(busy, busy[0] + seconds)
    return max(busy)
