"""Packs: data sets in the cache as plain bytes, found again by what they were made of, and read in place.

A pack is a folder `packs/KEY` of the cache. The key is the SHA-256 of a listing: where the files lie that the set is
read from, their names, sizes, mtimes and ctimes, and the version of this layout.

    images.u8      the images of train, then those of test: bytes of shape (N, C, H, W)
    labels         one for each, of the type that pack.json names, little-endian
    pack.json      shape, counts, classes, SHA-256, which files were left out; written last: without it there is no pack
    train-32.u8    the same images at another size, once they were asked for, and 32 bytes of SHA-256 (see mapped.py)
    source         the path that it was made from, so that it goes when a newer one of the same path comes
    work/          what a pack of pictures has so far, to go on from (see packing.py)
"""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.data.cache import cache_folder, explained, held
from lenscope.data.dataset import Dataset, Kept, Splits
from lenscope.data.mapped import has_size, map_file, stretches, write_whole
from lenscope.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LAYOUT = 2
PARTS = ("train", "test")
LABELS = {"uint8": "<u1", "int64": "<i8"}
MAX_JSON_BYTES = 2**28  # ten thousand files that were left out take four million
_BLOCK_BYTES = 2**24


@dataclass(frozen=True)
class Facts:
    """What `pack.json` says.

    Attributes:
        shape: of an image: channels, height, width.
        images: how many of each part; no test part where there is none.
        classes: their names.
        labels: the type of the labels.
        skipped: the files that could not be read and were left out, each with its reason.
        sha256: of each part, as `Dataset.sha256` has it.
    """

    shape: tuple[int, ...]
    images: dict[str, int]
    classes: tuple[str, ...]
    labels: str
    skipped: tuple[tuple[str, str], ...] = ()
    sha256: dict[str, str] = field(default_factory=dict)


class Listing:
    """What a set is read from, file by file, of which its key is made.

    Args:
        what: tells sets apart that are read from the same files in another way, or from folders of the same files.
    """

    def __init__(self, what: str) -> None:
        self._digest = hashlib.sha256(f"{LAYOUT}\0{what}\n".encode(errors="surrogateescape"))

    def add(self, name: str, size: int, times: tuple[int, int]) -> None:
        """The next file: its name, its size in bytes, and its mtime and ctime in nanoseconds.

        A program can set the first one back after it changed a file (`touch -r`, `cp -p`), but not the second one.
        """
        self._digest.update(f"{name}\0{size}\0{times[0]}\0{times[1]}\n".encode(errors="surrogateescape"))

    @property
    def key(self) -> str:
        """Of the files so far."""
        return self._digest.hexdigest()


def folder_of(key: str) -> Path:
    """Where the pack of a key is, or would be."""
    return cache_folder() / "packs" / key[:32]


def _find_pack(key: str) -> Facts | None:
    """What the pack of a key holds; None where there is none, or one that is not whole."""
    folder = folder_of(key)
    try:
        facts = _decode((folder / "pack.json").read_bytes()[:MAX_JSON_BYTES])
        count, width = sum(facts.images.values()), np.dtype(LABELS[facts.labels]).itemsize
    except (OSError, ValueError, TypeError, KeyError):
        return None
    sizes = {"images.u8": count * math.prod(facts.shape), "labels": count * width}
    return facts if all(has_size(folder / name, size) for name, size in sizes.items()) else None


def open_pack(key: str, name: str, source: str, licence: str = "") -> Splits | None:
    """The parts of a pack, mapped; None where there is none, or one that does not hold what was written.

    All of its bytes are read and compared with their SHA-256, which takes less time than reading them from a disk.

    Args:
        key: of its listing.
        name: what the set is called.
        source: where it came from.
        licence: of the data.
    """
    facts = _find_pack(key)
    with suppress(OSError, ValueError, KeyError, DataError):  # it may go at any time, or have been forged
        splits = _splits(key, facts, name, source, licence) if facts else None
        return splits if splits and facts and _hashes(splits) == facts.sha256 else None
    return None


def _hashes(splits: Splits) -> dict[str, str]:
    return {part: data.sha256 for part, data in zip(PARTS, (splits.train, splits.test), strict=True) if data}


