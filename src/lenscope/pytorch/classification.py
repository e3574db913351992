"""Telling classes apart: the negative log-likelihood of the labels, by autograd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lenscope.pytorch.device_steps import PART, add_gradients, dtype_of, scaled
from lenscope.pytorch.objective import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lenscope.pytorch.objective import Batch


class Classification:
    """For networks that give log-probabilities, float of shape (N, classes)."""

    captured = True

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = network

    def add_gradients(self, batch: Batch, share: float) -> float:
        """See `Objective.add_gradients`."""
        return add_gradients(self._network, batch.images, batch.labels, share).item()

    def tally(self, images: torch.Tensor, labels: torch.Tensor, look: Callable[[], object]) -> Tally:
        """The summed negative log-likelihood in nats, and how many are right."""
        if not len(images):
            return Tally(0.0, 0)
        losses, right, done = [], [], 0
        for log_probabilities in self.log_probabilities(images):
            look()
            own = labels[done : done + len(log_probabilities)]
            losses.append(-log_probabilities.gather(1, own[:, None]))
            right.append(log_probabilities.argmax(1) == own)
            done += len(own)
        loss = torch.cat(losses).cpu().double().sum()  # not every GPU has float64
        return Tally(float(loss), int(torch.cat(right).sum()))

    def fixed(self, _epoch: int) -> tuple[torch.nn.Parameter, ...]:
        """None."""
        return ()

    @torch.no_grad()
    def log_probabilities(self, images: torch.Tensor) -> Iterator[torch.Tensor]:
        """Log-probabilities of images, a part at a time."""
        self._network.eval()
        device = next(self._network.parameters()).device
        for part in torch.split(images, PART):
            yield self._network(scaled(part.to(device), dtype_of(self._network)))
