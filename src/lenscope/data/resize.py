"""Resizing of images, bit-identical to Pillow's `BILINEAR`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.data.mapped import collect, stretches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lenscope.data.mapped import CachedCopy


def resize(images: NDArray[np.uint8], size: int, cached: CachedCopy | None = None) -> NDArray[np.uint8]:
    """Images resized to size×size pixels, bilinear and antialiased: bit-identical to Pillow's `BILINEAR`.

    Pillow's own arithmetic: along the rows, then along the columns, weights of 22 bits, each pass rounded to bytes. All
    sums are whole multiples of 2⁻²² below 2⁸, so that float64 matrix products are exact; so are those of float32, in
    half the time, where the weights have 16 bits (28 to 32 pixels: multiples of 1/16). Two differences:
    Pillow 13 takes the columns first where an image is much taller than wide, earlier releases and we never do; torch's
    interpolation of bytes has weights of at most 15 bits, equal for 28 to 32 pixels, off by one for other sizes.

    Args:
        images: uint8, shape (N, C, H, W).
        size: pixels of a side.
        cached: the file in which a large result stays (see `collect`).

    Returns:
        uint8, shape (N, C, size, size).
    """
    return collect(_resized_blocks(images, size), (*images.shape[:2], size, size), cached)


def _resized_blocks(images: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    rows, columns = (_pillow_weights(before, size) for before in images.shape[2:])
    if not np.any(rows * 2**16 % 1) and not np.any(columns * 2**16 % 1):
        rows, columns = rows.astype(np.float32), columns.astype(np.float32)
    image_bytes = math.prod(images.shape[1:])
    for block in stretches(
        len(images), image_bytes, 2**19
    ):  # so that the copies as floats stay in the processor's cache
        narrowed = _rounded(images[block] @ columns.T)
        yield _rounded(rows @ narrowed)


def _pillow_weights(before: int, after: int) -> NDArray[np.floating[Any]]:
    """What each new pixel takes from each old one, a multiple of 2⁻²²; float64, shape (after, before)."""
    scale = before / after
    support = max(scale, 1.0)
    centres = (np.arange(after)[:, None] + 0.5) * scale
    old = np.arange(before)
    weights = np.maximum(1 - np.abs((old - centres + 0.5) * (1 / support)), 0)
    inside = (old >= np.trunc(centres - support + 0.5)) & (old < np.trunc(centres + support + 0.5))
    weights = np.where(inside, weights, 0)
    weights /= np.cumsum(weights, axis=1)[:, -1:]  # summed one by one, as Pillow does
    return np.trunc(weights * 2**22 + 0.5) / 2**22


def _rounded(sums: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    sums += 0.5
    return sums.astype(np.uint8)
