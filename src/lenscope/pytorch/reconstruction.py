"""Reconstruction: the squared error of an autoencoder, with noise on its input and penalties on its code.

The loss of an image is the mean squared error of its values, pixels from 0 to 1 (or, in a later stage of a stack, the
code of the layer below), plus what the settings add:

    kl · mean over units of KL(target ‖ ρ),    KL = target·ln(target/ρ) + (1 − target)·ln((1 − target)/(1 − ρ))
    l1 · mean of the code

ρ is a unit's mean activity over the batch. Source: Ng, "Sparse autoencoder" (lecture notes CS294A, Stanford 2011,
section 3). Where we differ: his codes are sigmoids, ours are ReLUs, so that the activity is tanh of the code, from 0
(silent) to 1; ρ is the mean over a batch (of at most a thousand images) and not over the whole set; a unit of a
convolution is a map, its activity also a mean over places; and the divergence is a mean over units and not their sum,
the error a mean over pixels and not half their sum, so that weights do not depend on sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from lenscope.pytorch.corruption import corrupted
from lenscope.pytorch.nets.module import AutoencoderModule
from lenscope.pytorch.objective import MICRO_BATCH, SummedLoss, dtype_of, scaled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from lenscope.config import Autoencoding, TrainConfig
    from lenscope.nets.layers import Network, Stage
    from lenscope.pytorch.objective import Batch

LEAST = 1e-6  # of an activity, and of 1 minus it: the divergence of a dead unit is finite


class Reconstruction:
    """For autoencoders, which are trained in stages: each stage reconstructs the code of the stage before it."""

    def __init__(self, network: AutoencoderModule, config: TrainConfig) -> None:
        self._network, self._config = network, config

    def add_gradients(self, batch: Batch, share: float) -> float:
        """See `Classification.add_gradients`."""
        loss = share * self.losses(batch).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def losses(self, batch: Batch) -> torch.Tensor:
        """The loss of each image, (n,)."""
        earlier, stage = self._stages(batch.epoch)
        with torch.no_grad():
            given = scaled(batch.images, dtype_of(self._network))
            for one in earlier:
                given = self._network.run(given, one.encoder)
        how, seed = self._config.autoencode, self._config.seed
        seen = corrupted(given, how, seed, batch.epoch, batch.first, batch.before, batch.total)
        code = self._network.run(seen, stage.encoder)
        errors = (self._network.run(code, stage.decoder).view_as(given) - given).square().flatten(1).mean(1)
        return errors + penalty(code, how)

    def sum_losses(self, images: torch.Tensor, _labels: torch.Tensor, look: Callable[[], object]) -> SummedLoss:
        """The mean squared error per pixel, summed over images without noise."""
        if not len(images):
            return SummedLoss(0.0, None)
        errors = []
        for some in squared_errors(self._network, images):
            look()
            errors.append(some)
        return SummedLoss(float(torch.cat(errors).cpu().double().sum()), None)

    def frozen_parameters(self, epoch: int) -> list[torch.nn.Parameter]:
        """The parameters of the layers that other stages train."""
        _, stage = self._stages(epoch)
        trained = {name for layers in stage for layer in layers for name in layer.shapes}
        return [parameter for name, parameter in self._network.named_parameters() if name not in trained]

    def _stages(self, epoch: int) -> tuple[tuple[Stage, ...], Stage]:
        """The stages that are trained already, and the one that an epoch trains."""
        stages = self._network.table.stages
        now = stage_of(self._network.table, self._config, epoch)
        return stages[:now], stages[now]


def stage_of(network: Network, config: TrainConfig, epoch: int) -> int:
    """The stage that an epoch trains, from 0; the stages share the epochs equally, the first has the remainder."""
    return (epoch - 1) * len(network.stages) // config.epochs


def penalty(code: torch.Tensor, how: Autoencoding) -> torch.Tensor | float:
    """What the code of a batch, (n, units, …), adds to the loss of each of its images."""
    total: torch.Tensor | float = 0.0
    if how.l1:
        total = total + how.l1 * code.abs().mean()
    if how.kl:
        activity = torch.tanh(code).transpose(0, 1).flatten(1).mean(1).clamp(LEAST, 1 - LEAST)
        target = how.target
        divergence = target * torch.log(target / activity) + (1 - target) * torch.log((1 - target) / (1 - activity))
        total = total + how.kl * divergence.mean()
    return total


@torch.no_grad()
def squared_errors(network: torch.nn.Module, images: torch.Tensor) -> Iterator[torch.Tensor]:
    """The mean squared error per pixel of each image, uint8 (N, C, H, W), one micro-batch at a time."""
    network.eval()
    device = next(network.parameters()).device
    for some in torch.split(images, MICRO_BATCH):
        given = scaled(some.to(device), dtype_of(network))
        yield (network(given) - given).square().flatten(1).mean(1)


@torch.no_grad()
def reconstruct(
    network: torch.nn.Module, images: NDArray[np.uint8], how: Autoencoding, seed: int, epoch: int
) -> tuple[NDArray[np.float32], ...]:
    """Images from 0 to 1, the images with an epoch's noise (the same array without noise), and the reconstructions.

    The last stage of a stack has its noise on codes, not on pixels.
    """
    given = seen = scaled(from_bytes(images))
    if isinstance(network, AutoencoderModule) and len(network.table.stages) == 1:
        seen = corrupted(given, how, seed, epoch, 0)
    clean = given.numpy()
    return clean, clean if seen is given else seen.numpy(), network(seen).numpy()


def measure_errors(network: torch.nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean squared error per pixel of each image, uint8 (N, C, H, W); float32, shape (N,)."""
    return torch.cat(list(squared_errors(network, from_bytes(images)))).numpy()


def from_bytes(images: NDArray[np.uint8]) -> torch.Tensor:
    """Images as a tensor, copied where they are not contiguous or read-only."""
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))
