"""The training loop: a generator of events that does not print, plot or use the disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.config import RECIPES
from lenscope.errors import ConfigError, NonFiniteError
from lenscope.randomness import Purpose, random_order
from lenscope.training.checkpoint_schedule import CheckpointSchedule
from lenscope.training.events import (
    Checkpoint,
    EpochDone,
    EpochMetrics,
    Position,
    RunFinished,
    RunStarted,
    RunStopped,
    Snapshot,
    StepsDone,
)
from lenscope.training.schedules import evaluated_epochs, learning_rates

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator

    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.training.engine import Engine
    from lenscope.training.events import Event, State

FIRST_SNAPSHOTS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 400)  # the kernels change fastest at the start
INTERRUPTED = "interrupted"
SHOWN_CLASSES = 10
CALL_SECONDS = 0.05  # per call of the engine, so that a progress bar moves and an interrupt has an effect


def fit(
    config: TrainConfig,
    splits: Splits,
    engine: Engine,
    stop: Callable[[], bool] = lambda: False,
    start: Start | None = None,
) -> Iterator[Event]:
    """Train, and yield events as they happen.

    Row 0 is the untrained network. Every image of an epoch counts once, also in a last, smaller batch. The validation
    set may end the run early where the config asks; the test set decides nothing.

    Args:
        config: the settings.
        splits: images at the network's size, the validation set already held out.
        engine: has the network and the training images.
        stop: checked between steps; once it returns true, the run ends after the current step. An evaluation that it
            interrupts is discarded.
        start: where to resume, instead of starting from the untrained network.

    Yields:
        RunStarted, then Snapshot, StepsDone, EpochDone and Checkpoint in chronological order, with a Checkpoint after
        the last step that was taken, and RunFinished or RunStopped at the end.

    Raises:
        ConfigError: a batch larger than the training set, unless it is the recipe's.
        RunError: the state of another network or optimiser.
    """
    given, config = config, check_batch_size(config, len(splits.train))
    course = _Course(config, splits, CheckpointSchedule(config.checkpoint_every))
    notes = (engine.note,) if engine.note else ()
    yield _started(course, engine, start, notes + _notes(given, config, splits))
    at, losses = Position(), np.empty(0, np.float32)
    if start is None:
        yield Snapshot(0, engine.kernels())
        untrained = _measure(EpochMetrics(epoch=0), course, engine, stop)
        if untrained is None:  # there is nothing to write into a checkpoint
            yield RunStopped(0, engine.weights(), INTERRUPTED)
            return
        yield EpochDone(untrained)
    else:
        engine.load(start.state)
        at, losses = start.position, start.losses
    while at.epoch <= config.epochs and not _early_end(config, at):
        metrics = yield from _train_epoch(at, losses, course, engine, stop)
        if metrics is None:
            return
        yield EpochDone(metrics)
        at, losses = _after_epoch(at, metrics), losses[:0]
        step, last = course.step(at), at.epoch > config.epochs or _early_end(config, at) is not None
        if last or course.checkpoints.due(step, epoch_done=at.epoch - 1):
            yield _checkpoint(at, course, engine)
    yield RunFinished(course.step(at), engine.weights(), _early_end(config, at))


@dataclass(frozen=True, eq=False)
class Start:
    """Where a run resumes.

    Attributes:
        position: its progress.
        losses: of the steps of the current epoch, float32, shape (position.done,).
        state: the engine's.
        rows: the epochs that are finished.
    """

    position: Position
    losses: NDArray[np.float32]
    state: State
    rows: tuple[EpochMetrics, ...] = ()


def _early_end(config: TrainConfig, at: Position) -> str | None:
    if config.patience and at.epoch - 1 - at.best_epoch >= config.patience:
        return f"no lower validation loss for {config.patience} epoch{'' if config.patience == 1 else 's'}"
    return None


def _after_epoch(at: Position, metrics: EpochMetrics) -> Position:
    loss = metrics.validation_loss
    if loss is not None and (at.best is None or loss < at.best):
        return Position(at.epoch + 1, best=loss, best_epoch=at.epoch)
    return Position(at.epoch + 1, best=at.best, best_epoch=at.best_epoch)


def _checkpoint(at: Position, course: _Course, engine: Engine) -> Checkpoint:
    course.checkpoints.written()
    return Checkpoint(course.step(at), at, engine.state())


def check_batch_size(config: TrainConfig, images: int) -> TrainConfig:
    """The settings with a batch size no larger than the training set.

    Raises:
        ConfigError: a larger batch size that was chosen by the user and is not the recipe's own.
    """
    if config.images_per_step(images) <= images:
        return config
    if config.batch_size != RECIPES[config.recipe]["batch_size"]:
        raise ConfigError(f"batch_size: got {config.batch_size}, expected at most the {images} training images")
    return config.with_settings(batch_size=images)


def steps_per_epoch(config: TrainConfig, images: int) -> int:
    """The steps of an epoch with this many training images."""
    return -(-images // config.images_per_step(images))


@dataclass(frozen=True)
class _Course:
    """The steps of a run: their number, images and learning rates, and which are followed by a checkpoint."""

    config: TrainConfig
    splits: Splits
    checkpoints: CheckpointSchedule

    @property
    def images(self) -> int:
        return len(self.splits.train)

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.config, self.images)

    @property
    def steps(self) -> int:
        return self.config.epochs * self.steps_per_epoch

    @property
    def evaluated(self) -> Collection[int]:
        return evaluated_epochs(self.config.evaluate, self.config.epochs)

    def step(self, at: Position) -> int:
        return (at.epoch - 1) * self.steps_per_epoch + at.done

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        order = random_order(self.config.seed, Purpose.ORDER, epoch, self.images)
        size = self.config.images_per_step(self.images)
        return [order[start : start + size] for start in range(0, self.images, size)]

    def rates(self, epoch: int) -> NDArray[np.float64]:
        start = (epoch - 1) * self.steps_per_epoch
        config = self.config
        return learning_rates(config.schedule, config.learning_rate, self.steps, start, start + self.steps_per_epoch)


def _notes(given: TrainConfig, config: TrainConfig, splits: Splits) -> tuple[str, ...]:
    notes = []
    if given.batch_size != config.batch_size:
        notes.append(
            f"batch size {config.batch_size:,}, all training images (the recipe's is {given.batch_size:,}): one step "
            "per epoch; a smaller --batch-size takes more"
        )
    if len(splits.classes) == 1 and not config.reconstructs:
        notes.append(f"one class only, {splits.classes[0]}: every answer is right; add pictures of another class")
    whole = not config.reconstructs and config.train_images is None  # else expected, or without effect
    empty = splits.train.empty_classes if whole else []
    if empty:
        names = ", ".join(map(repr, empty[:SHOWN_CLASSES])) + (", …" if len(empty) > SHOWN_CLASSES else "")
        classes = f"{len(empty):,} of {len(splits.classes):,} classes"
        notes.append(f"{classes} have no training image ({names}); renumber the labels if these are not classes")
    return tuple(notes)


def _started(course: _Course, engine: Engine, start: Start | None, notes: tuple[str, ...]) -> RunStarted:
    splits = course.splits
    return RunStarted(
        config=course.config,
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
        weights=engine.weights() if start is None else start.state.weights,
        step=0 if start is None else course.step(start.position),
        notes=notes,
        rows=() if start is None else start.rows,
        ranks=engine.ranks,
    )


def _train_epoch(
    at: Position, losses: NDArray[np.float32], course: _Course, engine: Engine, stop: Callable[[], bool]
) -> Generator[Event, None, EpochMetrics | None]:
    """The events of one epoch, or of the rest of it; returns its row, or None where the run stopped."""
    batches, rates = course.batches(at.epoch), course.rates(at.epoch)
    before = (at.epoch - 1) * len(batches)
    all_losses, per_call = [losses], 1
    while at.done < len(batches):
        until = _next_pause(at, before, min(at.done + per_call, len(batches)), course.checkpoints)
        started = perf_counter()
        got = engine.run(at.epoch, batches[at.done : until], rates[at.done : until].tolist(), stop)
        elapsed = perf_counter() - started
        taken = got[np.isfinite(got)]
        first, at = at.done, replace(at, done=at.done + len(taken), seconds=at.seconds + elapsed)
        step = before + at.done
        if len(taken):
            all_losses.append(taken)
            yield StepsDone(at.epoch, step, taken, rates[first : at.done])
        if at.done < until:
            yield from _stopped(at, course, engine, failed=len(got) > len(taken))
            return None
        per_call = max(1, int(CALL_SECONDS * len(taken) / elapsed))
        if at.done == len(batches) or (at.epoch == 1 and at.done in FIRST_SNAPSHOTS):
            yield Snapshot(step, engine.kernels())
        if at.done < len(batches) and course.checkpoints.due(step, epoch_done=None):
            yield _checkpoint(at, course, engine)
    metrics = EpochMetrics(
        epoch=at.epoch,
        train_loss=float(np.dot(np.concatenate(all_losses, dtype=np.float64), [len(batch) for batch in batches]))
        / course.images,
        learning_rate=float(rates[-1]),
        train_seconds=at.seconds,
        images_per_second=course.images / at.seconds,
    )
    measured = _measure(metrics, course, engine, stop) if at.epoch in course.evaluated else metrics
    if measured is None:
        yield from _stopped(at, course, engine, failed=False)
    return measured


def _next_pause(at: Position, before: int, until: int, checkpoints: CheckpointSchedule) -> int:
    """The step at which the engine's next call ends: `until`, or an earlier snapshot or checkpoint."""
    snapshots = [step for step in FIRST_SNAPSHOTS if at.epoch == 1 and step > at.done]
    checkpoint = checkpoints.next_step(before + at.done)
    return min([until, *snapshots, *([] if checkpoint is None else [checkpoint - before])])


