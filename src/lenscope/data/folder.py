"""A folder of images, `train/<class>/*.png` and `test/<class>/*.png`, as a data set."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data import mapped, packs
from lenscope.data.dataset import Dataset, Splits
from lenscope.data.decoding import decode
from lenscope.data.listing import PARTS, Defect, Picture, find_classes, list_folder, summary, walk
from lenscope.data.packing import pack_folder
from lenscope.data.stack import Stack
from lenscope.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.data.listing import Listed
    from lenscope.data.packing import Tell

# Of so few files that they are read in a second or so each time, no pack is made.
FEW_FILES = 4_096


def load_folder(
    path: Path, *, skip_unreadable: bool = False, pack: bool = False, tell: Tell = lambda _what, _done, _of: None
) -> Splits:
    """The images of a folder in the layout `train/<class>/*.png`, `test/<class>/*.png` (or another of SUFFIXES).

    The classes are those of `train`, in the order of their numbers if all are whole numbers, else of their names.
    Images of one size keep it; of several sizes, each is resized to 32×32 as Pillow's `BILINEAR` does. If every image
    is grey there is one channel, else three. Hidden files (`.DS_Store`), `Thumbs.db`, `desktop.ini` and files beside
    `train` and `test` (a README) are not looked at; everything else that is no image in its class is a defect.

    Of more than FEW_FILES files, or more pixels than memory should hold, a pack is made in the cache, once, and mapped.

    Args:
        path: the folder that holds `train`.
        skip_unreadable: leave out pictures that cannot be read, instead of refusing the folder.
        pack: make a pack in any case.
        tell: called with what is being done, how much of it is done, and of how much.

    Returns:
        Train and test: images uint8 (N, C, H, W), labels int64 (N,), by class and file name; test is None if absent.

    Raises:
        DataError: all defects in one line, the first ten named.
        StorageError: a pack is needed, and the cache cannot be written.
    """
    listed = list_folder(path, find_classes(path))
    where = path.resolve().name, str(path.resolve())
    splits = packs.open_pack(listed.key, *where)
    if splits is None and not pack and listed.files <= FEW_FILES:
        splits, unreadable = _read(listed, *where)
    else:
        unreadable = [Defect(*skipped) for skipped in splits.skipped] if splits else []
    if splits is None and not unreadable and "train" in listed.counts:
        unreadable = pack_folder(listed, tell)
        splits = packs.open_pack(listed.key, *where)
    defects = [*listed.defects, *unreadable]
    if listed.defects or (defects and (splits is None or not skip_unreadable)):
        raise DataError(summary(path, defects))
    if splits is None:
        raise DataError(f"{path}: its pack in the cache was deleted meanwhile; start again")
    return splits


def _read(listed: Listed, name: str, source: str) -> tuple[Splits | None, list[Defect]]:
    """The pictures in memory, and which cannot be read; neither where they are too large together."""
    stack, unreadable = Stack(lambda _shape: io.BytesIO()), {}
    pictures = (found for found in walk(listed.root, listed.classes) if isinstance(found, Picture))
    for number, picture in enumerate(pictures):
        found = decode(listed.root / picture.path, shrink=stack.mixed)
        if isinstance(found, str):
            unreadable[number] = Defect(picture.path, found)
        else:
            stack.add(found)
        if stack.nbytes > mapped.LARGE_BYTES:
            return None, []
    labels, counts = listed.without([*unreadable])
    defects = [*unreadable.values()]
    if "train" not in counts:
        return None, defects
    parts = zip(PARTS, np.split(stack.images(), [counts["train"]]), np.split(labels, [counts["train"]]), strict=True)
    made = {part: Dataset(images, own, listed.classes, name, source) for part, images, own in parts if len(own)}
    skipped = tuple((defect.path, defect.reason) for defect in defects)
    return Splits(made["train"], test=made.get("test"), skipped=skipped), defects
