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

from functools import partial
from typing import TYPE_CHECKING, cast

import torch

from lenscope.nets.autoencoder import Autoencoder
from lenscope.nets.autoencoder_pass import AutoencoderPass
from lenscope.training.classification import EVALUATED
from lenscope.training.corruption import corrupted
from lenscope.training.device_steps import PART, dtype_of, scaled
from lenscope.training.objective import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lenscope.config import Autoencoding, TrainConfig
    from lenscope.nets.autoencoder import Reconstructs
    from lenscope.nets.catalogue import AutoencoderNetwork
    from lenscope.training.objective import Batch

LEAST = 1e-6  # of an activity, and of what it lacks to 1: the divergence of a dead unit is finite


class Reconstruction:
    """For autoencoders."""

    captured = False

    def __init__(self, network: AutoencoderNetwork, config: TrainConfig) -> None:
        self._network, self._config = network, config
        self._passes: dict[int, AutoencoderPass] = {}  # by images

    def add_gradients(self, batch: Batch, share: float) -> float:
        """See `Objective.add_gradients`."""
        if _has_pass(self._network):
            how, given = self._config.autoencode, None
            if how.corrupts:
                given = self._corrupted(scaled(batch.images, dtype_of(self._network)), batch)
            quick = self._kept_pass(len(batch.images))
            return quick.add_gradients(batch.images, given, partial(penalty, how=how), share)
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

    def _kept_pass(self, count: int) -> AutoencoderPass:
        """The pass for so many images, made where it is not there yet."""
        if count not in self._passes:
            self._passes[count] = AutoencoderPass(cast("Autoencoder", self._network), count, gradients=True)
        return self._passes[count]

    def fixed(self, epoch: int) -> list[torch.nn.Parameter]:
        """Those of the layers that another stage trains."""
        learners = self._network.learners(stage_of(self._network, self._config, epoch))
        learning = {parameter for layer in learners for parameter in layer.parameters()}
        return [parameter for parameter in self._network.parameters() if parameter not in learning]


def stage_of(network: Reconstructs, config: TrainConfig, epoch: int) -> int:
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


def _has_pass(network: torch.nn.Module) -> bool:
    """Whether there is a quicker way than autograd: for the convolutional autoencoder on a CPU."""
    return type(network) is Autoencoder and network.conv1.weight.device.type == "cpu"


@torch.no_grad()
def squared_errors(network: torch.nn.Module, images: torch.Tensor) -> Iterator[torch.Tensor]:
    """The mean squared error of a pixel of each image, uint8 (N, C, H, W), a part of them at a time."""
    network.eval()
    if _has_pass(network):
        quick: dict[int, AutoencoderPass] = {}
        for part in torch.split(images, EVALUATED):
            if len(part) not in quick:
                quick[len(part)] = AutoencoderPass(cast("Autoencoder", network), len(part), gradients=False)
            yield quick[len(part)].errors(part)
        return
    device = next(network.parameters()).device
    for part in torch.split(images, PART):
        given = scaled(part.to(device), dtype_of(network))
        yield (network(given) - given).square().flatten(1).mean(1)
