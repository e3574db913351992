"""A pack made of a folder of pictures: in parallel, a little at a time, so that it can go on after an interruption.

In the pack's `work/` lie the images so far, in a file that is named by their shape, and `progress.json`, which says how
many files were read, how many images came of them, and which could not be read. It is written every second or so,
after what it tells of is durable; what the file of images holds beyond it is cut off when packing goes on.
"""

from __future__ import annotations

import json
import math
import os
from collections import deque
from contextlib import closing, suppress
from dataclasses import dataclass, field
from shutil import rmtree
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lenscope.data import packs
from lenscope.data.cache import explained, held
from lenscope.data.decoding import decode_all
from lenscope.data.listing import Defect, Picture, walk
from lenscope.data.mapped import write_whole
from lenscope.data.stack import File, Stack
from lenscope.environment import usable_processors
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from lenscope.data.listing import Listed

    Tell = Callable[[str, int, int], object]

NOTED_SECONDS = 1.0
MOST_UNREADABLE = 10_000
# A picture of one colour takes 100 bytes a million pixels; whole folders of real ones stay far below.
MAX_RATIO, SMALL_BYTES = 100, 2**32


def pack_folder(listed: Listed, tell: Tell) -> list[Defect]:
    """Make the pack of a folder, or go on with it; none comes of a folder without training images that can be read.

    Args:
        listed: the folder.
        tell: called with what is being done, how much of it is done, and of how much.

    Returns:
        The pictures that cannot be read, which the pack lacks.

    Raises:
        DataError: a folder that changes meanwhile, or more pixels than pictures of such files have.
        StorageError: the cache cannot be written.
    """
    folder = packs.folder_of(listed.key)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with held(folder) as own:
        if own:
            return _pack(listed, folder / "work", tell)
    tell("waiting for another process that packs the same folder", 0, 0)
    with held(folder, wait=True) as own:
        if own:
            return _pack(listed, folder / "work", tell)
    # Without locks each process has a place of its own for its work, and cannot go on with another's.
    work = folder / f"work-{uuid4().hex}"
    try:
        return _pack(listed, work, tell)
    finally:
        rmtree(work, ignore_errors=True)


def _pack(listed: Listed, work: Path, tell: Tell) -> list[Defect]:
    found = packs.open_pack(listed.key, "", "")
    if found is not None:  # another process has made it meanwhile
        return [Defect(*skipped) for skipped in found.skipped]
    with explained(work):
        work.mkdir(exist_ok=True)
        packs.note_source(work.parent, str(listed.root.resolve()))
        progress = _read_progress(work)
        if progress and not (work / _name(progress.shape)).exists():  # it was ended while it completed a pack
            with suppress(FileNotFoundError):
                (work.parent / "images.u8").replace(work / _name(progress.shape))
        if progress is None or not _is_there(work, progress):
            rmtree(work)
            work.mkdir()
            progress = _Progress()
        with closing(_Work(work, progress)) as unfinished:
            _read_rest(listed, unfinished, tell)
        _complete(listed, work, progress)
    return [Defect(path, reason) for _, path, reason in progress.unreadable]


@dataclass
class _Progress:
    """What `progress.json` says: files read, images that came of them, of which shape, and which could not be read."""

    files: int = 0
    count: int = 0
    shape: tuple[int, int, int] = (0, 0, 0)
    mixed: bool = False
    unreadable: list[tuple[int, str, str]] = field(default_factory=list)  # which file, its path, the reason


