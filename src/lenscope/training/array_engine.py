"""The common part of the engines without PyTorch: weights in one flat array, and the training set as bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from lenscope.environment import usable_processors
from lenscope.errors import RunError
from lenscope.nets.layers import flatten, views
from lenscope.training.engine import Score
from lenscope.training.events import State
from lenscope.training.nonfinite import UNKNOWN, first_non_finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Network, Weights

    Memory = tuple[int, NDArray[np.float32], NDArray[np.float32]]

EXAMINED = 1_000  # images of a refused step


class ArrayEngine(ABC):
    """An engine on the CPU; subclasses add the steps, the predictions and the optimiser's memory.

    Args:
        network: a LeNet; the numpy engine trains any network whose gradients numpy computes.
        weights: its initial weights; copied.
        train: images at the network's size, kept as bytes.
        config: optimiser, rates, threads, seed and distortions.
    """

    name: str
    device = "cpu"
    gpu: str | None = None
    ranks = 1
    isa: str | None = None
    note = ""
    failed_layer = ""
    evaluated = 10_000  # images at a time: with 1,000 classes 40 MB of log-probabilities

    def __init__(self, network: Network, weights: Weights, train: Dataset, config: TrainConfig) -> None:
        self.threads = config.threads or usable_processors()
        self._network, self._config = network, config
        self._flat = flatten(network, weights)
        self._weights = views(network, self._flat)  # by name
        self._images = np.ascontiguousarray(train.images)
        self._labels = train.labels.astype(np.int64)

    def evaluate(self, dataset: Dataset, look: Callable[[], object] = lambda: None) -> Score:
        """Loss and accuracy over all images, each counted once; see `Engine.evaluate`."""
        loss, correct = 0.0, 0
        for start in range(0, len(dataset), self.evaluated):
            rows = slice(start, start + self.evaluated)
            log_probabilities, labels = self._log_probabilities(dataset.images[rows]), dataset.labels[rows]
            look()
            loss -= float(np.take_along_axis(log_probabilities, labels[:, None], 1).sum(dtype=np.float64))
            correct += int((log_probabilities.argmax(1) == labels).sum())
        return Score(loss / len(dataset), correct / len(dataset))

    def weights(self) -> Weights:
        """A copy of the weights, by the names of the network's parameters."""
        return {name: array.copy() for name, array in self._weights.items()}

    def kernels(self) -> Weights:
        """A copy of the convolution kernels, each (out, in, height, width)."""
        return {name: array.copy() for name, array in self._network.convolutions(self._weights).items()}

    def state(self) -> State:
        """A copy of the weights and the optimiser's memory."""
        return State(self.weights(), *self._memory())

    def load(self, state: State) -> None:
        """Resume from a state; raises RunError for the state of another network or optimiser."""
        self._flat[:] = flatten(self._network, self._network.check(state.weights))
        try:
            self._remember(state.steps, state.first, state.second)
        except ValueError as error:
            raise RunError(f"{error}; the run is broken") from None

    def _name_failure(self, batch: NDArray[np.int64], refused: NDArray[np.float32]) -> str:
        """The first value of a step on this batch that is not finite, with the weights before it or after it."""
        images, labels = self._images[batch[:EXAMINED]], self._labels[batch[:EXAMINED]]
        both = (views(self._network, flat) for flat in (self._flat, refused))
        names = (first_non_finite(self._network, weights, images, labels) for weights in both)
        return next((name for name in names if name != UNKNOWN), UNKNOWN)

    @abstractmethod
    def _log_probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The log-probabilities of images, (n, classes)."""
        ...

    @abstractmethod
    def _memory(self) -> Memory:
        """A copy of the optimiser's memory: steps, first and second moments, as in `State`."""
        ...

    @abstractmethod
    def _remember(self, steps: int, first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
        """Restore an optimiser's memory; raises ValueError for the sizes of another network or optimiser."""
        ...
