"""A data set as plain arrays: images kept as bytes, labels, and what is known about them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lenscope.data import mapped
from lenscope.data.checks import check_dataset, class_difference
from lenscope.data.mapped import collect, stretches
from lenscope.errors import ConfigError, DataError
from lenscope.randomness import Purpose, random_order
from lenscope.text import encodable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_BLOCK_BYTES = 2**24  # of images that are hashed or taken at a time


class Kept(NamedTuple):
    """What the cache keeps of a part.

    Attributes:
        path: what the names of files begin with in which arrays that are made of it are kept.
        packed: whether its images lie in a pack there, and not in files of the user's.
    """

    path: Path
    packed: bool = False


@dataclass(frozen=True, eq=False)
class Dataset:
    r"""Labelled images of one part (training, validation or test) of a data set.

    Attributes:
        images: uint8, shape (N, C, H, W); engines scale them to [0, 1]. Many are a file that is mapped: read-only, and
            in memory only as far as they are looked at (see `mapped.py`).
        labels: uint8 or int64, shape (N,), each below len(classes); other whole numbers become int64.
        classes: the name of each class, in the order of the labels; a byte of a folder's name that is not UTF-8 is
            escaped, as in `ros\xe9`.
        name: what the set is called, such as `mnist`.
        source: where it came from: an address or a path.
        licence: the licence of the data, or an empty string where it is not known.
        part: `training`, `validation` or `test`, once it is a part of `Splits`.

    Raises:
        DataError: arrays of another type or shape, or labels that are no classes; it says what to pass instead.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8] | NDArray[np.int64]
    classes: tuple[str, ...]
    name: str
    source: str = ""
    licence: str = ""
    part: str = ""
    _resized: dict[int, Dataset] = field(default_factory=dict, repr=False)
    _kept: Kept | None = field(default=None, repr=False)
    _of: NDArray[np.uint8] | None = field(default=None, repr=False)  # the images of which the two before hold copies

    def __post_init__(self) -> None:
        if self._of is not None and self._of is not self.images:  # `dataclasses.replace` gave other images
            object.__setattr__(self, "_resized", {})
            object.__setattr__(self, "_kept", None)
        object.__setattr__(self, "_of", self.images)
        labels, classes = check_dataset(self.images, self.labels, self.classes, self.name)
        object.__setattr__(self, "labels", labels)
        # A folder's name may hold bytes that are not UTF-8; neither JSON nor HTML nor a picture can hold those.
        escaped = tuple(map(encodable, classes))
        if len(set(escaped)) < len(set(classes)):
            twice = max(escaped, key=escaped.count)
            raise DataError(
                f"{self.name}: two classes are called {twice} once bytes that are not UTF-8 are escaped; rename one"
            )
        object.__setattr__(self, "classes", escaped)
        object.__setattr__(self, "name", encodable(self.name))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return int(self.images.shape[1])

    @property
    def empty_classes(self) -> list[str]:
        """The names of the classes of which there is no image."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return [self.classes[label] for label in np.flatnonzero(counts == 0)]

    @property
    def _image_bytes(self) -> int:
        return math.prod(self.images.shape[1:])

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the shape, the images and the labels as little-endian int64, in hexadecimal.

        It is computed on these very bytes, once: a hash that was written down earlier may be of others.
        """
        digest = hashlib.sha256(repr(self.images.shape).encode())
        for rows in stretches(len(self), self._image_bytes, _BLOCK_BYTES):
            digest.update(np.ascontiguousarray(self.images[rows]).data)
        digest.update(self.labels.astype("<i8").data)
        return digest.hexdigest()

    def resized(self, size: int) -> Dataset:
        """The same images at size×size pixels, bit-identical to Pillow's bilinear resize; kept once made."""
        if self.images.shape[2:] == (size, size):
            return self
        if size not in self._resized:
            kept = self._kept and self._kept.path.with_name(f"{self._kept.path.name}-{size}.u8")
            self._resized[size] = replace(self, images=resize(self.images, size, kept))
        return self._resized[size]

    def take(self, indices: NDArray[np.int64]) -> Dataset:
        """The images of these indices, int64 of shape (n,), in their order, as a data set of its own."""
        blocks = (self.images[indices[rows]] for rows in stretches(len(indices), self._image_bytes, _BLOCK_BYTES))
        images = collect(blocks, (len(indices), *self.images.shape[1:]))
        return replace(self, images=images, labels=self.labels[indices])


