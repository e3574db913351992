"""The plain engine: a LeNet in numpy, wherever numpy runs."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.augment import augmented
from lenscope.environment import processor_model
from lenscope.nets import blas
from lenscope.nets.layers import flatten
from lenscope.nets.numpy_pass import gradients, log_probabilities
from lenscope.training.array_engine import ArrayEngine
from lenscope.training.update_rules import no_moments, updated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Network, Weights
    from lenscope.training.array_engine import Memory

PART = 50  # images of a batch at a time: their maps stay in the cache of one processor


class NumpyEngine(ArrayEngine):
    """Trains a LeNet in numpy. Each thread takes parts of a batch; their number changes no result.

    An epoch of MNIST takes 4.2 s on one processor and 3.2 s on two (AMD EPYC with AVX-512, 2026-11). The arguments
    are `ArrayEngine`'s.
    """

    name = "numpy"
    evaluated = 1_000  # images at a time

    def __init__(self, network: Network, weights: Weights, train: Dataset, config: TrainConfig) -> None:
        super().__init__(network, weights, train, config)
        self._updates = 0
        self._moments = no_moments(config, self._flat.size)
        self._before_update = self._flat.copy()

    @np.errstate(all="ignore")  # what is not finite shows in the numbers
    def run(
        self,
        epoch: int,
        batches: Sequence[NDArray[np.int64]],
        learning_rates: Sequence[float],
        stop: Callable[[], bool],
    ) -> NDArray[np.float32]:
        """Take one step per batch; see `Engine.run`."""
        losses: list[float] = []
        with ThreadPoolExecutor(self.threads) as pool, blas.one_thread():
            for batch, rate in zip(batches, learning_rates, strict=True):
                found = self._gradient(epoch, batch, stop, pool)
                if found is None:
                    break
                losses.append(self._update(batch, rate, *found))
                if math.isnan(losses[-1]):
                    break
        return np.array(losses, np.float32)

    def numerics(self) -> dict[str, str]:
        """What its last bits depend on beside the packages' versions: how the BLAS multiplies on this processor."""
        return {"processor model": processor_model(), "BLAS": blas.describe()}

    def _gradient(
        self, epoch: int, batch: NDArray[np.int64], stop: Callable[[], bool], pool: ThreadPoolExecutor
    ) -> tuple[float, NDArray[np.float32]] | None:
        """The mean loss of a batch and its gradient, (parameters,); None where it was interrupted."""
        parts = np.array_split(batch, -(-len(batch) // PART))
        share = partial(self._share, epoch, len(batch))
        loss, gradient = 0.0, np.zeros_like(self._flat)
        for at in range(0, len(parts), self.threads):
            if stop():
                return None
            for part_loss, part_gradient in pool.map(share, parts[at : at + self.threads]):
                loss += part_loss
                gradient += part_gradient
        return loss, gradient

    def _share(self, epoch: int, count: int, part: NDArray[np.int64]) -> tuple[float, NDArray[np.float32]]:
        """What some images add to the mean loss of a batch of `count`, and to its gradient."""
        images, config = self._images[part], self._config
        if config.augment.distorts:
            images = augmented(images, part, config.augment, config.seed, epoch)
        loss, found = gradients(self._network, self._weights, images, self._labels[part])
        share = len(part) / count
        return share * loss, share * flatten(self._network, found)

    def _update(self, batch: NDArray[np.int64], rate: float, loss: float, gradient: NDArray[np.float32]) -> float:
        """Take an update, or refuse it; its loss, NaN where it was refused."""
        weights, *moments = updated(self._config, self._updates + 1, rate, self._flat, self._moments, gradient)
        if not math.isfinite(loss):  # the update before led here
            weights, self._flat[:] = self._flat.copy(), self._before_update
        elif np.isfinite(gradient @ gradient + weights @ weights):
            self._before_update, self._flat[:] = self._flat.copy(), weights
            self._updates, self._moments = self._updates + 1, (moments[0], moments[1])
            return loss
        self.failed_layer = self._name_failure(batch, weights)
        return math.nan

    def _log_probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return log_probabilities(self._network, self._weights, images)

    def _memory(self) -> Memory:
        first, second = self._moments
        return self._updates, first.copy(), second.copy()

    def _remember(self, updates: int, first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
        if [values.shape for values in (first, second)] != [values.shape for values in self._moments]:
            raise ValueError("optimiser state: its sizes are not this network's and optimiser's")
        self._updates, self._moments, self._before_update = updates, (first.copy(), second.copy()), self._flat.copy()
