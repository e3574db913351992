"""A data set as plain arrays: images as bytes, labels, and metadata."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.data import mapped
from lenscope.data.checks import check_dataset, class_difference
from lenscope.data.mapped import CachedCopy, collect, stretches
from lenscope.data.resize import resize
from lenscope.errors import ConfigError, DataError
from lenscope.randomness import Purpose, random_order
from lenscope.text import encodable, for_stdout

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from lenscope.config import FitName

_BLOCK_BYTES = 2**24  # of images that are hashed or taken at a time


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    r"""Labelled images of one split (training, validation or test) of a data set.

    Attributes:
        images: uint8, shape (N, C, H, W); engines scale them to [0, 1]. The images of a large set are a read-only
            memory-mapped file (see `mapped.py`).
        labels: uint8 or int64, shape (N,), each below len(classes); other whole numbers become int64.
        classes: the name of each class, in the order of the labels; a byte of a folder's name that is not UTF-8 is
            escaped, as in `ros\xe9`.
        name: the name of the data set, such as `mnist`.
        source: a URL or a path.
        licence: the licence of the data, or an empty string where it is not known.
        split: `training`, `validation` or `test`; set by `Splits`.

    Raises:
        DataError: arrays of another type or shape, or labels outside the classes; the message says what to pass.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8] | NDArray[np.int64]
    classes: tuple[str, ...]
    name: str
    source: str = ""
    licence: str = ""
    split: str = ""
    _resized: dict[int, Dataset] = field(default_factory=dict, init=False)
    _cached_at: Path | None = None  # with a suffix, the file of the cache for a resized copy

    def __post_init__(self) -> None:
        labels, classes = check_dataset(self.images, self.labels, self.classes, self.name)
        object.__setattr__(self, "labels", labels)
        # A folder's name may contain bytes that are not UTF-8, which JSON, HTML and pictures cannot represent.
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

    def __repr__(self) -> str:
        count, *shape = self.images.shape
        split = f" {self.split}" if self.split else ""
        size = "×".join(map(str, shape))
        return for_stdout(f"<Dataset {self.name}{split}: {count} images, {size}, {len(self.classes)} classes>")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cached_at": None}  # another machine has another cache

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return int(self.images.shape[1])

    @property
    def empty_classes(self) -> list[str]:
        """The names of the classes without any image."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return [self.classes[label] for label in np.flatnonzero(counts == 0)]

    @property
    def _image_bytes(self) -> int:
        return math.prod(self.images.shape[1:])

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the shape, the images and the labels as little-endian int64, in hexadecimal.

        Computed once, from the bytes in use: a stored hash may belong to other bytes.
        """
        digest = hashlib.sha256(repr(self.images.shape).encode())
        for rows in stretches(len(self), self._image_bytes, _BLOCK_BYTES):
            digest.update(np.ascontiguousarray(self.images[rows]).data)
        digest.update(self.labels.astype("<i8").data)
        return digest.hexdigest()

    def resized(self, size: int) -> Dataset:
        """These images at size×size pixels, bit-identical to Pillow's bilinear resize; computed once per size."""
        if self.images.shape[2:] == (size, size):
            return self
        if size not in self._resized:
            at = self._cached_at
            cached = CachedCopy(at.with_name(f"{at.name}-{size}.u8"), self.sha256) if at else None
            self._resized[size] = replace(self, images=resize(self.images, size, cached), _cached_at=None)
        return self._resized[size]

    def take(self, indices: NDArray[np.int64]) -> Dataset:
        """A data set of the images with these indices, int64 of shape (n,), in this order."""
        blocks = (self.images[indices[rows]] for rows in stretches(len(indices), self._image_bytes, _BLOCK_BYTES))
        images = collect(blocks, (len(indices), *self.images.shape[1:]))
        return replace(self, images=images, labels=self.labels[indices], _cached_at=None)


