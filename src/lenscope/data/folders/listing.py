"""The pictures and the defects of a folder, whatever its layout is.

A folder may contain millions of files, so the entries of class folders are read class by class and not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.data.checks import normal
from lenscope.data.folders.layout import LAYOUT, PARTS, SUFFIXES, UNLABELLED, is_folder, is_picture, leaves, visible
from lenscope.data.packs import SPLITS, Listing
from lenscope.text import counted

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from lenscope.data.folders.labels import Labels
    from lenscope.data.folders.layout import Layout

SHOWN_DEFECTS = 10
EXPECTED = f"expected {', '.join(SUFFIXES)}"


class Picture(NamedTuple):
    """A file that should contain a picture.

    Attributes:
        path: relative to the folder, with `/` between names.
        split: `train`, `validation` or `test`.
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
        layout: of the folder.
        key: of its pack.
        counts: for each split, the number of files per class, int64 of shape (classes,).
        defects: files and folders that are out of place.
        file_bytes: the size of all files together.
    """

    layout: Layout
    key: str
    counts: dict[str, NDArray[np.int64]]
    defects: tuple[Defect, ...]
    file_bytes: int

    @property
    def root(self) -> Path:
        """The folder, without folders around it."""
        return self.layout.root

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.layout.classes

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, and the classes that a split other than train lacks; one line each."""
        lacking = tuple(
            f"{split} has no pictures of {', '.join(names[:SHOWN_DEFECTS])}; its accuracy is measured without them"
            for split, counts in self.counts.items()
            if split != "train" and (names := [self.classes[label] for label in np.flatnonzero(counts == 0)])
        )
        return self.layout.notes + lacking

    @property
    def files(self) -> int:
        """The number of files."""
        return sum(int(counts.sum()) for counts in self.counts.values())

    def pictures(self) -> Iterator[Picture]:
        """The files in their order, read from the folder again."""
        return (found for found in walk(self.layout) if isinstance(found, Picture))

    def without(self, unreadable: list[int]) -> tuple[NDArray[np.int64], dict[str, int]]:
        """The labels of all files but these, and the number of remaining files of each split that has any."""
        numbers = np.arange(len(self.layout.classes))
        each = [np.repeat(numbers, self.counts[split]) for split in SPLITS if split in self.counts]
        there = np.delete(np.arange(self.files), unreadable)
        ends = np.searchsorted(
            there, np.cumsum([self.counts[split].sum() if split in self.counts else 0 for split in SPLITS])
        )
        images = {split: int(count) for split, count in zip(SPLITS, np.diff(ends, prepend=0), strict=True) if count}
        return np.concatenate([np.empty(0, np.int64), *each])[there], images


def list_folder(layout: Layout, fit: str = "squeeze") -> Listed:
    """Read every file's name, size and times; raises DataError for a folder that cannot be read.

    `fit` is how its pictures are made square, on which the key depends.
    """
    counts: dict[str, NDArray[np.int64]] = {}
    defects: list[Defect] = []
    classes = "\0".join(layout.classes)  # a table can give other names to the same pictures
    file_bytes, listing = 0, Listing(f"{layout.root.resolve()}\0{fit}\0{classes}")
    for found in walk(layout):
        if isinstance(found, Defect):
            defects.append(found)
        else:
            counts.setdefault(found.split, np.zeros(len(layout.classes), np.int64))[found.label] += 1
            listing.add(f"{found.path}\0{found.split}\0{found.label}", found.size, found.times)
            file_bytes += found.size
    return Listed(layout, listing.key, counts, tuple(defects), file_bytes)


def walk(layout: Layout) -> Iterator[Picture | Defect]:
    """Pictures by split, class and path, and defects; raises DataError."""
    if layout.labels:
        yield from _walk_labels(layout, layout.labels)
        return
    root = layout.root
    for entry in visible(root):
        name = entry.name.lower()
        if layout.parts != {"train": ""} and is_folder(entry) != (name in PARTS) and name not in UNLABELLED:
            yield Defect(entry.name, "expected only folders of splits, train, val and test; move it away")
    if not layout.classes:
        yield Defect("train", "no class folder in it; add one with its pictures")
    for split in SPLITS:
        if split not in layout.parts:
            continue
        if leaves(root / layout.parts[split], root):
            yield Defect(layout.parts[split], "a link that leaves the folder")
        else:
            yield from _walk_split(layout, split)


