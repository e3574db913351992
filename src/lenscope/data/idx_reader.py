"""A data set of four IDX files: images and labels of two parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.checks import check_labels
from lenscope.data.entry import Labelled
from lenscope.data.idx import check_images, decode_idx
from lenscope.data.mapped import collect, stretches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.data.entry import DataFile, OpenFile

_BLOCK_BYTES = 2**22


@dataclass(frozen=True)
class Part:
    """The two files of a part: images and labels."""

    images: DataFile
    labels: DataFile


@dataclass(frozen=True)
class IdxReader:
    """Reads what MNIST and its relatives are published as.

    Attributes:
        train: the files of the training part.
        test: the files of the test part.
        first_label: the number of the first class in the files.
        transposed: whether the files hold each image transposed.
    """

    train: Part
    test: Part
    first_label: int = 0
    transposed: bool = False

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The four files."""
        return (self.train.images, self.train.labels, self.test.images, self.test.labels)

    def read(self, open_file: OpenFile, classes: int) -> tuple[Labelled, Labelled]:
        """The parts, grey; of labels that are rows of numbers, as QMNIST's, the first is taken."""
        return self._read_part(self.train, open_file, classes), self._read_part(self.test, open_file, classes)

    def _read_part(self, part: Part, open_file: OpenFile, classes: int) -> Labelled:
        content, source = open_file(part.images)
        images = decode_idx(content, source)
        check_images(images, source)
        content, source = open_file(part.labels)
        labels = decode_idx(content, source, dtypes=("uint8", "int32"))
        first_column = labels[:, 0] if labels.ndim == 2 else labels
        numbers = first_column.astype(np.int64) - self.first_label
        check_labels(numbers, images, classes, source)
        upright = _upright(images) if self.transposed else images
        return Labelled(upright[:, None], numbers.astype(np.uint8))


def _upright(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, width, height = images.shape
    blocks = (images[rows].transpose(0, 2, 1) for rows in stretches(count, width * height, _BLOCK_BYTES))
    return collect(blocks, (count, height, width))
