"""What a network is trained for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from lenscope.training.engine import Score


class Batch(NamedTuple):
    """Some training images together.

    Attributes:
        images: uint8, shape (n, C, H, W), distorted where the config asks.
        labels: int64, shape (n,).
        first: the index of the first one in the training set.
        epoch: counted from 1.
    """

    images: torch.Tensor
    labels: torch.Tensor
    first: int
    epoch: int


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

    def score(self, images: torch.Tensor, labels: torch.Tensor, look: Callable[[], object]) -> Score:
        """Loss and accuracy over images, uint8 (N, C, H, W); `look` is called after each part of them."""
        ...

    def fixed(self, epoch: int) -> Sequence[torch.nn.Parameter]:
        """The parameters that stay as they are in an epoch."""
        ...
