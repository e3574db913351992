"""The protocol between the training loop and its engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Weights
    from lenscope.training.events import State

    Batches = Sequence[NDArray[np.int64]]  # of training-set indices, each (n,)
    Losses = NDArray[np.float32]
    Stop = Callable[[], bool]


class Score(NamedTuple):
    """The mean negative log-likelihood per image in nats, and the accuracy as a fraction.

    For an autoencoder, the mean squared error per pixel, and no accuracy.
    """

    loss: float
    accuracy: float | None


class Engine(Protocol):
    """Trains one network on one training set.

    Attributes:
        name: such as `torch`.
        device: such as `cpu`.
        threads: its number of CPU threads.
        ranks: the number of processes that share each step.
        isa: the instruction set of its native code, such as `avx512`; None for other engines.
        gpu: the name of its GPU, with versions; None without.
        note: a note for the user on why this engine was chosen; empty for none.
        failed_layer: after a refused step, the first layer, output or gradient that was not finite.
    """

    name: str
    device: str
    threads: int
    ranks: int
    isa: str | None
    gpu: str | None
    note: str
    failed_layer: str

    def run(self, epoch: int, batches: Batches, learning_rates: Sequence[float], stop: Stop) -> Losses:
        """Take one step per batch.

        An interrupted step changes nothing. A step whose loss, gradient or new weights are not finite is refused: the
        weights become the last ones that gave a finite loss. Neither changes the network's buffers, such as a
        BatchNorm's running means.

        Args:
            epoch: counted from 1; with the seed it decides how images are distorted, where the config asks for it.
            batches: indices into the training set.
            learning_rates: one per batch.
            stop: whether to stop before the next step, or in the middle of a step.

        Returns:
            The losses, float32; fewer than batches where `stop` returned true, and NaN for a refused step, which is the
            last of the call.
        """
        ...

    def evaluate(self, dataset: Dataset, look: Callable[[], object] = lambda: None) -> Score:
        """Loss and accuracy over all images, each counted once.

        `look` is called several times a second; an exception that it raises ends the evaluation.
        """
        ...

    def weights(self) -> Weights:
        """A copy of the weights, float32, named as in the network's state_dict."""
        ...

    def kernels(self) -> Weights:
        """A copy of the convolution kernels, float32, each (out, in, height, width)."""
        ...

    def state(self) -> State:
        """A copy of everything that decides the next steps."""
        ...

    def numerics(self) -> dict[str, str]:
        """What its last bits depend on, other than versions, instruction set and the C library's functions."""
        ...

    def load(self, state: State) -> None:
        """Resume from a state; raises RunError for the state of another network or optimiser."""
        ...
