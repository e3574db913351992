"""Classification: the negative log-likelihood of the labels, by autograd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from lenscope.pytorch.objective import MICRO_BATCH, SummedLoss, dtype_of, scaled

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.pytorch.objective import Batch


class Classification:
    """For networks that give log-probabilities, float of shape (N, classes)."""

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = network

    def add_gradients(self, batch: Batch, share: float) -> float:
        """Add the gradients of the images' summed loss times `share`; returns the summed loss times `share`."""
        return nll_gradients(self._network, batch.images, batch.labels, share).item()

    @torch.no_grad()
    def sum_losses(self, images: torch.Tensor, labels: torch.Tensor, look: Callable[[], object]) -> SummedLoss:
        """The summed negative log-likelihood in nats, and how many images are classified correctly.

        Args:
            images: uint8, shape (N, C, H, W), N ≥ 0.
            labels: int64, shape (N,).
            look: called after each micro-batch.
        """
        if not len(images):
            return SummedLoss(0.0, 0)
        self._network.eval()
        device, dtype = labels.device, dtype_of(self._network)
        losses, correct = [], []
        for some, own in zip(torch.split(images, MICRO_BATCH), torch.split(labels, MICRO_BATCH), strict=True):
            log_probabilities = self._network(scaled(some.to(device), dtype))
            look()
            losses.append(-log_probabilities.gather(1, own[:, None]))
            correct.append(log_probabilities.argmax(1) == own)
        loss = torch.cat(losses).cpu().double().sum()  # not every GPU has float64
        return SummedLoss(float(loss), int(torch.cat(correct).sum()))

    def frozen_parameters(self, _epoch: int) -> tuple[torch.nn.Parameter, ...]:
        """None: every epoch trains all parameters."""
        return ()


def nll_gradients(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, share: float) -> torch.Tensor:
    """Add the gradients of the images' summed loss times `share`; returns that loss times `share`, shape ()."""
    loss = share * F.nll_loss(network(scaled(images, dtype_of(network))), labels, reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()