@dataclass(frozen=True, eq=False)
class Splits:
    """The parts of a data set; those that it lacks are None.

    Attributes:
        train: what the network learns from.
        validation: held out of the training images; may steer training.
        test: steers nothing, ever.
        skipped: the files of a folder that could not be read and were left out, each with its reason.

    Raises:
        DataError: parts of other channels or classes than the training part's.
    """

    train: Dataset
    validation: Dataset | None = None
    test: Dataset | None = None
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name, part in (("train", "training"), ("validation", "validation"), ("test", "test")):
            dataset: Dataset | None = getattr(self, name)
            if dataset is None:
                continue
            if dataset.channels != self.train.channels:
                raise DataError(
                    f"{self.name}: {part} images have {dataset.channels} channels, expected {self.train.channels} as "
                    "the training images have; pass all grey or all in colour"
                )
            if difference := class_difference(dataset.classes, self.train.classes):
                raise DataError(f"{self.name}: {part} classes are not those of training: {difference}; give both alike")
            if dataset.part != part:
                object.__setattr__(self, name, replace(dataset, part=part))

    @property
    def name(self) -> str:
        """What the data set is called."""
        return self.train.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class."""
        return self.train.classes

    @property
    def is_large(self) -> bool:
        """Whether its images are too many to be kept in memory."""
        return sum(part.images.nbytes for part in (self.train, self.validation, self.test) if part) > mapped.LARGE_BYTES

    @property
    def pack(self) -> Path | None:
        """The folder of the cache that it is read from; None where it is read from its own files."""
        kept = self.train._kept  # noqa: SLF001 - of the same module
        return kept.path.parent if kept and kept.packed else None

    def resized(self, size: int) -> Splits:
        """Every part at size×size pixels."""
        validation, test = (part and part.resized(size) for part in (self.validation, self.test))
        return replace(self, train=self.train.resized(size), validation=validation, test=test)

    def hold_out(self, validation: float, seed: int, *, stratify: bool = True) -> Splits:
        """Move a random part of the training images to validation.

        Args:
            validation: a count, or a fraction below 1 (rounded to the nearest count); 0 changes nothing.
            seed: decides which images.
            stratify: hold out of each class in proportion (Sainte-Laguë's rule). A class of two images or more keeps at
                least one on either side, as far as the counts allow. Without it classes are not looked at.

        Raises:
            ConfigError: nothing would be left to train on, or nothing be held out.
        """
        if not validation:
            return self
        held_out, rest = _divide(self.train.labels, validation, seed, stratify=stratify)
        return replace(self, train=self.train.take(rest), validation=self.train.take(held_out))

    def keep(self, train_images: int | None, seed: int) -> Splits:
        """Keep so many of the training images, of each class equally many as nearly as can be.

        Fewer images are always among those that more would be.

        Args:
            train_images: how many; None changes nothing.
            seed: decides which.

        Raises:
            ConfigError: there are not so many.
        """
        if train_images is None:
            return self
        total = len(self.train)
        if train_images > total:
            raise ConfigError(f"train_images: got {train_images}, expected at most the {total} training images")
        order = random_order(seed, Purpose.SUBSET, 0, total)
        turns = _turns(self.train.labels[order])
        kept = order[np.argsort(turns, kind="stable")[:train_images]]
        return replace(self, train=self.train.take(np.sort(kept)))

    def to_measure(
        self, validation: float = 0, seed: int = 0, train_images: int | None = None, *, stratify: bool = True
    ) -> Dataset:
        """The images to measure a network on: test, else what `hold_out` keeps apart, else what is trained on."""
        if self.test is not None:
            return self.test
        if validation:
            held_out, _ = _divide(self.train.labels, validation, seed, stratify=stratify)
            return replace(self.train.take(held_out), part="validation")
        return self.keep(train_images, seed).train


def _divide(
    labels: NDArray[np.integer[Any]], validation: float, seed: int, *, stratify: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the images with these labels are held out, and which are left; raises ConfigError."""
    total = len(labels)
    count = round(validation * total) if validation < 1 else int(validation)
    if not 0 < count < total:
        raise ConfigError(f"validation: got {validation} of {total} images, expected at least 1 on either side")
    order = random_order(seed, Purpose.SPLIT, 0, total)
    if stratify:
        order = order[np.argsort(_shares(labels[order]), kind="stable")]
    return np.sort(order[:count]), np.sort(order[count:])


def _shares(labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """How much of its class is held out with each image, less half an image; the smallest go first.

    So Sainte-Laguë's rule divides seats. The first image of a class comes before all others, its last one after them.
    """
    turns = _turns(labels)
    counts = np.bincount(labels)[labels]
    shares: NDArray[np.float64] = (turns + 0.5) / counts
    shares[turns == 0] = 0
    shares[turns == counts - 1] = 1
    return shares


def _turns(labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """How many images of the same class come before each one; int64, the shape of the labels."""
    turns = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        turns[own] = np.arange(len(own))
    return turns


def resize(images: NDArray[np.uint8], size: int, kept: Path | None = None) -> NDArray[np.uint8]:
    """Images resized to size×size pixels, bilinear and antialiased: bit-identical to Pillow's `BILINEAR`.

    Pillow's own arithmetic: along the rows, then along the columns, weights of 22 bits, each pass rounded to bytes. All
    sums are whole multiples of 2⁻²² below 2⁸, so that float64 matrix products are exact; so are those of float32, in
    half the time, where the weights have 16 bits (28 to 32 pixels: multiples of 1/16). Two differences to know of:
    Pillow 13 takes the columns first where an image is much taller than wide, earlier releases and we never do; torch's
    interpolation of bytes has weights of at most 15 bits, the same for 28 to 32 pixels, off by one for other sizes.

    Args:
        images: uint8, shape (N, C, H, W).
        size: pixels of a side.
        kept: the file in which they stay if they are many, as `collect` has it.

    Returns:
        uint8, shape (N, C, size, size).
    """
    return collect(_resized_blocks(images, size), (*images.shape[:2], size, size), kept)


def _resized_blocks(images: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    rows, columns = (_pillow_weights(before, size) for before in images.shape[2:])
    if not np.any(rows * 2**16 % 1) and not np.any(columns * 2**16 % 1):
        rows, columns = rows.astype(np.float32), columns.astype(np.float32)
    image_bytes = math.prod(images.shape[1:])
    for block in stretches(len(images), image_bytes, 2**19):  # so that the copies as numbers stay near the cache
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
