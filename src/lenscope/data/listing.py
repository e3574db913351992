"""What a folder of pictures holds, and what in it is out of place: `train/<class>/*.png` and `test/<class>/*.png`.

A folder may hold millions of files, so that its entries come one class after another and are not kept.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.data.checks import normal
from lenscope.data.packs import Listing
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

LAYOUT = "train/<class>/*.png and, where there is a test part, test/<class>/*.png"
PARTS = ("train", "test")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")  # of the formats of `pictures.py`
SHOWN_DEFECTS = 10
_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}


class Picture(NamedTuple):
    """A file that should hold a picture.

    Attributes:
        path: below the folder, with `/` between names.
        part: `train` or `test`.
        label: the number of its class.
        size: in bytes; −1 for a link to nothing.
        times: mtime and ctime in nanoseconds.
    """

    path: str
    part: str
    label: int
    size: int
    times: tuple[int, int]


@dataclass(frozen=True)
class Defect:
    """What is out of place in a folder, or cannot be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Listed:
    """What is known of a folder before its pictures are read.

    Attributes:
        root: the folder.
        classes: their names.
        key: of its pack.
        counts: how many files each part has of each class, int64 of shape (classes,) each.
        file_bytes: of all files.
        defects: what is out of place.
    """

    root: Path
    classes: tuple[str, ...]
    key: str
    counts: dict[str, NDArray[np.int64]]
    file_bytes: int
    defects: tuple[Defect, ...]

    @property
    def files(self) -> int:
        """How many there are."""
        return sum(int(counts.sum()) for counts in self.counts.values())

    def without(self, unreadable: list[int]) -> tuple[NDArray[np.int64], dict[str, int]]:
        """The labels of all files but these, in their order, and how many are left of each part that has any."""
        numbers = np.arange(len(self.classes))
        each = [np.repeat(numbers, self.counts[part]) for part in PARTS if part in self.counts]
        there = np.delete(np.arange(self.files), unreadable)
        train = int(np.searchsorted(there, self.counts["train"].sum() if "train" in self.counts else 0))
        images = {part: count for part, count in zip(PARTS, (train, len(there) - train), strict=True) if count}
        return np.concatenate([np.empty(0, np.int64), *each])[there], images


def list_folder(root: Path, classes: tuple[str, ...]) -> Listed:
    """Look at every file's name, size and time; raises DataError for a folder that cannot be read."""
    counts: dict[str, NDArray[np.int64]] = {}
    defects: list[Defect] = []
    total = 0
    listing = Listing(str(root.resolve()))
    for found in walk(root, classes):
        if isinstance(found, Defect):
            defects.append(found)
        else:
            counts.setdefault(found.part, np.zeros(len(classes), np.int64))[found.label] += 1
            total += max(found.size, 0)
            listing.add(found.path, found.size, found.times)
    return Listed(root, classes, listing.key, counts, total, tuple(defects))


def find_classes(root: Path) -> tuple[str, ...]:
    """The classes of `train`, in the order of their numbers if all are whole numbers, else of their names.

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
    """Pictures by part, class and file name, among them what is out of place; raises DataError."""
    for entry in _visible(root):
        if _is_folder(entry) != (entry.name in PARTS):
            yield Defect(entry.name, f"expected the folders {' and '.join(PARTS)} alone")
    if not classes:
        yield Defect("train", "no class folder in it")
    for part in PARTS:
        if _leaves(root / part, root):
            yield Defect(part, "a link that leaves the folder")
        elif (root / part).is_dir():
            yield from _walk_part(root, part, classes)


def summary(root: Path, defects: list[Defect]) -> str:
    """Defects in one line, the first ten by name."""
    named = [f"{defect.path}: {defect.reason}" for defect in defects[:SHOWN_DEFECTS]]
    more = [f"and {len(defects) - SHOWN_DEFECTS} more"] if len(defects) > SHOWN_DEFECTS else []
    count = "1 defect" if len(defects) == 1 else f"{len(defects)} defects"
    return f"{root}: {count}, expected {LAYOUT}: {'; '.join(named + more)}"


def tell_skipped(skipped: Iterable[tuple[str, str]]) -> str:
    """Which files were left out, in one line, the first ten by name with the reason."""
    told = [f"{path}: {reason}" for path, reason in skipped]
    more = [f"and {len(told) - SHOWN_DEFECTS} more"] if len(told) > SHOWN_DEFECTS else []
    count = "1 unreadable picture" if len(told) == 1 else f"{len(told):,} unreadable pictures"
    return f"left out {count}: {'; '.join(told[:SHOWN_DEFECTS] + more)}"


def _walk_part(root: Path, part: str, classes: tuple[str, ...]) -> Iterator[Picture | Defect]:
    """Its class folders are told by their normal names: copied from another system, a name may have other bytes."""
    known, folders = set(map(normal, classes)), dict[str, str]()
    for entry in _visible(root / part):
        if not _is_folder(entry):
            yield Defect(f"{part}/{entry.name}", "not in a class folder")
        elif normal(entry.name) not in known:
            yield Defect(f"{part}/{entry.name}", f"class only in {part}; expected one of train's")
        elif folders.setdefault(normal(entry.name), entry.name) != entry.name:
            yield Defect(f"{part}/{entry.name}", "the same name as another class's in other bytes; move both into one")
    for label, name in enumerate(classes):
        yield from _walk_class(root, f"{part}/{folders.get(normal(name), name)}", part, label)


def _walk_class(root: Path, folder: str, part: str, label: int) -> Iterator[Picture | Defect]:
    if _leaves(root / folder, root):
        yield Defect(folder, "a link that leaves the folder")
        return
    entries = _visible(root / folder) if (root / folder).is_dir() else []
    if not entries:
        yield Defect(folder, "no image in it")
    for entry in entries:
        path = f"{folder}/{entry.name}"
        # What is no link lies where its folder does; to follow the path of each file took longer than to read it.
        if entry.is_symlink() and _leaves(root / path, root):
            yield Defect(path, "a link that leaves the folder")
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and not _is_folder(entry):  # noqa: PTH122 - no Path a file
            yield Picture(path, part, label, *_size_and_times(entry))
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
    """What a folder holds, sorted by name, without the clutter that file managers leave."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}; check its permissions") from None
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _CLUTTER]


def _leaves(path: Path, root: Path) -> bool:
    """Whether a path lies outside the root once links are followed."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
