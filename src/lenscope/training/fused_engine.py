"""The fast engine: a LeNet on the CPU, in our own native code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from lenscope import native
from lenscope.environment import usable_processors
from lenscope.errors import RunError
from lenscope.nets.catalogue import convolutions, load_weights
from lenscope.nets.lenet import LeNet
from lenscope.training.engine import Score
from lenscope.training.events import State
from lenscope.training.nonfinite import UNKNOWN, first_broken_weight, first_non_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.native import _core
    from lenscope.training.events import Weights

PART = 10_000  # images at a time: with 1,000 classes 40 MB of log-probabilities
LOOK = 1_000  # images of a step that was refused, to look at again


class FusedEngine:
    """Takes updates of a `LeNet` in native code, many steps a call.

    The network stays an ordinary module: its parameters are read before each call and written after it.

    Args:
        network: its parameters are trained in place.
        train: images of 32×32, kept as bytes and scaled to [0, 1] in native code.
        config: optimiser, rates, threads, seed and distortions.

    Raises:
        UsageError: a network that the engine cannot take, an engine that is not built, or a wrong LENSCOPE_ISA.
    """

    name = "fused"
    device = "cpu"
    ranks = 1
    failed_layer = ""

    def __init__(self, network: LeNet, train: Dataset, config: TrainConfig) -> None:
        self.network = network
        self.threads = config.threads or usable_processors()
        self.isa: str | None = native.instruction_set()
        self._good = read_weights(network)
        self._images = np.ascontiguousarray(train.images)
        self._labels = train.labels.astype(np.int64)
        how = config.augment
        self._trainer: _core.Trainer = native.load().Trainer(
            self._images,
            self._labels,
            network.fc3.out_features,
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
        """Take one step a batch; see `Engine.run`."""
        indices = np.concatenate([np.empty(0, np.int64), *batches])
        ends = np.cumsum([len(batch) for batch in batches], dtype=np.int64)
        weights = read_weights(self.network)
        if batches and not np.isfinite(weights).all():
            return self._refuse_weights()
        try:
            losses = self._trainer.run(weights, indices, ends, np.array(learning_rates, np.float64), epoch, stop)
        finally:
            _write_weights(self.network, weights)
        taken = int(np.isfinite(losses).sum())
        if taken < len(losses):
            self.failed_layer = self._name_failure(batches[taken], [weights, self._trainer.refused()])
            _write_weights(self.network, weights)
        self._good = weights
        return losses

    def evaluate(self, dataset: Dataset, look: Callable[[], object] = lambda: None) -> Score:
        """Loss and accuracy over all images, each counted once; see `Engine.evaluate`."""
        loss, correct = 0.0, 0
        for log_probabilities, labels in _predictions(self.network, dataset, self.threads):
            look()
            loss -= float(np.take_along_axis(log_probabilities, labels[:, None], 1).sum(dtype=np.float64))
            correct += int((log_probabilities.argmax(1) == labels).sum())
        return Score(loss / len(dataset), correct / len(dataset))

    def weights(self) -> Weights:
        """A copy of the weights, named as in the network's state_dict."""
        return {name: tensor.detach().numpy().copy() for name, tensor in self.network.state_dict().items()}

    def kernels(self) -> Weights:
        """A copy of the convolution kernels, each (out, in, height, width)."""
        return {name: tensor.numpy().copy() for name, tensor in convolutions(self.network).items()}

    def state(self) -> State:
        """A copy of the weights and the optimiser's memory."""
        return State(self.weights(), *self._trainer.state())

    def load(self, state: State) -> None:
        """Go on from a state; raises RunError where it is another network's or optimiser's."""
        load_weights(self.network, state.weights)
        self._good = read_weights(self.network)
        try:
            self._trainer.set_state(state.updates, state.first, state.second)
        except ValueError as error:
            raise RunError(f"{error}; the run is broken") from None

    def _refuse_weights(self) -> NDArray[np.float32]:
        """Go back to what the last call left, where somebody else has put what is not finite into the weights."""
        self.failed_layer = first_broken_weight(self.network) or UNKNOWN
        _write_weights(self.network, self._good)
        return np.array([np.nan], np.float32)

    def _name_failure(self, batch: NDArray[np.int64], suspects: list[NDArray[np.float32]]) -> str:
        """What is not finite in a step on this batch with any of these weights, found by PyTorch."""
        images = torch.from_numpy(self._images[batch[:LOOK]]).float().mul_(1 / 255)
        labels = torch.from_numpy(self._labels[batch[:LOOK]])
        for weights in suspects:
            _write_weights(self.network, weights)
            F.nll_loss(self.network(images), labels).backward()  # type: ignore[no-untyped-call]
            name = first_non_finite(self.network, images)
            self.network.zero_grad()
            if name != UNKNOWN:
                return name
        return UNKNOWN


def obstacle(network: torch.nn.Module) -> str | None:
    """Why the fused engine cannot take a network, in one line; None where it can."""
    if type(network) is not LeNet:
        return f"trains a LeNet, got {type(network).__name__}; choose --engine torch"
    if network.conv1.in_channels > 3 or network.fc3.out_features > 1_000:
        return "takes images of 1 to 3 channels and 1 to 1,000 classes; choose --engine torch"
    weight = network.conv1.weight
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        return f"takes float32 weights on the CPU, got {weight.dtype} on {weight.device}; choose --engine torch"
    return native.reason()


def predict_log_probabilities(network: LeNet, dataset: Dataset, threads: int | None = None) -> NDArray[np.float32]:
    """What a LeNet says of each image: log-probabilities, float32, shape (N, classes)."""
    return np.concatenate([part for part, _ in _predictions(network, dataset, threads or usable_processors())])


def _predictions(
    network: LeNet, dataset: Dataset, threads: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Log-probabilities and labels, a part at a time."""
    weights, classes, isa = read_weights(network), network.fc3.out_features, native.instruction_set()
    for start in range(0, len(dataset), PART):
        rows = slice(start, start + PART)
        images = np.ascontiguousarray(dataset.images[rows])
        log_probabilities, _ = native.load().evaluate(images, weights, classes, threads, isa, activations=False)
        yield log_probabilities, dataset.labels[rows].astype(np.int64)


def read_weights(network: torch.nn.Module) -> NDArray[np.float32]:
    """A copy of all parameters one after another, float32, in their own order: as native code takes them."""
    return np.concatenate([parameter.detach().numpy().ravel() for parameter in network.parameters()])


def _write_weights(network: torch.nn.Module, weights: NDArray[np.float32]) -> None:
    """Set all parameters; by numpy, as PyTorch wakes its threads for it: 3.8 ms a call on a busy machine, not 0.4."""
    start = 0
    for parameter in network.parameters():
        values = weights[start : start + parameter.numel()]
        np.copyto(parameter.detach().numpy(), values.reshape(parameter.shape))
        start += parameter.numel()
