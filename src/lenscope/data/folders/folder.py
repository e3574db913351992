"""A folder of pictures as a data set."""

from __future__ import annotations

import io
import itertools
import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data import mapped, packs
from lenscope.data.cache import explained, workspace
from lenscope.data.dataset import Dataset, Splits
from lenscope.data.fit import KEEP_SHAPE
from lenscope.data.folders.decoding import decode, decode_all
from lenscope.data.folders.layout import find_layout
from lenscope.data.folders.listing import Defect, list_folder, summary
from lenscope.data.folders.stack import Stack
from lenscope.environment import usable_processors
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from lenscope.config import FitName
    from lenscope.data.folders.decoding import Decoded
    from lenscope.data.folders.listing import Listed

    Skipped = tuple[tuple[str, str], ...]
    Oblong = tuple[int, str]  # how many pictures are not square, and the first of them
    Progress = Callable[[str, int, int], object]

# No pack is made of folders with at most this many files: they are read in a second or so.
FEW_FILES = 4_096
MOST_UNREADABLE = 10_000
# A picture of one colour takes 100 bytes per million pixels; whole folders of real pictures stay far below.
MAX_RATIO, SMALL_BYTES = 100, 2**32


def load_folder(
    path: Path,
    *,
    skip_unreadable: bool = False,
    pack: bool = False,
    fit: FitName = "squeeze",
    progress: Progress = lambda _what, _done, _of: None,
) -> Splits:
    """The images of a folder in one of the layouts that `layout.py` describes.

    The classes are those of `train`, sorted by number if all are whole numbers, else by name. Images of a single size
    keep it; of several sizes, each is resized to 32×32 as by Pillow's `BILINEAR`. If every image is grey there is one
    channel, else three. Hidden files (`.DS_Store`), `Thumbs.db`, `desktop.ini` and files next to the folders (a
    README) are ignored; everything else that is not an image in its class is a defect.

    If there are more than FEW_FILES files, or more pixels than memory should hold, a pack is made in the cache, once,
    and mapped.

    Args:
        path: the folder.
        skip_unreadable: leave out pictures that cannot be read instead of raising an error.
        pack: make a pack in any case.
        fit: how pictures that are not square become square.
        progress: called with a description, how many files are done, and how many there are.

    Returns:
        Train, validation and test: images uint8 (N, C, H, W), labels int64 (N,), by class and file name; the last two
        are None if absent. `notes` has what was left out, and how many pictures were squeezed to a square.

    Raises:
        DataError: all defects in one line, the first ten by name; or the folder changed while it was packed.
        StorageError: a pack is needed, and the cache cannot be written.
    """
    listed = list_folder(find_layout(path), fit)
    source = str(path.resolve())
    about = packs.Pack(packs.folder_of(source), listed.key, path.resolve().name, source)
    splits = packs.open_pack(about)
    unreadable = splits.skipped if splits else ()
    if splits is None and not pack and listed.files <= FEW_FILES:
        splits, unreadable = _read(listed, about, fit)
    if splits is None and not unreadable and "train" in listed.counts:
        unreadable = _pack(listed, about, fit, progress)
        splits = packs.open_pack(about)
    defects = [*listed.defects, *unreadable]
    if listed.defects or (defects and (splits is None or not skip_unreadable)):
        raise DataError(summary(path, defects))
    if splits is None:
        raise DataError(f"{path}: its pack in the cache was deleted meanwhile; start again")
    height, width = splits.train.images.shape[2:]
    is_squeezed = height == width and len(splits.notes) > 0
    settled = fit if fit != "squeeze" or is_squeezed else None
    return replace(splits, notes=listed.notes + splits.notes, fit=settled)


