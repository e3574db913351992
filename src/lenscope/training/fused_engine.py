"""The fast engine: a LeNet on the CPU, in native code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lenscope import native
from lenscope.environment import usable_processors
from lenscope.nets.layers import flatten
from lenscope.training.array_engine import ArrayEngine
from lenscope.training.distortion import amounts
from lenscope.training.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.native import _core
    from lenscope.nets.layers import Network, Weights
    from lenscope.training.array_engine import Memory
    from lenscope.training.engine import Batches, Losses, Stop


class FusedEngine(ArrayEngine):
    """Trains a LeNet in native code, many steps per call; arguments as for `ArrayEngine`.

    Raises:
        UsageError: the engine is not built, or LENSCOPE_ISA is not supported.
    """

    name = "fused"

    def __init__(self, network: Network, weights: Weights, train: Dataset, config: TrainConfig) -> None:
        super().__init__(network, weights, train, config)
        self.isa = native.instruction_set()
        self._trainer: _core.Trainer = native.load().Trainer(
            self._images,
            self._labels,
            network.classes,
            optimizer=OPTIMIZERS[config.optimizer].native,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            threads=self.threads,
            isa=self.isa,
            seed=config.seed,
            augmentation=amounts(config.augment),
        )

    def run(self, epoch: int, batches: Batches, learning_rates: Sequence[float], stop: Stop) -> Losses:
        """Take one step per batch; see `Engine.run`."""
        indices = np.concatenate([np.empty(0, np.int64), *batches])
        ends = np.cumsum([len(batch) for batch in batches], dtype=np.int64)
        losses = self._trainer.run(self._flat, indices, ends, np.array(learning_rates, np.float64), epoch, stop)
        taken = int(np.isfinite(losses).sum())
        if taken < len(losses):
            self.failed_layer = self._name_failure(batches[taken], self._trainer.refused())
        return losses

    def numerics(self) -> dict[str, str]:
        """The compiler, which decides the last bits besides the instruction set and the packages' versions."""
        return {"compiler": native.load().compiler}

    def _log_probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return log_probabilities(self._network, self._weights, images, self.threads)

    def _memory(self) -> Memory:
        return self._trainer.state()

    def _remember(self, steps: int, first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
        self._trainer.set_state(steps, first, second)


def unsupported_reason(network: Network) -> str | None:
    """Why the fused engine cannot train a network, in one line; None if it can."""
    if network.name != "lenet":
        return f"trains only a LeNet, got {network.title}"
    if network.channels > 3 or network.classes > 1_000:
        return "takes images of 1 to 3 channels and 1 to 1,000 classes"
    return native.reason()


def log_probabilities(
    network: Network, weights: Weights, images: NDArray[np.uint8], threads: int | None = None
) -> NDArray[np.float32]:
    """A LeNet's log-probabilities for each image; float32, shape (N, classes)."""
    flat, threads, chunk = flatten(network, weights), threads or usable_processors(), FusedEngine.evaluated
    chunks = (np.ascontiguousarray(images[start : start + chunk]) for start in range(0, len(images), chunk))
    evaluate, isa = native.load().evaluate, native.instruction_set()
    return np.concatenate([evaluate(some, flat, network.classes, threads, isa) for some in chunks])