@dataclass(frozen=True, eq=False)
class Splits:
    """The splits of a data set; those that do not exist are None.

    Attributes:
        train: the training images.
        validation: held out of the training images, or the data's own; may influence training.
        test: never influences training.
        skipped: the files of a folder that could not be read and were left out, each with its reason.
        pack: the folder of the cache that the images are read from; None where they are read from their own files.
        notes: remarks on how the data were read, such as pictures whose shape was changed; one line each.
        fit: how images that were not square became square, as for `load`; None where that is still to be done.

    Raises:
        DataError: splits whose channels or classes differ from those of the training split.
    """

    train: Dataset
    validation: Dataset | None = None
    test: Dataset | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    pack: Path | None = None
    notes: tuple[str, ...] = ()
    fit: FitName | None = None

    def __post_init__(self) -> None:
        for name, split in (("train", "training"), ("validation", "validation"), ("test", "test")):
            dataset: Dataset | None = getattr(self, name)
            if dataset is None:
                continue
            if dataset.channels != self.train.channels:
                raise DataError(
                    f"{self.name}: {split} images have {dataset.channels} channels, expected {self.train.channels} as "
                    "the training images have; pass all grey or all in colour"
                )
            if difference := class_difference(dataset.classes, self.train.classes):
                raise DataError(
                    f"{self.name}: {split} classes differ from those of training: {difference}; give both alike"
                )
            if dataset.split != split:
                object.__setattr__(self, name, replace(dataset, split=split))

    @property
    def name(self) -> str:
        """The name of the data set."""
        return self.train.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class."""
        return self.train.classes

    @property
    def hashes(self) -> dict[str, str | None]:
        """The SHA-256 of each split by name, `train`, `validation` and `test`; None for one that does not exist."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split.sha256 if split else None for name, split in splits.items()}

    @property
    def is_large(self) -> bool:
        """Whether its images are mapped rather than kept in memory."""
        splits = filter(None, (self.train, self.validation, self.test))
        return sum(split.images.nbytes for split in splits) > mapped.LARGE_BYTES

    def resized(self, size: int) -> Splits:
        """Every split at size×size pixels."""
        validation, test = (split and split.resized(size) for split in (self.validation, self.test))
        return replace(self, train=self.train.resized(size), validation=validation, test=test)

    def hold_out(self, validation: float | None, seed: int, *, stratify: bool = True) -> Splits:
        """Move randomly chosen training images to the validation split.

        Args:
            validation: a count, or a fraction below 1 (rounded to the nearest count); 0 or None changes nothing.
            seed: decides which images.
            stratify: hold out each class in proportion to its size (Sainte-Laguë's rule). A class of two images or more
                has at least one on either side, as far as the counts allow. Otherwise classes are ignored.

        Raises:
            ConfigError: no image would be left to train on, or none would be held out; or the data have a validation
                split of their own.
        """
        if not validation:
            return self
        if self.validation is not None:
            raise ConfigError(
                f"validation: got {validation}, but the data have a validation part of their own; "
                "leave --validation out"
            )
        held_out, rest = _divide(self.train.labels, validation, seed, stratify=stratify)
        return replace(self, train=self.train.take(rest), validation=self.train.take(held_out))

    def keep(self, train_images: int | None, seed: int) -> Splits:
        """Use only this many training images, balanced across classes as far as possible.

        A smaller number selects a subset of a larger one.

        Args:
            train_images: how many images to keep; None changes nothing.
            seed: decides which images.

        Raises:
            ConfigError: the training split has fewer images.
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
        self, validation: float | None = None, seed: int = 0, train_images: int | None = None, *, stratify: bool = True
    ) -> Dataset:
        """The images to measure a network on: test, else validation as `hold_out` has it, else the training images."""
        measured = self.test or self.validation
        if measured is not None:
            return measured
        if validation:
            held_out, _ = _divide(self.train.labels, validation, seed, stratify=stratify)
            return replace(self.train.take(held_out), split="validation")
        return self.keep(train_images, seed).train


def held_out_count(validation: float, images: int) -> int:
    """How many of so many images are held out by a count, or by a fraction below 1, which is rounded."""
    return round(validation * images) if validation < 1 else int(validation)


def _divide(
    labels: NDArray[np.integer[Any]], validation: float, seed: int, *, stratify: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The indices of the images with these labels that are held out, and of the others; raises ConfigError."""
    total = len(labels)
    count = held_out_count(validation, total)
    if not 0 < count < total:
        raise ConfigError(
            f"validation: got {validation} of {total} images, expected at least 1 on either side; "
            "--validation 0 trains on all"
        )
    order = random_order(seed, Purpose.SPLIT, 0, total)
    if stratify:
        order = order[np.argsort(_shares(labels[order]), kind="stable")]
    return np.sort(order[:count]), np.sort(order[count:])


def _shares(labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """The fraction of its class that is held out with each image, minus half an image; the smallest are held out first.

    This is how Sainte-Laguë's rule assigns seats. The first image of a class precedes all others, its last one follows.
    """
    turns = _turns(labels)
    counts = np.bincount(labels)[labels]
    shares: NDArray[np.float64] = (turns + 0.5) / counts
    shares[turns == 0] = 0
    shares[turns == counts - 1] = 1
    return shares


def _turns(labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The number of preceding images of the same class, for each image; int64, the shape of the labels."""
    turns = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        turns[own] = np.arange(len(own))
    return turns