def summary(root: Path, defects: Sequence[tuple[str, str]]) -> str:
    """Defects in one line, the first ten by name."""
    return f"{root}: {counted(len(defects), 'defect')}, expected {LAYOUT}: {_named(defects)}"


def skipped_note(skipped: Sequence[tuple[str, str]]) -> str:
    """The files that were left out, in one line, the first ten by name with the reason."""
    return f"left out {counted(len(skipped), 'unreadable picture')}: {_named(skipped)}"


def _named(defects: Sequence[tuple[str, str]]) -> str:
    named = [f"{path}: {reason}" for path, reason in defects[:SHOWN_DEFECTS]]
    more = [f"and {len(defects) - SHOWN_DEFECTS} more"] if len(defects) > SHOWN_DEFECTS else []
    return "; ".join(named + more)


def _walk_split(layout: Layout, split: str) -> Iterator[Picture | Defect]:
    """The pictures and defects of a split.

    Class folders are identified by their normalized names: copied from another system, a name may have other bytes.
    """
    root, part = layout.root, layout.parts[split]
    prefix = f"{part}/" if part else ""
    known, folders = set(map(normal, layout.classes)), dict[str, str]()
    for entry in visible(root / part):
        if not is_folder(entry):
            if is_picture(entry):
                yield Defect(f"{prefix}{entry.name}", "not in a class folder; move it into one")
        elif normal(entry.name) not in known:
            yield Defect(f"{prefix}{entry.name}", f"class only in {part}; expected one of train's")
        elif folders.setdefault(normal(entry.name), entry.name) != entry.name:
            yield Defect(
                f"{prefix}{entry.name}",
                "equal to the name of another class except for its encoding; move both into one folder",
            )
    if split != "train" and not folders:
        yield Defect(part, "no class folder in it; add pictures or remove the folder")
    for label, name in enumerate(layout.classes):
        yield from _walk_class(root, f"{prefix}{folders.get(normal(name), name)}", split, label)


def _walk_class(root: Path, folder: str, split: str, label: int) -> Iterator[Picture | Defect]:
    if leaves(root / folder, root):
        yield Defect(folder, "a link that leaves the folder")
        return
    entries = visible(root / folder) if (root / folder).is_dir() else []
    if not entries and split == "train":
        yield Defect(folder, "no image in it; add pictures or remove the folder of this class")
    for entry in entries:
        path = f"{folder}/{entry.name}"
        # Only links can leave the folder; resolving the path of every file took longer than reading it.
        if entry.is_symlink() and leaves(root / path, root):
            yield Defect(path, "a link that leaves the folder")
        elif is_picture(entry):
            yield Picture(path, split, label, *_size_and_times(entry))
        else:
            what = "a folder in a class; move its pictures up" if is_folder(entry) else f"not a picture; {EXPECTED}"
            yield Defect(path, what)


def _walk_labels(layout: Layout, labels: Labels) -> Iterator[Picture | Defect]:
    """The pictures of a table of labels, and its defects."""
    yield from (Defect(*problem) for problem in labels.problems)
    numbers = {name: number for number, name in enumerate(layout.classes)}
    for split in SPLITS:
        rows = sorted(labels.rows.get(split, {}).items(), key=lambda row: (numbers.get(row[1], -1), row[0]))
        for path, name in rows:
            if leaves(layout.root / path, layout.root):
                yield Defect(path, "a link that leaves the folder")
            elif name not in numbers:
                yield Defect(path, f"class {name} only in {split}; expected one of train's")
            else:
                yield Picture(path, split, numbers[name], *_size_and_times(layout.root / path))


def _size_and_times(entry: os.DirEntry[str] | Path) -> tuple[int, tuple[int, int]]:
    try:
        found = entry.stat()
    except OSError:
        return -1, (-1, -1)
    return found.st_size, (found.st_mtime_ns, found.st_ctime_ns)
