"""The training loop: a generator of events that never prints, never plots and never touches the disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.errors import ConfigError, NonFiniteError
from lenscope.randomness import Purpose, random_order
from lenscope.training.events import (
    EpochDone,
    EpochMetrics,
    RunFinished,
    RunStarted,
    RunStopped,
    Snapshot,
    StepsDone,
)
from lenscope.training.schedules import learning_rates

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset, Splits
    from lenscope.training.engine import Engine, Score
    from lenscope.training.events import Event

FIRST_SNAPSHOTS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 400)  # the kernels move fastest at the start
CALL_SECONDS = 0.05  # how long a call of the engine may take, so that a bar moves and an interrupt is heard


def fit(
    config: TrainConfig, splits: Splits, engine: Engine, stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Train, and tell what happens as it happens.

    Row 0 is the untrained network. Every image of an epoch counts once, also those of a last, smaller batch. Of the
    data, validation may end the run early where the config asks; test steers nothing.

    Args:
        config: the settings.
        splits: images at the network's size, the validation part already held out.
        engine: holds the network and the training images.
        stop: looked at between steps; once true, the run ends after the step in hand.

    Yields:
        RunStarted, then Snapshot, StepsDone and EpochDone in the order of time, and RunFinished or RunStopped last.

    Raises:
        ConfigError: a batch larger than the training set.
    """
    check_batch_size(config, len(splits.train))
    course = _Course(config, len(splits.train))
    yield _started(config, splits, engine, course)
    yield Snapshot(0, engine.kernels())
    yield EpochDone(_measure(EpochMetrics(epoch=0), config, splits, engine))
    best, best_epoch = np.inf, 0
    for epoch in range(1, config.epochs + 1):
        metrics = yield from _train_epoch(epoch, course, engine, stop)
        if metrics is None:
            return
        metrics = _measure(metrics, config, splits, engine)
        yield EpochDone(metrics)
        if metrics.validation_loss is not None and metrics.validation_loss < best:
            best, best_epoch = metrics.validation_loss, epoch
        if config.patience and epoch - best_epoch >= config.patience:
            why = f"no lower validation loss for {config.patience} epochs"
            yield RunFinished(epoch * course.steps_per_epoch, engine.weights(), why)
            return
    yield RunFinished(course.steps, engine.weights())


def check_batch_size(config: TrainConfig, images: int) -> None:
    """Refuse a batch larger than the training set with a ConfigError; gd takes all images, whatever the size."""
    if config.optimizer != "gd" and config.batch_size > images:
        raise ConfigError(f"batch_size: got {config.batch_size}, expected at most the {images} training images")


@dataclass(frozen=True)
class _Course:
    """The steps of a run: how many, on which images, at which rates."""

    config: TrainConfig
    images: int

    @property
    def batch_size(self) -> int:
        return self.images if self.config.optimizer == "gd" else self.config.batch_size

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.images // self.batch_size)

    @property
    def steps(self) -> int:
        return self.config.epochs * self.steps_per_epoch

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        order = random_order(self.config.seed, Purpose.ORDER, epoch, self.images)
        return [order[start : start + self.batch_size] for start in range(0, self.images, self.batch_size)]

    def rates(self, epoch: int) -> NDArray[np.float64]:
        start = (epoch - 1) * self.steps_per_epoch
        config = self.config
        return learning_rates(config.schedule, config.learning_rate, self.steps, start, start + self.steps_per_epoch)


def _started(config: TrainConfig, splits: Splits, engine: Engine, course: _Course) -> RunStarted:
    return RunStarted(
        config=config,
        train_images=len(splits.train),
        validation_images=len(splits.validation or ()),
        test_images=len(splits.test or ()),
        classes=splits.classes,
        channels=splits.train.channels,
        steps=course.steps,
        steps_per_epoch=course.steps_per_epoch,
        engine=engine.name,
        device=engine.device,
        threads=engine.threads,
        weights=engine.weights(),
    )


def _train_epoch(
    epoch: int, course: _Course, engine: Engine, stop: Callable[[], bool]
) -> Generator[Event, None, EpochMetrics | None]:
    """The events of one epoch; returns its metrics, or None where the run stopped."""
    batches, rates = course.batches(epoch), course.rates(epoch)
    before = (epoch - 1) * len(batches)
    losses: list[NDArray[np.float32]] = []
    seconds, done, per_call = 0.0, 0, 1
    while done < len(batches):
        until = _next_pause(epoch, done, min(done + per_call, len(batches)))
        begun = perf_counter()
        got = engine.run(epoch, batches[done:until], rates[done:until].tolist(), stop)
        elapsed = perf_counter() - begun
        taken = got[np.isfinite(got)]
        if len(taken):
            losses.append(taken)
            yield StepsDone(epoch, before + done + len(taken), taken, rates[done : done + len(taken)])
        if len(taken) < until - done:
            yield _stopped(epoch, before + done + len(taken), engine, failed=len(got) > len(taken))
            return None
        seconds, done, per_call = seconds + elapsed, until, max(1, int(CALL_SECONDS * len(taken) / elapsed))
        if done == len(batches) or (epoch == 1 and done in FIRST_SNAPSHOTS):
            yield Snapshot(before + done, engine.kernels())
    return EpochMetrics(
        epoch=epoch,
        train_loss=float(np.dot(np.concatenate(losses, dtype=np.float64), [len(batch) for batch in batches]))
        / course.images,
        learning_rate=float(rates[-1]),
        train_seconds=seconds,
        images_per_second=course.images / seconds,
    )


def _next_pause(epoch: int, done: int, until: int) -> int:
    """Where the engine's next call ends: at `until`, or at a snapshot before it."""
    return min([until, *(step for step in FIRST_SNAPSHOTS if epoch == 1 and step > done)])


def _stopped(epoch: int, step: int, engine: Engine, *, failed: bool) -> RunStopped:
    if not failed:
        return RunStopped(step, engine.weights(), "interrupted")
    error = NonFiniteError(epoch, step + 1, engine.failed_layer)
    return RunStopped(step, engine.weights(), str(error), error)


def _measure(metrics: EpochMetrics, config: TrainConfig, splits: Splits, engine: Engine) -> EpochMetrics:
    """The row with the losses and accuracies of the parts that there are."""
    begun = perf_counter()
    validation, test = (_score(engine, part) for part in (splits.validation, splits.test))
    train = _score(engine, splits.train if config.train_accuracy else None)
    return replace(
        metrics,
        train_accuracy=train.accuracy,
        validation_loss=validation.loss,
        validation_accuracy=validation.accuracy,
        test_loss=test.loss,
        test_accuracy=test.accuracy,
        evaluation_seconds=perf_counter() - begun,
    )


def _score(engine: Engine, part: Dataset | None) -> Score | _NoScore:
    return engine.evaluate(part) if part else _NoScore()


class _NoScore(NamedTuple):
    loss: None = None
    accuracy: None = None
