"""Telling classes apart: the negative log-likelihood of the labels, by autograd or the LeNet's own pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from lenscope.nets.lenet import LeNet
from lenscope.nets.lenet_pass import LeNetPass
from lenscope.training.device_steps import PART, add_gradients, dtype_of, scaled
from lenscope.training.objective import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lenscope.training.objective import Batch

EVALUATED = 100  # images at a time through the quick pass: the activations of more leave the cache


class Classification:
    """For networks that give log-probabilities, float of shape (N, classes)."""

    captured = True

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = network
        self._passes: dict[tuple[int, bool], LeNetPass] = {}  # by images, and whether with gradients

    def add_gradients(self, batch: Batch, share: float) -> float:
        """See `Objective.add_gradients`."""
        if not self._has_pass():
            return add_gradients(self._network, batch.images, batch.labels, share).item()
        quick = self._kept_pass(len(batch.images), gradients=True)
        quick.log_probabilities(batch.images)
        return quick.add_gradients(batch.labels, share)

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
        """Log-probabilities of images, a part at a time; each part may be overwritten by the next."""
        self._network.eval()
        quick, device = self._has_pass(), next(self._network.parameters()).device
        for part in torch.split(images, EVALUATED if quick else PART):
            if quick:
                yield self._kept_pass(len(part), gradients=False).log_probabilities(part)
            else:
                yield self._network(scaled(part.to(device), dtype_of(self._network)))

    def _has_pass(self) -> bool:
        """Whether there is a quicker way than autograd: for a LeNet on a CPU."""
        return type(self._network) is LeNet and self._network.fc3.bias.device.type == "cpu"

    def _kept_pass(self, count: int, *, gradients: bool) -> LeNetPass:
        """The pass for so many images, made where it is not there yet."""
        if (count, gradients) not in self._passes:
            self._passes[count, gradients] = LeNetPass(cast("LeNet", self._network), count, gradients=gradients)
        return self._passes[count, gradients]
