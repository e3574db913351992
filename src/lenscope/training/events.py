"""The events that `fit()` yields."""

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
    """Everything that an engine needs to resume as if it had never stopped.

    Attributes:
        weights: float32, named as in the network's state_dict.
        steps: the optimiser's count of steps, for Adam's bias correction.
        first: float32, flat, in the order of the parameters: Adam's first moment or momentum's velocity; empty for an
            optimiser without one.
        second: likewise Adam's second moment.
    """

    weights: Weights
    steps: int
    first: NDArray[np.float32]
    second: NDArray[np.float32]


@dataclass(frozen=True)
class Position:
    """The progress of a run, between two steps.

    Attributes:
        epoch: the current epoch, counted from 1; one more than the last after it.
        done: the steps of this epoch that were taken.
        seconds: their duration.
        best: the lowest validation loss so far; None before the first.
        best_epoch: the epoch of that loss.
    """

    epoch: int = 1
    done: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_epoch: int = 0


@dataclass(frozen=True)
class EpochMetrics:
    """One row of metrics; a value that does not apply is None.

    Losses are mean negative log-likelihoods per image in nats, accuracies fractions in [0, 1]. An autoencoder's losses
    are mean squared errors per pixel, the training loss including penalties; it has no accuracies. Epoch 0 is the
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
        """The split whose accuracy is shown, and that accuracy: test, else validation; None where there is neither."""
        if self.test_accuracy is not None:
            return "test", self.test_accuracy
        if self.validation_accuracy is not None:
            return "validation", self.validation_accuracy
        return None, None

    @property
    def reconstruction(self) -> tuple[str | None, float | None]:
        """For an autoencoder, the split whose error is shown, and that error: test, else validation."""
        if self.test_loss is not None:
            return "test", self.test_loss
        return ("validation", self.validation_loss) if self.validation_loss is not None else (None, None)


@dataclass(frozen=True, eq=False)
class RunStarted:
    """Training is about to begin.

    Attributes:
        config: the settings.
        train_images: the number of training images.
        validation_images: the number of images held out.
        test_images: the number of test images.
        classes: the name of each class.
        channels: colour channels of an image.
        steps: of the whole run.
        steps_per_epoch: of an epoch.
        engine: the engine's name.
        device: the engine's device.
        threads: the engine's CPU threads, per rank.
        weights: the initial weights, named as in the network's state_dict.
        step: the steps that were taken before, where a run resumes.
        notes: for the user, one line per note.
        rows: the epochs that were finished before, where a run resumes.
        ranks: the number of processes that share each step.
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
    """Some steps were taken: the last step's number, their losses, float32 (n,), and learning rates, float64 (n,)."""

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
    """Everything to resume from after a step, except the losses of the current epoch, which `StepsDone` has."""

    step: int
    position: Position
    state: State


@dataclass(frozen=True, eq=False)
class RunFinished:
    """The run is complete; `why` is the reason of an early stop."""

    step: int
    weights: Weights
    why: str | None = None


@dataclass(frozen=True, eq=False)
class RunStopped:
    """The run was interrupted or failed with an error; the weights are the last good ones."""

    step: int
    weights: Weights
    why: str
    error: Exception | None = None


Event = RunStarted | StepsDone | Snapshot | EpochDone | Checkpoint | RunFinished | RunStopped
