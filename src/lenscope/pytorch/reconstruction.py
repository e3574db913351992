"""Giving back what was given: the squared error of an autoencoder, with noise on its input and penalties on its code.

The loss of an image is the mean squared error of its values, pixels from 0 to 1 (or, in a later stage of a stack, the
code of the layer below), and what the settings add to it:

    kl · mean over units of KL(target ‖ ρ),    KL = target·ln(target/ρ) + (1 − target)·ln((1 − target)/(1 − ρ))
    l1 · mean of the code

ρ is a unit's mean activity over the batch. Source: Ng, "Sparse autoencoder" (lecture notes CS294A, Stanford 2011,
section 3). Where we differ: his codes are sigmoids, ours are ReLUs, so that the activity is tanh of the code, from 0,
which is silent, to 1; ρ is that of a batch (of a thousand images at most) and not of the whole set; a unit of a
convolution is a map, its activity the mean over places, too; and the divergence is a mean over units and not their sum,
the error a mean over pixels and not half their sum, so that weights do not depend on sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from lenscope.pytorch.corruption import corrupted
from lenscope.pytorch.device_steps import PART, dtype_of, scaled
from lenscope.pytorch.nets.module import AutoencoderModule
from lenscope.pytorch.objective import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from lenscope.config import Autoencoding, TrainConfig
    from lenscope.pytorch.objective import Batch

LEAST = 1e-6  # of an activity, and of what it lacks to 1: the divergence of a dead unit is finite


class Reconstruction:
    """For autoencoders."""

    captured = False

    def __init__(self, network: AutoencoderModule, config: TrainConfig) -> None:
        self._network, self._config = network, config

    def add_gradients(self, batch: Batch, share: float) -> float:
        """See `Objective.add_gradients`."""
        loss = share * self.losses(batch).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def losses(self, batch: Batch) -> torch.Tensor:
        """The loss of each image, (n,)."""
        stage, config = stage_of(self._network, self._config, batch.epoch), self._config
        with torch.no_grad():
            given = self._network.given(scaled(batch.images, dtype_of(self._network)), stage)
        code = self._network.encode(self._corrupted(given, batch), stage)
        errors = (self._network.decode(code, stage) - given).square().flatten(1).mean(1)
        return errors + penalty(code, config.autoencode)

    def tally(self, images: torch.Tensor, _labels: torch.Tensor, look: Callable[[], object]) -> Tally:
        """The mean squared error of a pixel, summed over clean images; no hits."""
        if not len(images):
            return Tally(0.0, None)
        errors = []
        for part in squared_errors(self._network, images):
            look()
            errors.append(part)
        return Tally(float(torch.cat(errors).cpu().double().sum()), None)

    def _corrupted(self, values: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Values with the noise that the settings ask for, which does not depend on how many ranks share a batch."""
        config = self._config
        others = (batch.whole or len(values)) - len(values)
        if not others or not config.autoencode.corrupts:
            return corrupted(values, config.autoencode, config.seed, batch.epoch, batch.first)
        rows = slice(batch.before, batch.before + len(values))
        everything = values.new_zeros(len(values) + others, *values.shape[1:])
        everything[rows] = values
        return corrupted(everything, config.autoencode, config.seed, batch.epoch, batch.first)[rows]

    def fixed(self, epoch: int) -> list[torch.nn.Parameter]:
        """Those of the layers that another stage trains."""
        learners = self._network.learners(stage_of(self._network, self._config, epoch))
        learning = {parameter for layer in learners for parameter in layer.parameters()}
        return [parameter for parameter in self._network.parameters() if parameter not in learning]


def stage_of(network: AutoencoderModule, config: TrainConfig, epoch: int) -> int:
    """Which stage an epoch belongs to, from 0; each has its share of the epochs, the first the larger."""
    return (epoch - 1) * network.stages // config.epochs


def penalty(code: torch.Tensor, how: Autoencoding) -> torch.Tensor | float:
    """What the code of a batch, (n, units, …), adds to the loss of each of its images."""
    total: torch.Tensor | float = 0.0
    if how.l1:
        total = total + how.l1 * code.abs().mean()
    if how.kl:
        activity = torch.tanh(code).transpose(0, 1).flatten(1).mean(1).clamp(LEAST, 1 - LEAST)
        wanted = how.target
        divergence = wanted * torch.log(wanted / activity) + (1 - wanted) * torch.log((1 - wanted) / (1 - activity))
        total = total + how.kl * divergence.mean()
    return total


@torch.no_grad()
def squared_errors(network: torch.nn.Module, images: torch.Tensor) -> Iterator[torch.Tensor]:
    """The mean squared error per pixel of each image, uint8 (N, C, H, W), a part of them at a time."""
    network.eval()
    device = next(network.parameters()).device
    for part in torch.split(images, PART):
        given = scaled(part.to(device), dtype_of(network))
        yield (network(given) - given).square().flatten(1).mean(1)


@torch.no_grad()
def reconstruct(
    network: torch.nn.Module, images: NDArray[np.uint8], how: Autoencoding, seed: int, epoch: int
) -> tuple[NDArray[np.float32], ...]:
    """Images from 0 to 1, the same with the noise of an epoch (not a copy without any), and what the network returns.

    A stack's last stage has its noise on codes, not on pixels.
    """
    given = seen = scaled(from_bytes(images))
    if isinstance(network, AutoencoderModule) and network.stages == 1:
        seen = corrupted(given, how, seed, epoch, 0)
    clean = given.numpy()
    return clean, clean if seen is given else seen.numpy(), network(seen).numpy()


def measure_errors(network: torch.nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean squared error per pixel of each image, uint8 (N, C, H, W); float32, shape (N,)."""
    return torch.cat(list(squared_errors(network, from_bytes(images)))).numpy()


def from_bytes(images: NDArray[np.uint8]) -> torch.Tensor:
    """Images as a tensor, copied where they are not contiguous or read-only."""
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))
