"""A data set of four IDX files: images and labels of two splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.checks import check_labels
from lenscope.data.formats.idx import check_images, decode_idx
from lenscope.data.formats.reader import Labelled
from lenscope.data.mapped import collect, stretches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lenscope.data.formats.reader import Opened

_BLOCK_BYTES = 2**22


def read_idx_files(
    files: Iterator[Opened], *, first_label: int = 0, transposed: bool = False
) -> tuple[Labelled, Labelled]:
    """MNIST, or a data set that is published in its format: both splits, grey.

    Args:
        files: images and labels of the training split, then of the test split; where labels are rows of numbers, as in
            QMNIST, the first number counts.
        first_label: the number of the first class in the files.
        transposed: whether the images are transposed in the files.
    """
    train, test = (_read_split(files, first_label, transposed=transposed) for _ in range(2))
    return train, test


def _read_split(files: Iterator[Opened], first_label: int, *, transposed: bool) -> Labelled:
    content, source = next(files)
    images = decode_idx(content, source)
    check_images(images, source)
    content, source = next(files)
    labels = decode_idx(content, source, dtypes=("uint8", "int32"))
    first_column = labels[:, 0] if labels.ndim == 2 else labels
    numbers = first_column.astype(np.int64) - first_label
    check_labels(numbers, images, 2**8, source)
    upright = _upright(images) if transposed else images
    return Labelled(upright[:, None], numbers.astype(np.uint8))


def _upright(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, width, height = images.shape
    blocks = (images[rows].transpose(0, 2, 1) for rows in stretches(count, width * height, _BLOCK_BYTES))
    return collect(blocks, (count, height, width))
