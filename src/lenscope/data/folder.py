"""A folder of images, `train/<class>/*.png` and `test/<class>/*.png`, as a data set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.dataset import Dataset, Splits, resize
from lenscope.data.pictures import SUFFIXES, read_picture
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LAYOUT = "train/<class>/*.png and, where there is a test part, test/<class>/*.png"
PARTS = ("train", "test")
MIXED_SIZE = 32
MAX_BYTES = 2**32
SHOWN_DEFECTS = 10
_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True)
class _Image:
    path: Path
    part: str
    label: int


@dataclass(frozen=True)
class _Defect:
    path: Path
    reason: str


def load_folder(path: Path) -> Splits:
    """The images of a folder in the layout `train/<class>/*.png`, `test/<class>/*.png` (or another of SUFFIXES).

    The classes are those of `train`, in the order of their numbers if all are whole numbers, else of their names.
    Images of one size keep it; of several sizes, each is resized to 32×32 as Pillow's `BILINEAR` does. If every image
    is grey there is one channel, else three. Hidden files (`.DS_Store`), `Thumbs.db`, `desktop.ini` and files beside
    `train` and `test` (a README) are not looked at; everything else that is no image in its class is a defect.

    Args:
        path: the folder that holds `train`.

    Returns:
        Train and test: images uint8 (N, C, H, W), labels int64 (N,), by class and file name; test is None if absent.

    Raises:
        DataError: all defects in one line, the first ten named.
    """
    if not (path / "train").is_dir():
        raise DataError(f"{path}: no folder 'train' in it; expected {LAYOUT}")
    classes = _classes(path / "train")
    found = list(_walk(path, classes))
    images = [item for item in found if isinstance(item, _Image)]
    pictures, broken = _read(images, path)
    defects = [item for item in found if isinstance(item, _Defect)] + broken
    if defects:
        raise DataError(_summary(path, defects))
    stack = _stack(pictures)
    parts = {part: _part(stack, images, part, classes, path) for part in PARTS if (path / part).is_dir()}
    return Splits(parts["train"], test=parts.get("test"))


def _classes(train: Path) -> tuple[str, ...]:
    names = [entry.name for entry in _visible(train) if entry.is_dir()]
    if all(name.isascii() and name.isdecimal() for name in names):
        names.sort(key=lambda name: (int(name), name))
    return tuple(names)


def _walk(root: Path, classes: tuple[str, ...]) -> Iterator[_Image | _Defect]:
    for entry in _visible(root):
        if entry.is_dir() != (entry.name in PARTS):
            yield _Defect(entry, f"expected the folders {' and '.join(PARTS)} alone")
    if not classes:
        yield _Defect(root / "train", "no class folder in it")
    for part in PARTS:
        if _leaves(root / part, root):
            yield _Defect(root / part, "a link that leaves the folder")
        elif (root / part).is_dir():
            yield from _walk_part(root, part, classes)


def _walk_part(root: Path, part: str, classes: tuple[str, ...]) -> Iterator[_Image | _Defect]:
    for entry in _visible(root / part):
        if not entry.is_dir():
            yield _Defect(entry, "not in a class folder")
        elif entry.name not in classes:
            yield _Defect(entry, f"class only in {part}; expected one of train's")
    for label, name in enumerate(classes):
        yield from _walk_class(root, root / part / name, part, label)


def _walk_class(root: Path, folder: Path, part: str, label: int) -> Iterator[_Image | _Defect]:
    if _leaves(folder, root):
        yield _Defect(folder, "a link that leaves the folder")
        return
    entries = _visible(folder) if folder.is_dir() else []
    if not entries:
        yield _Defect(folder, "no image in it")
    for entry in entries:
        if _leaves(entry, root):
            yield _Defect(entry, "a link that leaves the folder")
        elif entry.suffix.lower() in SUFFIXES and not entry.is_dir():
            yield _Image(entry, part, label)
        else:
            yield _Defect(entry, f"not a picture; expected {', '.join(SUFFIXES)}")


def _visible(folder: Path) -> list[Path]:
    """What a folder holds, sorted by name, without the clutter that file managers leave."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}; check its permissions") from None
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _CLUTTER]


def _leaves(path: Path, root: Path) -> bool:
    """Whether a path lies outside the root once links are followed."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _read(images: list[_Image], root: Path) -> tuple[list[NDArray[np.uint8]], list[_Defect]]:
    """The pictures, all of one size, and those that could not be read."""
    pictures: list[NDArray[np.uint8]] = []
    broken = []
    for image in images:
        try:
            pictures = _added(pictures, read_picture(image.path))
        except DataError as error:
            broken.append(_Defect(image.path, str(error).removeprefix(f"{image.path}: ")))
        if pictures and pictures[-1].nbytes * len(pictures) > MAX_BYTES:
            raise DataError(f"{root}: its pictures take more than {MAX_BYTES} bytes; make them smaller")
    return pictures, broken


def _added(pictures: list[NDArray[np.uint8]], picture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """One more picture in the list; all are shrunk as soon as a second size turns up, so that memory stays small."""
    if pictures and picture.shape[:2] != pictures[0].shape[:2]:
        picture = _shrunk(picture)
        if picture.shape[:2] != pictures[0].shape[:2]:
            pictures = [_shrunk(earlier) for earlier in pictures]
    pictures.append(picture)
    return pictures


def _shrunk(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    layers = picture.reshape(*picture.shape[:2], -1).transpose(2, 0, 1)
    shrunk: NDArray[np.uint8] = resize(layers[None], MIXED_SIZE)[0].transpose(1, 2, 0)
    return shrunk.reshape(MIXED_SIZE, MIXED_SIZE, *picture.shape[2:])


def _stack(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures as (N, 1, H, W) if all are grey, else as (N, 3, H, W)."""
    if all(picture.ndim == 2 for picture in pictures):
        return np.stack(pictures)[:, None]
    height, width = pictures[0].shape[:2]
    images = np.empty((len(pictures), 3, height, width), dtype=np.uint8)
    for image, picture in zip(images, pictures, strict=True):
        image[:] = picture if picture.ndim == 2 else picture.transpose(2, 0, 1)
    return images


def _part(stack: NDArray[np.uint8], images: list[_Image], part: str, classes: tuple[str, ...], root: Path) -> Dataset:
    chosen = np.array([image.part == part for image in images])
    labels = np.array([image.label for image in images], dtype=np.int64)
    return Dataset(stack[chosen], labels[chosen], classes, name=root.resolve().name, source=str(root.resolve()))


def _summary(root: Path, defects: list[_Defect]) -> str:
    named = [f"{_shown(defect.path.relative_to(root))}: {defect.reason}" for defect in defects[:SHOWN_DEFECTS]]
    more = [f"and {len(defects) - SHOWN_DEFECTS} more"] if len(defects) > SHOWN_DEFECTS else []
    count = "1 defect" if len(defects) == 1 else f"{len(defects)} defects"
    return f"{root}: {count}, expected {LAYOUT}: {'; '.join(named + more)}"


def _shown(path: Path) -> str:
    """A path on one line, whatever its name holds."""
    return str(path) if str(path).isprintable() else ascii(str(path))
