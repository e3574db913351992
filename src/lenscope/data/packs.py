"""Packs: data sets in the cache as plain bytes that are mapped, one file for each folder or published set.

The file `packs/ORIGIN/pack` of the cache, where ORIGIN is a hash of the path that the set is read from, contains

    the images of train, then those of validation and test: bytes of shape (N, C, H, W)
    their labels, little-endian, of the type that the JSON names
    JSON: the key, shape, counts, classes, which files were left out, notes, and the SHA-256 of each split
    the length of the JSON in 8 bytes, little-endian, and its SHA-256 in 32 bytes

The key is the SHA-256 of a listing: names, sizes, mtimes and ctimes of all files, and the version of this layout. A
pack with another key is out of date; a new one replaces it. Copies of the images at other sizes, `train-32.u8`, are in
the same folder (see `mapped.py`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lenscope.data.cache import cache_folder, explained, workspace
from lenscope.data.dataset import Dataset, Splits
from lenscope.data.mapped import map_bytes, stretches
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

LAYOUT = 5
SPLITS = ("train", "validation", "test")
LABELS = {"uint8": "<u1", "int64": "<i8"}
MAX_JSON_BYTES = 2**28  # ten thousand skipped files take four million
_END_BYTES = 8 + 32
_BLOCK_BYTES = 2**24


class Listing:
    """The files that a set is read from; its key changes when one of them does.

    Args:
        what: distinguishes sets that are read from the same files in different ways.
    """

    def __init__(self, what: str) -> None:
        self._digest = hashlib.sha256(f"{LAYOUT}\0{what}\n".encode(errors="surrogateescape"))

    def add(self, name: str, size: int, times: tuple[int, int]) -> None:
        """Add a file: its name, its size in bytes, and its mtime and ctime in nanoseconds.

        After a change, a program can restore the mtime (`touch -r`, `cp -p`), but not the ctime.
        """
        self._digest.update(f"{name}\0{size}\0{times[0]}\0{times[1]}\n".encode(errors="surrogateescape"))

    @property
    def key(self) -> str:
        """SHA-256 of the files so far, in hexadecimal."""
        return self._digest.hexdigest()


class Pack(NamedTuple):
    """Which pack is meant, and how its set is described.

    Attributes:
        folder: of the cache; it need not exist.
        key: of the listing.
        name: of the set.
        source: where the set came from.
        licence: of the data.
    """

    folder: Path
    key: str
    name: str
    source: str
    licence: str = ""


class Contents(NamedTuple):
    """What the JSON of a pack says, beside key, type of the labels and hashes.

    Attributes:
        shape: of an image: channels, height, width.
        images: the number of images of each split; only `train` must be there.
        classes: their names.
        skipped: the files that could not be read and were left out, each with its reason.
        notes: remarks on how the files were read.
    """

    shape: tuple[int, ...]
    images: Mapping[str, int]
    classes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def folder_of(origin: str) -> Path:
    """The folder of the cache for what is made from this path."""
    return cache_folder() / "packs" / hashlib.sha256(origin.encode(errors="surrogateescape")).hexdigest()[:32]


def open_pack(pack: Pack) -> Splits | None:
    """The splits of a pack, mapped; None where it is missing, out of date, or not as it was written.

    All bytes are read and compared with their SHA-256, which is faster than reading them from a disk.
    """
    with suppress(OSError, ValueError, TypeError, KeyError, DataError):
        content = map_bytes(pack.folder / "pack")
        found = _read_json(content)
        if found["key"] == pack.key:
            splits = _splits(content, found, pack)
            return splits if _hashes(splits) == found["sha256"] else None
    return None


def pack_splits(pack: Pack, splits: Splits) -> Splits:
    """Write a pack of splits and open it; the splits themselves where their images have two sizes.

    Raises:
        StorageError: the cache cannot be written.
    """
    datasets = [data for data in _each(splits).values() if data is not None]
    shape = splits.train.images.shape[1:]
    if any(data.images.shape[1:] != shape for data in datasets):
        return splits
    with explained(pack.folder), ExitStack() as stack:
        try:
            folder = stack.enter_context(workspace(pack.folder, wait=False))
        except OSError:  # another process writes it, or its folder belongs to another user
            return splits
        with (folder / "images").open("wb") as file:
            for data in datasets:
                for rows in stretches(len(data), math.prod(shape), _BLOCK_BYTES):
                    file.write(np.ascontiguousarray(data.images[rows]).data)
        counts = {split: len(data) for split, data in _each(splits).items() if data is not None}
        about = Contents(shape, counts, splits.classes, splits.skipped, splits.notes)
        finish_pack(pack, folder / "images", about, np.concatenate([data.labels for data in datasets]))
    return open_pack(pack) or splits


def keep_copies(pack: Pack, splits: Splits) -> Splits:
    """Splits that are mapped in place, with resized copies kept in the folder of their pack."""
    copies = {split: data and replace(data, _cached_at=pack.folder / split) for split, data in _each(splits).items()}
    return replace(splits, **copies)


def finish_pack(pack: Pack, images: str | Path, about: Contents, labels: NDArray[Any]) -> None:
    """Make a pack of a file in the folder's workspace that contains the images; raises OSError.

    Args:
        pack: which one.
        images: the file; it becomes the pack.
        about: what is in it.
        labels: of all images.
    """
    path = Path(images)
    found = {**about._asdict(), "key": pack.key, "labels": labels.dtype.name}
    _append(path, labels.astype(LABELS[labels.dtype.name]).tobytes())
    text = json.dumps({**found, "sha256": _hashes(_splits(map_bytes(path), found, pack))}).encode()
    _append(path, text + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest())
    path.replace(pack.folder / "pack")
    for outdated in pack.folder.glob("*-*.u8"):  # copies of the pack before
        outdated.unlink()


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read_json(content: memoryview) -> dict[str, Any]:
    """What the JSON of a pack says; raises ValueError where it is not as it was written."""
    size, digest = int.from_bytes(content[-_END_BYTES:-32], "little"), content[-32:]
    text = bytes(content[-_END_BYTES - min(size, MAX_JSON_BYTES) : -_END_BYTES])
    if hashlib.sha256(text).digest() != digest:
        raise ValueError("not as it was written")
    found: dict[str, Any] = json.loads(text)
    return found


def _splits(content: memoryview, found: Mapping[str, Any], pack: Pack) -> Splits:
    shape, counts = tuple(found["shape"]), found["images"]
    total, image_bytes = sum(counts.values()), math.prod(shape)
    labels = np.frombuffer(content, LABELS[found["labels"]], total, total * image_bytes).astype(found["labels"])
    made: dict[str, Dataset] = {}
    done = 0
    for split, count in counts.items():
        images = np.frombuffer(content, np.uint8, count * image_bytes, done * image_bytes).reshape(count, *shape)
        own = labels[done : done + count]
        made[split] = Dataset(
            images, own, tuple(found["classes"]), pack.name, pack.source, pack.licence, _cached_at=pack.folder / split
        )
        done += count
    skipped = tuple((path, reason) for path, reason in found["skipped"])
    return Splits(
        made["train"], made.get("validation"), made.get("test"), skipped, pack=pack.folder, notes=tuple(found["notes"])
    )


def _hashes(splits: Splits) -> dict[str, str]:
    return {split: data.sha256 for split, data in _each(splits).items() if data}


def _each(splits: Splits) -> dict[str, Any]:
    return {split: getattr(splits, split) for split in SPLITS}
