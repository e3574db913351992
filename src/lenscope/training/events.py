"""What happens while a network trains: all that `fit()` yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.nets.layers import Weights


@dataclass(frozen=True, eq=False)
class State:
    """All that an engine needs to go on as if it had never stopped.

    Attributes:
        weights: float32, named as in the network's state_dict.
        updates: how many the optimiser counts, for Adam's bias correction.
        first: float32, flat, all parameters in their own order: Adam's first moment or momentum's velocity; empty where
            the rule keeps none.
        second: likewise Adam's second moment.
    """

    weights: Weights
    updates: int
    first: NDArray[np.float32]
    second: NDArray[np.float32]


@dataclass(frozen=True)
class Position:
    """How far a run is, between two steps.

    Attributes:
        epoch: the epoch in hand, counted from 1; one more than the last where all are done.
        done: its steps so far.
        seconds: what they took.
        best: the lowest validation loss so far; None before there is one.
        best_epoch: the epoch that had it.
    """

    epoch: int = 1
    done: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_epoch: int = 0


@dataclass(frozen=True)
class EpochMetrics:
    """One row of metrics; a cell that does not apply is None.

    Losses are mean negative log-likelihoods an image in nats, accuracies fractions in [0, 1]. An autoencoder's losses
    are mean squared errors of a pixel, that of training with its penalties; it has no accuracies. Epoch 0 is the
    untrained network.
    """

    epoch: int
    train_loss: float | None = None
    train_accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    learning_rate: float | None = None
    train_seconds: float | None = None
    evaluation_seconds: float | None = None
    images_per_second: float | None = None

    @property
    def measured(self) -> tuple[str | None, float | None]:
        """The part that the accuracy to show is of, and it: test, else validation; None where there is neither."""
        if self.test_accuracy is not None:
            return "test", self.test_accuracy
        if self.validation_accuracy is not None:
            return "validation", self.validation_accuracy
        return None, None

    @property
    def reconstruction(self) -> tuple[str | None, float | None]:
        """Of an autoencoder, the part that the error to show is of, and it: test, else validation."""
        if self.test_loss is not None:
            return "test", self.test_loss
        return ("validation", self.validation_loss) if self.validation_loss is not None else (None, None)


@dataclass(frozen=True, eq=False)
class RunStarted:
    """Training is about to begin.

    Attributes:
        config: the settings.
        train_images: how many images each epoch learns from.
        validation_images: how many are held out.
        test_images: how many the accuracy is measured on.
        classes: the name of each class.
        channels: colour channels of an image.
        steps: updates of the whole run.
        steps_per_epoch: updates of an epoch.
        engine: what takes the updates.
        device: where.
        threads: on how many threads of the processor.
        weights: the weights to begin with, named as in the network's state_dict.
        step: how many of the steps are done already, where a run goes on.
        notes: what there is to say, such as of a run that goes on, one line per note.
        rows: its epochs so far.
        ranks: how many processes share each step, each with so many threads.
    """

    config: TrainConfig
    train_images: int
    validation_images: int
    test_images: int
    classes: tuple[str, ...]
    channels: int
    steps: int
    steps_per_epoch: int
    engine: str
    device: str
    threads: int
    weights: Weights
    step: int = 0
    notes: tuple[str, ...] = ()
    rows: tuple[EpochMetrics, ...] = ()
    ranks: int = 1


@dataclass(frozen=True, eq=False)
class StepsDone:
    """Some steps were taken: the last one's number, their losses, float32, and learning rates, float64, both (n,)."""

    epoch: int
    step: int
    losses: NDArray[np.float32]
    learning_rates: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The convolution kernels after a step; each float32, shape (out, in, height, width)."""

    step: int
    kernels: Weights


@dataclass(frozen=True)
class EpochDone:
    """An epoch ended, or the untrained network was measured (epoch 0)."""

    metrics: EpochMetrics


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All to go on from after a step; the losses of the epoch in hand are those that `StepsDone` told."""

    step: int
    position: Position
    state: State


@dataclass(frozen=True, eq=False)
class RunFinished:
    """The run reached its end; `why` tells of an early one."""

    step: int
    weights: Weights
    why: str | None = None


@dataclass(frozen=True, eq=False)
class RunStopped:
    """The run ended before its end: interrupted, or failed with an error; the weights are the last good ones."""

    step: int
    weights: Weights
    why: str
    error: Exception | None = None


Event = RunStarted | StepsDone | Snapshot | EpochDone | Checkpoint | RunFinished | RunStopped