def _stopped(at: Position, course: _Course, engine: Engine, *, failed: bool) -> Iterator[Event]:
    step = course.step(at)
    if failed:
        error = NonFiniteError(at.epoch, step + 1, engine.failed_layer)
        yield RunStopped(step, engine.weights(), str(error), error)
    else:
        yield _checkpoint(at, course, engine)
        yield RunStopped(step, engine.weights(), INTERRUPTED)


def _measure(metrics: EpochMetrics, course: _Course, engine: Engine, stop: Callable[[], bool]) -> EpochMetrics | None:
    """The row with the losses and accuracies of all splits; None where it was interrupted."""

    def look() -> None:
        if stop():
            raise _Stopped

    splits, started = course.splits, perf_counter()
    train_split = splits.train if course.config.train_accuracy else None
    try:
        validation, test, train = (
            engine.evaluate(split, look) if split else _NoScore()
            for split in (splits.validation, splits.test, train_split)
        )
    except _Stopped:
        return None
    return replace(
        metrics,
        train_accuracy=train.accuracy,
        validation_loss=validation.loss,
        validation_accuracy=validation.accuracy,
        test_loss=test.loss,
        test_accuracy=test.accuracy,
        evaluation_seconds=perf_counter() - started,
    )


class _Stopped(Exception):  # noqa: N818 - not an error
    """Ends an evaluation."""


class _NoScore(NamedTuple):
    loss: None = None
    accuracy: None = None
