"""What the training loop asks of whatever takes the updates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Weights
    from lenscope.training.events import State


class Score(NamedTuple):
    """Mean negative log-likelihood an image in nats, and the fraction that is right.

    Of an autoencoder the mean squared error of a pixel, and no accuracy.
    """

    loss: float
    accuracy: float | None


class Engine(Protocol):
    """Takes updates of one network on one training set.

    Attributes:
        name: such as `torch`.
        device: where it runs, such as `cpu`.
        threads: how many threads of the processor it uses.
        ranks: how many processes share each of its steps.
        isa: the instruction set of its native code, such as `avx512`; None where it has none of its own.
        gpu: the name of the GPU that it uses, with versions; None without.
        note: what the user should know of the choice of this engine; empty for nothing.
        failed_layer: after a step that was refused, the first layer, output or gradient that was not finite in it.
    """

    name: str
    device: str
    threads: int
    ranks: int
    isa: str | None
    gpu: str | None
    note: str
    failed_layer: str

    def run(
        self,
        epoch: int,
        batches: Sequence[NDArray[np.int64]],
        learning_rates: Sequence[float],
        stop: Callable[[], bool],
    ) -> NDArray[np.float32]:
        """Take one step a batch of training-set indices and return the steps' losses.

        The epoch, counted from 1, decides with the seed how each image is distorted, where the config asks for it.
        Where `stop()` turns true, fewer losses come back: a step that was interrupted is as if it had not begun.
        A step whose loss, gradient or new weights are not finite is not taken: its loss comes back as NaN, the last of
        the call, and the weights are the last that gave a finite loss. Neither changes the network's buffers, such as a
        BatchNorm's running means.
        """
        ...

    def evaluate(self, dataset: Dataset, look: Callable[[], object] = lambda: None) -> Score:
        """Loss and accuracy over all images, each counted once.

        `look` is called after each part of them, several times a second; what it raises comes through.
        """
        ...

    def weights(self) -> Weights:
        """A copy of the weights, float32, named as in the network's state_dict."""
        ...

    def kernels(self) -> Weights:
        """A copy of the convolution kernels, float32, each (out, in, height, width)."""
        ...

    def state(self) -> State:
        """A copy of all that decides what the next steps do."""
        ...

    def numerics(self) -> dict[str, str]:
        """What its last bits depend on beside versions, instruction set and the C library's functions."""
        ...

    def load(self, state: State) -> None:
        """Go on from a state of the same network and optimiser; raises RunError where it is another's."""
        ...
