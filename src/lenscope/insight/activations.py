"""The effect of each kernel on images: the fraction on which its map is zero, and the accuracy without it."""

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

CHUNK = 200  # images at a time: their maps fit into the cache
LENET1998_IMAGES = 1_000  # its tanh takes five times as long as everything else


@dataclass(frozen=True)
class Ablation:
    """The predictions with one kernel ablated.

    Attributes:
        layer: `conv1` or `conv2`.
        kernel: number of the kernel, from 0.
        accuracy: the accuracy without it, a fraction.
        change: this accuracy minus that with all kernels.
        lost: number of images that are right with it and wrong without.
        gained: number of images that are wrong with it and right without.
    """

    layer: str
    kernel: int
    accuracy: float
    change: float
    lost: int
    gained: int


@dataclass(frozen=True)
class Ablations:
    """Each kernel ablated in turn.

    Attributes:
        images: number of images: the whole set, or some spread evenly over it.
        accuracy: the accuracy with all kernels, a fraction.
        kernels: one for each kernel of each convolution, in the network's order.
        dead: for `conv1` and `conv2` the fraction of the images on which each map is zero everywhere after its ReLU,
            float64, shape (maps,), 0 to 1; None for a network without ReLU.
    """

    images: int
    accuracy: float
    kernels: tuple[Ablation, ...]
    dead: dict[str, NDArray[np.float64]] | None = field(compare=False)


def ablate_kernels(network: Network, weights: Weights, dataset: Dataset) -> Ablations:
    """The accuracy without each kernel: its weights and its bias are set to 0, so its map is 0 before the activation.

    Args:
        network: one with `has_maps`.
        weights: its weights.
        dataset: labelled images of any size, with the network's channels and classes; for LeNet1998 at most 1,000 of
            them, spread evenly, are used.
    """
    seen = dataset.resized(network.image_size)
    if network.name == "lenet1998":
        seen = seen.take(np.linspace(0, len(seen) - 1, min(len(seen), LENET1998_IMAGES)).astype(np.int64))
    parts = (seen.images[start : start + CHUNK] for start in range(0, len(seen), CHUNK))
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


@np.errstate(all="ignore")  # predictions of weights that overflow count as wrong
def _look(network: Network, weights: Weights, images: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The predictions with all kernels and without each, (1 + kernels, N); whether each map is zero, (kernels, N).

    The layer after a pool is linear in the pool's maps: ablating a map subtracts its contribution from the output, up
    to rounding.
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
    """The kernels (out, in, k, k) of a layer on maps (height, in, width, N); dense kernels cover whole maps."""
    if layer.kind == "dense":
        return weights[f"{layer.name}.weight"].reshape(layer.outputs, maps.shape[1], len(maps), -1)
    return dense_kernels(layer, weights)