def _splits(key: str, facts: Facts, name: str, source: str, licence: str) -> Splits | None:
    folder, done = folder_of(key), 0
    labels = np.fromfile(folder / "labels", LABELS[facts.labels]).astype(facts.labels, copy=False)
    if not 0 <= labels.min() <= labels.max() < len(facts.classes):
        return None
    parts: dict[str, Dataset] = {}
    for part in PARTS[: len(facts.images)]:
        count = facts.images[part]
        images = map_file(folder / "images.u8", (count, *facts.shape), done * math.prod(facts.shape))
        kept, own = Kept(folder / part, packed=True), labels[done : done + count]
        parts[part] = Dataset(images, own, facts.classes, name, source, licence, _kept=kept)
        done += count
    return Splits(parts["train"], test=parts.get("test"), skipped=facts.skipped)


def keep(key: str, splits: Splits, origin: str) -> Splits:
    """Make a pack of parts that were read, and give them back as they lie in it; as they were where none can be made.

    Args:
        key: of its listing.
        splits: train and test; of images of two sizes no pack is made.
        origin: the path that they were read from.

    Raises:
        StorageError: there is no room for it.
    """
    parts = [part for part in (splits.train, splits.test) if part is not None]
    shape = splits.train.images.shape[1:]
    with held(folder_of(key)) as own:
        if not own or any(part.images.shape[1:] != shape for part in parts):
            return splits
        each = math.prod(shape)
        blocks = (part.images[rows] for part in parts for rows in stretches(len(part), each, _BLOCK_BYTES))
        write_whole(folder_of(key) / "images.u8", blocks)
        labels = np.concatenate([part.labels for part in parts])
        images = dict(zip(PARTS, map(len, parts), strict=False))
        complete(key, Facts(shape, images, splits.classes, labels.dtype.name), labels, origin)
    train = splits.train
    return open_pack(key, train.name, train.source, train.licence) or splits


def attach(key: str, splits: Splits, origin: str) -> Splits:
    """Parts that are mapped where they lie, so that what is made of them is kept where their pack would be."""
    with held(folder_of(key)) as own:
        if own and not (folder_of(key) / "source").exists():
            _replace_older(folder_of(key), origin)
    train = replace(splits.train, _kept=Kept(folder_of(key) / "train"))
    return replace(splits, train=train, test=splits.test and replace(splits.test, _kept=Kept(folder_of(key) / "test")))


def complete(key: str, facts: Facts, labels: NDArray[Any], origin: str) -> None:
    """Write what belongs to `images.u8`, so that there is a pack; to be called while its folder is held.

    Args:
        key: of its listing.
        facts: all but the hashes.
        labels: of all images.
        origin: the path that it is made from.

    Raises:
        StorageError: there is no room for it.
    """
    folder = folder_of(key)
    with explained(folder):
        for derived in folder.glob("*-*.u8"):  # of a pack that was broken
            derived.unlink()
    write_whole(folder / "labels", [labels.astype(LABELS[facts.labels]).tobytes()])
    found = _splits(key, facts, "", "", "")
    assert found is not None  # noqa: S101 - for the type checker: the labels are within the classes
    write_whole(folder / "pack.json", [_encode(replace(facts, sha256=_hashes(found)))])
    _replace_older(folder, origin)


def note_source(folder: Path, origin: str) -> None:
    """Write what a pack is made from, finished or not; raises StorageError."""
    write_whole(folder / "source", [origin.encode(errors="surrogateescape")])


def _replace_older(folder: Path, origin: str) -> None:
    """Delete the packs that were made earlier from the same path, and that nobody writes."""
    note_source(folder, origin)
    content = (folder / "source").read_bytes()
    older = [path.parent for path in folder.parent.glob("*/source") if path.parent != folder]
    for pack in older:
        with suppress(OSError):  # another process may delete it, too
            if (pack / "source").read_bytes() == content:
                _delete(pack)


def _delete(pack: Path) -> None:
    with held(pack) as own:
        if own:
            rmtree(pack, ignore_errors=True)


def _encode(facts: Facts) -> bytes:
    text = json.dumps(asdict(facts), sort_keys=True)
    return json.dumps({"facts": json.loads(text), "sha256": _digest(text)}, sort_keys=True, indent=1).encode()


def _decode(content: bytes) -> Facts:
    whole = json.loads(content)
    found = whole["facts"]
    if _digest(json.dumps(found, sort_keys=True)) != whole["sha256"]:
        raise ValueError("not as it was written")
    lists = {name: tuple(found[name]) for name in ("shape", "classes")}
    return Facts(**found | lists | {"skipped": tuple((path, reason) for path, reason in found["skipped"])})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
