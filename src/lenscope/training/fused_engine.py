"""The fast engine: a LeNet on the CPU, in our own native code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lenscope import native
from lenscope.environment import usable_processors
from lenscope.nets.layers import flatten
from lenscope.training.array_engine import ArrayEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.native import _core
    from lenscope.nets.layers import Network, Weights
    from lenscope.training.array_engine import Memory


class FusedEngine(ArrayEngine):
    """Trains a LeNet in native code, many steps per call; the arguments are `ArrayEngine`'s.

    Raises:
        UsageError: an engine that is not built, or a wrong LENSCOPE_ISA.
    """

    name = "fused"

    def __init__(self, network: Network, weights: Weights, train: Dataset, config: TrainConfig) -> None:
        super().__init__(network, weights, train, config)
        self.isa = native.instruction_set()
        how = config.augment
        self._trainer: _core.Trainer = native.load().Trainer(
            self._images,
            self._labels,
            network.classes,
            optimizer=config.optimizer,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            threads=self.threads,
            isa=self.isa,
            seed=config.seed,
            augmentation=(how.shift, how.rotation, how.scale, how.shear, how.elastic, how.smoothness),
        )

    def run(
        self,
        epoch: int,
        batches: Sequence[NDArray[np.int64]],
        learning_rates: Sequence[float],
        stop: Callable[[], bool],
    ) -> NDArray[np.float32]:
        """Take one step per batch; see `Engine.run`."""
        indices = np.concatenate([np.empty(0, np.int64), *batches])
        ends = np.cumsum([len(batch) for batch in batches], dtype=np.int64)
        losses = self._trainer.run(self._flat, indices, ends, np.array(learning_rates, np.float64), epoch, stop)
        taken = int(np.isfinite(losses).sum())
        if taken < len(losses):
            self.failed_layer = self._name_failure(batches[taken], self._trainer.refused())
        return losses

    def numerics(self) -> dict[str, str]:
        """What its last bits depend on beside the instruction set and the packages' versions: the compiler."""
        return {"compiler": native.load().compiler}

    def _log_probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return log_probabilities(self._network, self._weights, images, self.threads)

    def _memory(self) -> Memory:
        return self._trainer.state()

    def _remember(self, updates: int, first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
        self._trainer.set_state(updates, first, second)


def unsupported_reason(network: Network) -> str | None:
    """Why the fused engine cannot train a network, in one line; None where it can."""
    if network.name != "lenet":
        return f"trains a LeNet, got {network.title}"
    if network.channels > 3 or network.classes > 1_000:
        return "takes images of 1 to 3 channels and 1 to 1,000 classes"
    return native.reason()


def log_probabilities(
    network: Network, weights: Weights, images: NDArray[np.uint8], threads: int | None = None
) -> NDArray[np.float32]:
    """The log-probabilities that a LeNet gives for each image; float32, shape (N, classes)."""
    flat, threads, part = flatten(network, weights), threads or usable_processors(), FusedEngine.evaluated
    parts = (np.ascontiguousarray(images[start : start + part]) for start in range(0, len(images), part))
    evaluate, isa = native.load().evaluate, native.instruction_set()
    return np.concatenate([evaluate(part, flat, network.classes, threads, isa) for part in parts])