class _Work:
    """The images so far and the note of them."""

    def __init__(self, folder: Path, progress: _Progress) -> None:
        self._folder, self.progress = folder, progress
        file = None
        if progress.count:
            file = (folder / _name(progress.shape)).open("r+b")
            file.truncate(progress.count * math.prod(progress.shape))
            file.seek(0, os.SEEK_END)
        self._stack = Stack(self._new_file, file, progress.shape, progress.count)
        self._stack.mixed = progress.mixed
        self._noted = monotonic()

    def _new_file(self, shape: tuple[int, int, int]) -> File:
        return (self._folder / _name(shape)).open("w+b")

    @property
    def nbytes(self) -> int:
        return self._stack.nbytes

    def wants_small(self) -> bool:
        return self._stack.mixed

    def add(self, path: str, found: NDArray[np.uint8] | str) -> None:
        """What came of the next file."""
        progress = self.progress
        if isinstance(found, str):
            progress.unreadable.append((progress.files, path, found))
        else:
            self._stack.add(found)
        progress.files += 1
        if monotonic() - self._noted > NOTED_SECONDS:
            self.note()

    def note(self) -> None:
        """Make durable what is done, then say so."""
        progress, stack = self.progress, self._stack
        if stack.file is not None:
            stack.file.flush()
            os.fsync(stack.file.fileno())
        progress.count, progress.shape, progress.mixed = stack.count, stack.shape, stack.mixed
        write_whole(self._folder / "progress.json", [json.dumps(vars(progress)).encode()])
        self._noted = monotonic()

    def close(self) -> None:
        if self._stack.file is not None:
            self._stack.file.close()


def _read_rest(listed: Listed, work: _Work, tell: Tell) -> None:
    """Read the files that were not read yet."""
    again, paths = packs.Listing(str(listed.root.resolve())), deque[str]()
    is_broken = (packs.folder_of(listed.key) / "pack.json").exists()
    what = f"packing {listed.root.name}{' anew, since its pack is broken' if is_broken else ''}"

    def files() -> Iterator[tuple[str, int]]:
        for number, picture in enumerate(_pictures(listed)):
            again.add(picture.path, picture.size, picture.times)
            if number >= begun:
                paths.append(picture.path)
                yield str(listed.root / picture.path), picture.size

    begun = work.progress.files
    most = max(SMALL_BYTES, MAX_RATIO * listed.file_bytes)
    tell(what, begun, listed.files)
    for found in decode_all(files(), usable_processors(), work.wants_small):
        work.add(paths.popleft(), found)
        if work.nbytes > most:
            raise DataError(f"{listed.root}: its pictures take more than {most} bytes; make them smaller")
        if len(work.progress.unreadable) > MOST_UNREADABLE:
            raise DataError(
                f"{listed.root}: more than {MOST_UNREADABLE:,} pictures cannot be read; is it the right one?"
            )
        tell(what, work.progress.files, listed.files)
    if again.key != listed.key:
        raise DataError(f"{listed.root}: files in it changed while they were packed; start again")
    work.note()


def _complete(listed: Listed, work: Path, progress: _Progress) -> None:
    """Make a pack of what was read; unless that is no training image at all."""
    labels, images = listed.without([number for number, _, _ in progress.unreadable])
    if "train" not in images:
        return
    (work / _name(progress.shape)).replace(work.parent / "images.u8")
    skipped = tuple((path, reason) for _, path, reason in progress.unreadable)
    facts = packs.Facts(progress.shape, images, listed.classes, labels.dtype.name, skipped)
    packs.complete(listed.key, facts, labels, str(listed.root.resolve()))
    rmtree(work)


def _read_progress(work: Path) -> _Progress | None:
    """What was noted; None for nothing, or for nonsense."""
    try:
        found: dict[str, Any] = json.loads((work / "progress.json").read_bytes()[: packs.MAX_JSON_BYTES])
        channels, height, width = found["shape"]
        unreadable = [(int(number), str(path), str(reason)) for number, path, reason in found["unreadable"]]
        numbers = int(found["files"]), int(found["count"])
        shape = (int(channels), int(height), int(width))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return _Progress(*numbers, shape, bool(found["mixed"]), unreadable)


def _is_there(work: Path, progress: _Progress) -> bool:
    """Whether the files hold at least what was noted."""
    path = work / _name(progress.shape)
    size = progress.count * math.prod(progress.shape)
    whole = progress.files == progress.count + len(progress.unreadable)
    return whole and (not size or (path.is_file() and path.stat().st_size >= size))


def _name(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


def _pictures(listed: Listed) -> Iterator[Picture]:
    return (found for found in walk(listed.root, listed.classes) if isinstance(found, Picture))