def _read(listed: Listed, about: packs.Pack, fit: FitName) -> tuple[Splits | None, Skipped]:
    """The pictures in memory, and which cannot be read; None and nothing where they are too large together."""
    stack, unreadable = Stack(io.BytesIO), dict[int, Defect]()

    def decoded() -> Iterator[Decoded]:
        for picture in listed.pictures():
            if stack.nbytes > mapped.LARGE_BYTES:
                return
            yield decode(listed.root / picture.path, shrink=stack.is_mixed, fit=fit)

    squeezed = _fill(stack, unreadable, listed, decoded())
    if stack.nbytes > mapped.LARGE_BYTES:
        return None, ()
    skipped = tuple(unreadable.values())
    labels, counts = listed.without([*unreadable])
    if "train" not in counts:
        return None, skipped
    ends = np.cumsum([*counts.values()])[:-1]
    parts = zip(counts, np.split(stack.images(), ends), np.split(labels, ends), strict=True)
    made = {split: Dataset(images, own, listed.classes, about.name, about.source) for split, images, own in parts}
    notes = _squeeze_note(squeezed, listed.files, fit)
    return Splits(made["train"], made.get("validation"), made.get("test"), skipped, notes=notes), skipped


def _pack(listed: Listed, pack: packs.Pack, fit: FitName, progress: Progress) -> Skipped:
    """Make the pack of a folder, unless there is no training image that can be read.

    Returns:
        The pictures that cannot be read.
    """

    def waiting() -> None:
        progress("waiting for another process that packs the same folder", 0, 0)

    with explained(pack.folder), workspace(pack.folder, waiting) as folder:
        found = packs.open_pack(pack)
        if found is not None:  # another process has made it meanwhile
            return found.skipped
        numbers = itertools.count()

        def new_file() -> io.BufferedRandom:
            return (folder / f"images-{next(numbers)}").open("w+b")

        with closing(Stack(new_file)) as stack:
            unreadable, squeezed = _decode_in_pool(listed, stack, folder / "paths", fit, progress)
        if list_folder(listed.layout, fit).key != listed.key:
            raise DataError(f"{listed.root}: files in it changed while they were packed; start again")
        labels, counts = listed.without([*unreadable])
        if "train" in counts:
            notes = _squeeze_note(squeezed, listed.files, fit)
            about = packs.Contents(stack.shape, counts, listed.classes, tuple(unreadable.values()), notes)
            packs.finish_pack(pack, stack.file.name, about, labels)
    return tuple(unreadable.values())


def _decode_in_pool(
    listed: Listed, stack: Stack, paths: Path, fit: FitName, progress: Progress
) -> tuple[dict[int, Defect], Oblong]:
    """Add the pictures to a stack; returns those that cannot be read, by their number, and those not square."""
    unreadable = dict[int, Defect]()
    with paths.open("w", encoding="ascii") as file:
        file.writelines(json.dumps(str(listed.root / picture.path)) + "\n" for picture in listed.pictures())

    def decoded() -> Generator[Decoded]:
        progress(f"packing {listed.root.name}", 0, listed.files)
        most = max(SMALL_BYTES, MAX_RATIO * listed.file_bytes)
        pictures = decode_all(paths, listed.files, usable_processors(), lambda: stack.is_mixed, fit)
        for done, found in enumerate(pictures, start=1):
            yield found
            if stack.nbytes > most:
                raise DataError(f"{listed.root}: its pictures take more than {most:,} bytes; make them smaller")
            if len(unreadable) > MOST_UNREADABLE:
                raise DataError(
                    f"{listed.root}: more than {MOST_UNREADABLE:,} pictures cannot be read; is it the right folder?"
                )
            progress(f"packing {listed.root.name}", done, listed.files)

    with closing(decoded()) as found:  # which ends the processes
        return unreadable, _fill(stack, unreadable, listed, found)


def _fill(stack: Stack, unreadable: dict[int, Defect], listed: Listed, decoded: Iterable[Decoded]) -> Oblong:
    """Add what was decoded, in the order of the files, to a stack or to the unreadable ones.

    Returns:
        How many pictures were not square, and the path and size of the first.
    """
    count, first = 0, ""
    for number, (found, picture) in enumerate(zip(decoded, listed.pictures(), strict=False)):
        if isinstance(found, str):
            unreadable[number] = Defect(picture.path, found)
        else:
            pixels, (height, width) = found
            stack.add(pixels)
            if height != width:
                count, first = count + 1, first or f"{picture.path} ({width}×{height})"
    return count, first


def _squeeze_note(oblong: Oblong, files: int, fit: FitName) -> tuple[str, ...]:
    count, first = oblong
    if fit != "squeeze" or not count:
        return ()
    return (
        f"{count:,} of {files:,} pictures are not square, such as {first}, and are squeezed to a square; {KEEP_SHAPE}",
    )
