"""What the kernels do on images: which maps stay dark, and what the network loses without each kernel."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lenscope import native
from lenscope.environment import usable_processors
from lenscope.nets.lenet import LeNet
from lenscope.nets.lenet1998 import squash
from lenscope.training import fused_engine
from lenscope.training.choice import predict_log_probabilities
from lenscope.training.device_steps import scaled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from lenscope.data.dataset import Dataset
    from lenscope.nets.catalogue import LeNets

PART = 1_000  # images at a time: 30 MB of activations
LENET1998_IMAGES = 1_000  # its passes are twenty times as slow as the native ones


@dataclass(frozen=True)
class Ablation:
    """What becomes of the answers where one kernel is switched off.

    Attributes:
        layer: `conv1` or `conv2`.
        kernel: which of its kernels, from 0.
        accuracy: the fraction of the images that is right without it.
        change: that less the accuracy with it.
        lost: how many images are right with it and wrong without.
        gained: how many are wrong with it and right without.
    """

    layer: str
    kernel: int
    accuracy: float
    change: float
    lost: int
    gained: int


@dataclass(frozen=True)
class Ablations:
    """Each kernel switched off in turn.

    Attributes:
        images: on how many images: all of the set, or some spread evenly over it.
        accuracy: the fraction of them that is right with all kernels.
        kernels: one for each kernel of each convolution, in the network's order.
    """

    images: int
    accuracy: float
    kernels: tuple[Ablation, ...]


def ablate_kernels(network: LeNets, dataset: Dataset) -> Ablations:
    """The accuracy without each kernel: its weights and its bias are 0, so that its map is 0 before the activation.

    Args:
        network: its weights stay as they are.
        dataset: labelled images of any size, with the network's channels and classes; of LeNet1998 at
            most 1,000, spread evenly, are looked at.
    """
    seen = dataset.resized(network.image_size)
    if not isinstance(network, LeNet):
        seen = seen.take(np.linspace(0, len(seen) - 1, min(len(seen), LENET1998_IMAGES)).astype(np.int64))
    right = _answers(network, seen) == seen.labels
    without = {"conv1": _answers_without_first(network, seen), "conv2": _answers_without_second(network, seen)}
    kernels = [
        _compare(layer, kernel, right, answers == seen.labels)
        for layer, rows in without.items()
        for kernel, answers in enumerate(rows)
    ]
    return Ablations(len(seen), float(right.mean()), tuple(kernels))


def find_dead_shares(network: LeNets, dataset: Dataset) -> dict[str, NDArray[np.float64]] | None:
    """The share of images on which each map is zero everywhere after its ReLU; None for a network without ReLU.

    Args:
        network: its weights stay as they are.
        dataset: images of any size, with the network's channels.

    Returns:
        For `conv1` and `conv2` float64 of shape (maps,), 0 to 1.
    """
    if not isinstance(network, LeNet):
        return None
    dark: dict[str, list[Tensor]] = {"conv1": [], "conv2": []}
    for pools in _pools(network, dataset.resized(network.image_size)):
        for parts, maps in zip(dark.values(), pools, strict=True):  # the pool of a map is zero where the map is
            parts.append((maps <= 0).flatten(2).all(2))
    return {layer: torch.cat(parts).cpu().double().mean(0).numpy() for layer, parts in dark.items()}


def _compare(layer: str, kernel: int, right: NDArray[np.bool_], without: NDArray[np.bool_]) -> Ablation:
    lost, gained = int((right & ~without).sum()), int((without & ~right).sum())
    return Ablation(layer, kernel, float(without.mean()), (gained - lost) / len(right), lost, gained)


def _answers(network: LeNets, dataset: Dataset) -> NDArray[np.int64]:
    """The most probable class of each image, (N,)."""
    answers: NDArray[np.int64] = predict_log_probabilities(network, dataset).argmax(1)
    return answers


def _answers_without_first(network: LeNets, dataset: Dataset) -> NDArray[np.int64]:
    """The answers without each kernel of the first convolution, (kernels, N)."""
    kernels = range(_first(network).out_channels)
    return np.stack([_answers(_without_first(network, kernel), dataset) for kernel in kernels])


def _without_first(network: LeNets, kernel: int) -> LeNets:
    """A copy without a kernel of the first convolution."""
    copied = deepcopy(network)
    layer = _first(copied)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter[kernel] = 0
    return copied


def _first(network: LeNets) -> nn.Conv2d:
    return network.conv1 if isinstance(network, LeNet) else network.c1


@torch.no_grad()
def _answers_without_second(network: LeNets, dataset: Dataset) -> NDArray[np.int64]:
    """The answers without each kernel of the second convolution, (kernels, N): only what follows it is done anew."""
    parts: list[Tensor] = []
    for _, maps in _pools(network, dataset):
        darkened = (_darkened(network, maps, kernel) for kernel in range(maps.shape[1]))
        parts.append(torch.stack([_classify(network, seen).argmax(1) for seen in darkened]))
    answers: NDArray[np.int64] = torch.cat(parts, 1).cpu().numpy()
    return answers


def _darkened(network: LeNets, maps: Tensor, kernel: int) -> Tensor:
    """A copy of the second pool's maps (N, maps, H, W) as it is where one of the maps that it is made of is 0."""
    darkened = maps.clone()
    darkened[:, kernel] = 0 if isinstance(network, LeNet) else network.s4.bias[kernel]
    return darkened


def _classify(network: LeNets, maps: Tensor) -> Tensor:
    """What follows the second pool, up to what the classes share: (N, classes), the largest for the answer."""
    x = maps.flatten(1)
    scores: Tensor
    if isinstance(network, LeNet):
        scores = network.fc3(F.relu(network.fc2(F.relu(network.fc1(x)))))
    else:
        scores = -network.rbf(squash(network.f6(squash(network.c5(squash(x))))))
    return scores


def _pools(network: LeNets, dataset: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
    """What the two pools give, (N, maps, H, W) each, a part of the images at a time."""
    quick = fused_engine.obstacle(network) is None
    for start in range(0, len(dataset), PART):
        images = np.require(dataset.images[start : start + PART], requirements=["C", "W"])
        yield _native_pools(cast("LeNet", network), images) if quick else _torch_pools(network, images)


def _native_pools(network: LeNet, images: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    weights, classes, isa = fused_engine.read_weights(network), network.fc3.out_features, native.instruction_set()
    _, found = native.load().evaluate(images, weights, classes, usable_processors(), isa, activations=True)
    return torch.from_numpy(found["pool1"]), torch.from_numpy(found["pool2"])


@torch.no_grad()
def _torch_pools(network: LeNets, images: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """By PyTorch; before the squashing that follows the pools of LeNet1998."""
    found: list[Tensor] = []
    pools = (network.pool1, network.pool2) if isinstance(network, LeNet) else (network.s2, network.s4)
    hooks = [pool.register_forward_hook(lambda *call: found.append(call[-1])) for pool in pools]
    try:
        network(scaled(torch.from_numpy(images).to(next(network.parameters()).device)))
    finally:
        for hook in hooks:
            hook.remove()
    first, second = found
    return first, second
