"""What the objectives share: the images of a step, and the summed loss of an evaluation."""

from __future__ import annotations

from typing import NamedTuple

import torch

from lenscope.training.engine import Score

MICRO_BATCH = 1_000  # images at a time through the network: 60 MB of activations for a LeNet


class SummedLoss(NamedTuple):
    """The summed loss of some images, and how many are classified correctly; None for an autoencoder."""

    loss: float
    correct: int | None

    def mean(self, images: int) -> Score:
        """The mean over this many images."""
        return Score(self.loss / images, None if self.correct is None else self.correct / images)


class Batch(NamedTuple):
    """Training images of one step, or one rank's share of them.

    Attributes:
        images: uint8, shape (n, C, H, W), distorted where the config asks.
        labels: int64, shape (n,).
        first: the training-set index of the first image on the first rank.
        epoch: counted from 1.
        before: how many images are on the ranks before this one.
        total: how many images there are on all ranks; 0 for these alone.
    """

    images: torch.Tensor
    labels: torch.Tensor
    first: int
    epoch: int
    before: int = 0
    total: int = 0


def scaled(images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Bytes as floats in [0, 1]."""
    return images.to(dtype).mul_(1 / 255)


def dtype_of(network: torch.nn.Module) -> torch.dtype:
    """The type that a network computes in; float32 for ours."""
    return next(network.parameters()).dtype
