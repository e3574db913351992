"""What every contestant does, and what it gives back to be timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lenscope.nets.layers import Network
from lenscope.nets.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.data.dataset import Dataset

RATE = 1e-4  # the lecture's
EPOCH, TEST = 60_000, 10_000  # images; what is timed on fewer is told for so many


@dataclass(frozen=True, eq=False)
class Task:
    """Train the lecture's LeNet with Adam at 1e-4.

    Attributes:
        train: the images of an epoch, 28×28 as they come; most contestants resize them to 32×32 beforehand.
        test: the images to evaluate on.
        batch_size: images an update.
        threads: threads of the processor.
    """

    train: Dataset
    test: Dataset
    batch_size: int
    threads: int


@dataclass(frozen=True, eq=False)
class Contestant:
    """One that is ready to do a task, once each time it is called.

    Attributes:
        train: an epoch; returns the mean loss of its steps, in nats.
        evaluate: once over the test images; returns their mean loss. None where that is not compared.
        device: where it runs.
        note: which of several ways it takes.
        close: ends what it started.
    """

    train: Callable[[], float]
    evaluate: Callable[[], float] | None = None
    device: str = "cpu"
    note: str = ""
    close: Callable[[], None] = lambda: None


def multiply_adds() -> tuple[int, int]:
    """Those of an image in training and in evaluation, where every layer computes all of its output, as PyTorch does.

    Training: the outputs, the gradients of the weights, and of the inputs of all layers but the first.
    """
    layers = [layer.multiply_adds for layer in summarise(Network("lenet"), (1, 32, 32)).layers if layer.multiply_adds]
    return 3 * sum(layers) - layers[0], sum(layers)
