"""Making pictures square before they are resized to a network's size: the setting `fit`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.mapped import collect, stretches
from lenscope.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.config import FitName
    from lenscope.data.dataset import Dataset, Splits

KEEP_SHAPE = "--fit pad or --fit crop keeps their shape"
_BLOCK_BYTES = 2**24


def fit_square(image: NDArray[np.uint8], fit: FitName) -> NDArray[np.uint8]:
    """A picture (H, W) or (H, W, 3) as a square one, unless `fit` is `squeeze` or it is square already.

    Args:
        image: uint8.
        fit: `squeeze` changes nothing (resizing squeezes the picture later); `pad` adds bars on both sides of the
            shorter axis, in the mean colour of the picture's border; `crop` keeps the central square. Where the
            difference of the sides is odd, the extra row or column is added or removed at the end.
    """
    if fit == "squeeze" or image.shape[0] == image.shape[1]:
        return image
    return np.moveaxis(_square(np.moveaxis(image, (0, 1), (-2, -1)), fit), (-2, -1), (0, 1))


def fit_images(data: Dataset, fit: FitName) -> Dataset:
    """A data set with square images, each as by `fit_square`; large ones are mapped."""
    height, width = data.images.shape[2:]
    if fit == "squeeze" or height == width:
        return data
    side = max(height, width) if fit == "pad" else min(height, width)
    image_bytes = math.prod(data.images.shape[1:])
    blocks = (_square(data.images[rows], fit) for rows in stretches(len(data), image_bytes, _BLOCK_BYTES))
    return replace(data, images=collect(blocks, (*data.images.shape[:2], side, side)), _cached_at=None)


def fit_splits(splits: Splits, fit: FitName) -> Splits:
    """Splits with square images, each as by `fit_square`.

    Raises:
        ConfigError: they became square in another way when they were loaded.
    """
    if splits.fit not in (None, fit):
        raise ConfigError(
            f"fit: got {fit}, but these pictures were loaded with fit={splits.fit!r}; load them with fit={fit!r}"
        )
    validation, test = (split and fit_images(split, fit) for split in (splits.validation, splits.test))
    settled = splits.fit if fit == "squeeze" else fit
    return replace(splits, train=fit_images(splits.train, fit), validation=validation, test=test, fit=settled)


def shape_notes(splits: Splits, fit: FitName) -> tuple[str, ...]:
    """A remark if images that are not square will be squeezed."""
    height, width = splits.train.images.shape[2:]
    if fit != "squeeze" or height == width:
        return ()
    return (f"the images are {width}×{height} pixels and are squeezed to a square; {KEEP_SHAPE}",)


def _square(images: NDArray[np.uint8], fit: FitName) -> NDArray[np.uint8]:
    """Images (…, H, W) cropped or padded to squares, each channel in the mean of its own border."""
    *others, height, width = images.shape
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return images[..., top : top + side, left : left + side]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    sides = (images[..., 0, :], images[..., -1, :], images[..., 1:-1, 0], images[..., 1:-1, -1])
    padded = np.empty((*others, side, side), np.uint8)
    padded[:] = np.concatenate(sides, axis=-1).mean(axis=-1).round()[..., None, None]
    padded[..., top : top + height, left : left + width] = images
    return padded
