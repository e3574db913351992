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
from lenscope.training.optimizers import no_moments, updated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Network, Weights
    from lenscope.training.array_engine import Memory
    from lenscope.training.engine import Batches, Losses, Stop

MICRO_BATCH = 50  # images at a time: their maps stay in the cache of one processor


class NumpyEngine(ArrayEngine):
    """Trains a LeNet in numpy. Threads share the micro-batches of a batch; their number changes no result.

    An epoch of MNIST takes 4.2 s on one processor and 3.2 s on two (AMD EPYC with AVX-512, 2026-11). Arguments as for
    `ArrayEngine`.
    """

    name = "numpy"
    evaluated = 1_000  # images at a time

    def __init__(self, network: Network, weights: Weights, train: Dataset, config: TrainConfig) -> None:
        super().__init__(network, weights, train, config)
        self._steps = 0
        self._moments = no_moments(config, self._flat.size)
        self._before_step = self._flat.copy()

    @np.errstate(all="ignore")  # values that are not finite stay visible in the result
    def run(self, epoch: int, batches: Batches, learning_rates: Sequence[float], stop: Stop) -> Losses:
        """Take one step per batch; see `Engine.run`."""
        losses: list[float] = []
        with ThreadPoolExecutor(self.threads) as pool, blas.one_thread():
            for batch, rate in zip(batches, learning_rates, strict=True):
                found = self._gradient(epoch, batch, stop, pool)
                if found is None:
                    break
                losses.append(self._step(batch, rate, *found))
                if math.isnan(losses[-1]):
                    break
        return np.array(losses, np.float32)

    def numerics(self) -> dict[str, str]:
        """The BLAS's code for this processor, which decides the last bits besides the packages' versions."""
        return {"processor model": processor_model(), "BLAS": blas.describe()}

    def _gradient(
        self, epoch: int, batch: NDArray[np.int64], stop: Stop, pool: ThreadPoolExecutor
    ) -> tuple[float, NDArray[np.float32]] | None:
        """The mean loss of a batch and its gradient, (parameters,); None where it was interrupted."""
        micro_batches = np.array_split(batch, -(-len(batch) // MICRO_BATCH))
        share = partial(self._share, epoch, len(batch))
        loss, gradient = 0.0, np.zeros_like(self._flat)
        for at in range(0, len(micro_batches), self.threads):
            if stop():
                return None
            for own_loss, own_gradient in pool.map(share, micro_batches[at : at + self.threads]):
                loss += own_loss
                gradient += own_gradient
        return loss, gradient

    def _share(self, epoch: int, count: int, indices: NDArray[np.int64]) -> tuple[float, NDArray[np.float32]]:
        """The share of some images in the mean loss of a batch of `count`, and in its gradient."""
        images, config = self._images[indices], self._config
        if config.augment.distorts:
            images = augmented(images, indices, config.augment, config.seed, epoch)
        loss, found = gradients(self._network, self._weights, images, self._labels[indices])
        share = len(indices) / count
        return share * loss, share * flatten(self._network, found)

    def _step(self, batch: NDArray[np.int64], rate: float, loss: float, gradient: NDArray[np.float32]) -> float:
        """Take a step, or refuse it; returns its loss, NaN where it was refused."""
        weights, *moments = updated(self._config, self._steps + 1, rate, self._flat, self._moments, gradient)
        if not math.isfinite(loss):  # the previous step caused it
            weights, self._flat[:] = self._flat.copy(), self._before_step
        elif np.isfinite(gradient @ gradient + weights @ weights):
            self._before_step, self._flat[:] = self._flat.copy(), weights
            self._steps, self._moments = self._steps + 1, (moments[0], moments[1])
            return loss
        self.failed_layer = self._name_failure(batch, weights)
        return math.nan

    def _log_probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return log_probabilities(self._network, self._weights, images)

    def _memory(self) -> Memory:
        first, second = self._moments
        return self._steps, first.copy(), second.copy()

    def _remember(self, steps: int, first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
        if [values.shape for values in (first, second)] != [values.shape for values in self._moments]:
            raise ValueError("optimiser state: its sizes are not this network's and optimiser's")
        self._steps, self._moments, self._before_step = steps, (first.copy(), second.copy()), self._flat.copy()
