"""What the kernels do on images: which maps stay dark, and what the network loses without each kernel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.environment import usable_processors
from lenscope.nets import blas
from lenscope.nets.layers import dense_kernels
from lenscope.nets.numpy_pass import activated, apply, convolved, pass_through, pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Layer, Network, Weights

    Array = NDArray[np.floating[Any]]

PART = 200  # images at a time: their maps stay in the cache
LENET1998_IMAGES = 1_000  # its tanh takes five times as long as all the rest


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
        dead: for `conv1` and `conv2` the share of the images on which each map is zero everywhere after its ReLU,
            float64, shape (maps,), 0 to 1; None for a network without ReLU.
    """

    images: int
    accuracy: float
    kernels: tuple[Ablation, ...]
    dead: dict[str, NDArray[np.float64]] | None = field(compare=False)


def ablate_kernels(network: Network, weights: Weights, dataset: Dataset) -> Ablations:
    """The accuracy without each kernel: its weights and its bias are 0, so that its map is 0 before the activation.

    Args:
        network: one that `has_maps`.
        weights: its weights.
        dataset: labelled images of any size, with the network's channels and classes; of LeNet1998 at
            most 1,000, spread evenly, are looked at.
    """
    seen = dataset.resized(network.image_size)
    if network.name == "lenet1998":
        seen = seen.take(np.linspace(0, len(seen) - 1, min(len(seen), LENET1998_IMAGES)).astype(np.int64))
    parts = (seen.images[start : start + PART] for start in range(0, len(seen), PART))
    with ThreadPoolExecutor(usable_processors()) as pool, blas.one_thread():
        found = list(pool.map(partial(_look, network, weights), parts))
    answers, dark = (np.concatenate(rows, axis=1) for rows in zip(*found, strict=True))
    right, *without = answers == seen.labels
    counts = {name: len(kernels) for name, kernels in network.convolutions(weights).items()}
    kernels = [(layer, kernel) for layer, count in counts.items() for kernel in range(count)]
    ablations = [_compare(*kernel, right, row) for kernel, row in zip(kernels, without, strict=True)]
    dead = dict(zip(counts, np.split(dark.mean(1), [counts["conv1"]]), strict=True))
    rectified = network.layers[0].activation == "relu"
    return Ablations(len(seen), float(right.mean()), tuple(ablations), dead if rectified else None)


def _compare(layer: str, kernel: int, right: NDArray[np.bool_], without: NDArray[np.bool_]) -> Ablation:
    lost, gained = int((right & ~without).sum()), int((without & ~right).sum())
    return Ablation(layer, kernel, float(without.mean()), (gained - lost) / len(right), lost, gained)


@np.errstate(all="ignore")  # answers of weights that overflow are wrong, which is counted
def _look(network: Network, weights: Weights, images: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The answers for images with all kernels and without each, (1 + kernels, N); which maps are zero, (kernels, N).

    What follows a pool is linear in the pool's maps: without one of them its output is less by what that map adds to
    it, up to rounding.
    """
    layers, answers, dark = network.layers, [], []
    made = apply(layers[0], weights, pixels(network, weights, images))
    for place in (0, 2):
        pool, following, rest = layers[place + 1], layers[place + 2], layers[place + 3 :]
        maps = pass_through((pool,), weights, activated(layers[place], made))[-1]
        off = pass_through((pool,), weights, np.zeros((pool.kernel, pool.inputs, pool.kernel, 1), maps.dtype))[-1]
        made, kernels = apply(following, weights, maps), _kernels(following, weights, maps)
        for kernel in range(pool.inputs):
            own = slice(kernel, kernel + 1)
            added = convolved(kernels[:, own], maps[:, own] - off[:, own]).reshape(made.shape)
            without = activated(following, np.subtract(made, added, out=added))
            answers.append(pass_through(rest, weights, without)[-1].argmax(0))
        dark.append((maps <= 0).all((0, 2)))
    scores = pass_through(rest, weights, activated(following, made))[-1]
    return np.stack([scores.argmax(0), *answers]), np.concatenate(dark)


def _kernels(layer: Layer, weights: Weights, maps: Array) -> Array:
    """The kernels (out, in, k, k) of a layer on maps (height, in, width, N); those of a dense one cover whole maps."""
    if layer.kind == "dense":
        return weights[f"{layer.name}.weight"].reshape(layer.outputs, maps.shape[1], len(maps), -1)
    return dense_kernels(layer, weights)
