"""The pictures and the defects of a folder in the layout `train/<class>/*.png` and `test/<class>/*.png`.

A folder may contain millions of files, so its entries are read class by class and not kept.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.data.checks import normal
from lenscope.data.packs import SPLITS, Listing
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

LAYOUT = "train/<class>/*.png and, if there is a test split, test/<class>/*.png"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")  # of the formats of `pictures.py`
SHOWN_DEFECTS = 10
_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}


class Picture(NamedTuple):
    """A file that should contain a picture.

    Attributes:
        path: relative to the folder, with `/` between names.
        split: `train` or `test`.
        label: the index of its class.
        size: in bytes; −1 for a dangling link.
        times: mtime and ctime in nanoseconds.
    """

    path: str
    split: str
    label: int
    size: int
    times: tuple[int, int]


class Defect(NamedTuple):
    """A file or folder that is out of place or cannot be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Listed:
    """A folder before its pictures are read.

    Attributes:
        root: the folder.
        classes: their names.
        key: of its pack.
        counts: for each split, the number of files per class, int64 of shape (classes,).
        defects: files and folders that are out of place.
        file_bytes: the size of all files together.
    """

    root: Path
    classes: tuple[str, ...]
    key: str
    counts: dict[str, NDArray[np.int64]]
    defects: tuple[Defect, ...]
    file_bytes: int

    @property
    def files(self) -> int:
        """The number of files."""
        return sum(int(counts.sum()) for counts in self.counts.values())

    def pictures(self) -> Iterator[Picture]:
        """The files in their order, read from the folder again."""
        return (found for found in walk(self.root, self.classes) if isinstance(found, Picture))

    def without(self, unreadable: list[int]) -> tuple[NDArray[np.int64], dict[str, int]]:
        """The labels of all files but these, and the number of remaining files of each split that has any."""
        numbers = np.arange(len(self.classes))
        each = [np.repeat(numbers, self.counts[split]) for split in SPLITS if split in self.counts]
        there = np.delete(np.arange(self.files), unreadable)
        train = int(np.searchsorted(there, self.counts["train"].sum() if "train" in self.counts else 0))
        images = {split: count for split, count in zip(SPLITS, (train, len(there) - train), strict=True) if count}
        return np.concatenate([np.empty(0, np.int64), *each])[there], images


def list_folder(root: Path, classes: tuple[str, ...]) -> Listed:
    """Read every file's name, size and times; raises DataError for a folder that cannot be read."""
    counts: dict[str, NDArray[np.int64]] = {}
    defects: list[Defect] = []
    file_bytes, listing = 0, Listing(str(root.resolve()))
    for found in walk(root, classes):
        if isinstance(found, Defect):
            defects.append(found)
        else:
            counts.setdefault(found.split, np.zeros(len(classes), np.int64))[found.label] += 1
            listing.add(found.path, found.size, found.times)
            file_bytes += found.size
    return Listed(root, classes, listing.key, counts, tuple(defects), file_bytes)


def find_classes(root: Path) -> tuple[str, ...]:
    """The classes of `train`, sorted by number if all are whole numbers, else by name.

    Raises:
        DataError: no folder `train`, or one that cannot be read.
    """
    if not (root / "train").is_dir():
        raise DataError(f"{root}: no folder 'train' in it; expected {LAYOUT}")
    names = [entry.name for entry in _visible(root / "train") if _is_folder(entry)]
    if all(name.isascii() and name.isdecimal() for name in names):
        names.sort(key=lambda name: (int(name), name))
    return tuple(names)


def walk(root: Path, classes: tuple[str, ...]) -> Iterator[Picture | Defect]:
    """Pictures by split, class and file name, and defects; raises DataError."""
    for entry in _visible(root):
        if _is_folder(entry) != (entry.name in SPLITS):
            yield Defect(entry.name, f"expected only the folders {' and '.join(SPLITS)}")
    if not classes:
        yield Defect("train", "no class folder in it")
    for split in SPLITS:
        if _leaves(root / split, root):
            yield Defect(split, "a link that leaves the folder")
        elif (root / split).is_dir():
            yield from _walk_split(root, split, classes)


def summary(root: Path, defects: Sequence[tuple[str, str]]) -> str:
    """Defects in one line, the first ten by name."""
    count = "1 defect" if len(defects) == 1 else f"{len(defects)} defects"
    return f"{root}: {count}, expected {LAYOUT}: {_named(defects)}"


def skipped_note(skipped: Sequence[tuple[str, str]]) -> str:
    """The files that were left out, in one line, the first ten by name with the reason."""
    count = "1 unreadable picture" if len(skipped) == 1 else f"{len(skipped):,} unreadable pictures"
    return f"left out {count}: {_named(skipped)}"


def _named(defects: Sequence[tuple[str, str]]) -> str:
    named = [f"{path}: {reason}" for path, reason in defects[:SHOWN_DEFECTS]]
    more = [f"and {len(defects) - SHOWN_DEFECTS} more"] if len(defects) > SHOWN_DEFECTS else []
    return "; ".join(named + more)


def _walk_split(root: Path, split: str, classes: tuple[str, ...]) -> Iterator[Picture | Defect]:
    """The pictures and defects of a split.

    Class folders are identified by their normalized names: copied from another system, a name may have other bytes.
    """
    known, folders = set(map(normal, classes)), dict[str, str]()
    for entry in _visible(root / split):
        if not _is_folder(entry):
            yield Defect(f"{split}/{entry.name}", "not in a class folder")
        elif normal(entry.name) not in known:
            yield Defect(f"{split}/{entry.name}", f"class only in {split}; expected one of train's")
        elif folders.setdefault(normal(entry.name), entry.name) != entry.name:
            yield Defect(
                f"{split}/{entry.name}",
                "equal to the name of another class except for its encoding; move both into one folder",
            )
    for label, name in enumerate(classes):
        yield from _walk_class(root, f"{split}/{folders.get(normal(name), name)}", split, label)


def _walk_class(root: Path, folder: str, split: str, label: int) -> Iterator[Picture | Defect]:
    if _leaves(root / folder, root):
        yield Defect(folder, "a link that leaves the folder")
        return
    entries = _visible(root / folder) if (root / folder).is_dir() else []
    if not entries:
        yield Defect(folder, "no image in it")
    for entry in entries:
        path = f"{folder}/{entry.name}"
        # Only links can leave the folder; resolving the path of every file took longer than reading it.
        if entry.is_symlink() and _leaves(root / path, root):
            yield Defect(path, "a link that leaves the folder")
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and not _is_folder(entry):  # noqa: PTH122 - a Path per file is slow
            yield Picture(path, split, label, *_size_and_times(entry))
        else:
            yield Defect(path, f"not a picture; expected {', '.join(SUFFIXES)}")


def _size_and_times(entry: os.DirEntry[str]) -> tuple[int, tuple[int, int]]:
    try:
        found = entry.stat()
    except OSError:
        return -1, (-1, -1)
    return found.st_size, (found.st_mtime_ns, found.st_ctime_ns)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, without files that file managers create."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}; check its permissions") from None
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _CLUTTER]


def _leaves(path: Path, root: Path) -> bool:
    """Whether a path is outside the root after links are resolved."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
