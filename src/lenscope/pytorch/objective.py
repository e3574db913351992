"""What a network is trained for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from lenscope.training.engine import Score

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch


class Tally(NamedTuple):
    """The summed loss of some images, and how many are right; None where there is no right or wrong."""

    loss: float
    right: int | None

    def score(self, images: int) -> Score:
        """The mean of so many images."""
        return Score(self.loss / images, None if self.right is None else self.right / images)


class Batch(NamedTuple):
    """Some training images together, or those of them that are one rank's.

    Attributes:
        images: uint8, shape (n, C, H, W), distorted where the config asks.
        labels: int64, shape (n,).
        first: the index in the training set of the first one of all ranks' images.
        epoch: counted from 1.
        before: how many images of other ranks come before these.
        whole: how many images there are on all ranks; None for these alone.
    """

    images: torch.Tensor
    labels: torch.Tensor
    first: int
    epoch: int
    before: int = 0
    whole: int | None = None


class Objective(Protocol):
    """The loss of a network, its gradients, and how well the network does.

    Attributes:
        captured: whether its steps may stay on the device, where that is quicker: the loss is `add_gradients` of
            `device_steps`, and nothing is fixed.
    """

    captured: bool

    def add_gradients(self, batch: Batch, share: float) -> float:
        """Add the gradients of the images' summed loss times `share`; returns that share of the loss."""
        ...

    def tally(self, images: torch.Tensor, labels: torch.Tensor, look: Callable[[], object]) -> Tally:
        """Loss and hits over images, uint8 (N, C, H, W), that may be none; `look` is called after each part of them."""
        ...

    def fixed(self, epoch: int) -> Sequence[torch.nn.Parameter]:
        """The parameters that stay as they are in an epoch."""
        ...
