"""What the folders of a data set mean: its splits, its classes, and its table of labels if it has one.

    <class>/*.png                              all are training images
    train/<class>/*.png, val/…, test/…         under any of the names in PARTS, in any capitals
    train/*.png or images/*.png and a CSV      whose columns name the file and its label, as on Kaggle or Hugging Face

A folder that contains only another folder is replaced by that one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lenscope.data.folders.labels import PARTS as PART_WORDS
from lenscope.data.folders.labels import Labels, names_pictures, read_labels
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

LAYOUT = "<class>/*.png, or train/<class>/*.png with val and test alike, or pictures and a CSV of filename,label"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")  # of the formats of `pictures.py`
PARTS = PART_WORDS | {"seg_train": "train", "seg_test": "test"}  # names of folders
UNLABELLED = ("seg_pred", "unlabeled", "unlabelled")  # folders beside the parts
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpg", "pictures", "photos")
_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}
_SORT = "sort the pictures into a folder per class"
# Found beside pictures, these say what the pictures show in a way that is not read.
ANNOTATIONS = {
    "annotations/*.json": f"COCO annotations of objects; {_SORT}",
    "_annotations.coco.json": f"COCO annotations of objects; {_SORT}",
    "*/_annotations.coco.json": f"COCO annotations of objects; {_SORT}",
    "data.yaml": f"YOLO labels of objects; {_SORT}",
    "labels/*.txt": f"YOLO labels of objects; {_SORT}",
    "labels/*/*.txt": f"YOLO labels of objects; {_SORT}",
    "metadata.jsonl": "labels as JSON lines; save them as metadata.csv with file_name,label",
    "*/metadata.jsonl": "labels as JSON lines; save them as metadata.csv with file_name,label",
    "data/*.parquet": "pictures in Parquet files; save them as files in a folder per class",
    "*.mat": f"labels in a MATLAB file; {_SORT}",
}
# Found in a folder without pictures.
ARCHIVES = {
    "*.parquet": "pictures in Parquet files; save them as files in a folder per class",
    "*.zip": "a zip archive; unpack it and give the folder",
    "*.tar*": "a tar archive; unpack it and give the folder, with a folder per class",
    "*.npz": "NumPy arrays; load them in Python and pass lenscope.Dataset",
    "*.npy": "NumPy arrays; load them in Python and pass lenscope.Dataset",
    "*.pkl": "a pickle, which can run code; save the pictures as files in a folder per class",
    "*.pickle": "a pickle, which can run code; save the pictures as files in a folder per class",
    "*.tfrecord*": "TFRecord files; save the pictures as files in a folder per class",
}


@dataclass(frozen=True)
class Layout:
    """Where the pictures of each split and class are.

    Attributes:
        root: the folder, without folders around it.
        parts: the folder of each split, relative to the root; empty for the root itself.
        classes: their names.
        notes: what was left out, one line each.
        labels: the files and labels from a table; None where class folders say them.
    """

    root: Path
    parts: dict[str, str]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    labels: Labels | None = None


def find_layout(folder: Path) -> Layout:
    """The layout of a folder.

    Raises:
        DataError: a folder that cannot be read, another layout, or a table of labels that cannot be read.
    """
    root = _unwrapped(folder)
    _refuse(root, ANNOTATIONS)
    folders = [entry.name for entry in visible(root) if is_folder(entry)]
    parts = _parts(root, folders)
    others = [name for name in folders if name.lower() not in PARTS]
    if parts and "train" not in parts:
        raise DataError(f"{root}: no folder 'train' in it; expected {LAYOUT}")
    train = parts.get("train", "")
    inner = visible(root / train) if not leaves(root / train, root) else []
    classes = [entry.name for entry in inner if is_folder(entry)]
    tables = [path for path in _tables(root, parts) if path.is_file()]
    for table in tables:
        if leaves(table, root):
            raise DataError(f"{table}: a link that leaves the folder; replace it by the file")
    pictures_alone = any(map(is_picture, inner)) and not classes
    image_folder = not parts and any(name.lower() in IMAGE_FOLDERS for name in others)
    if tables and (pictures_alone or image_folder or (not parts and any(map(names_pictures, tables)))):
        labels = read_labels(root, parts, tables, _picture_paths(root))
        return Layout(root, parts, _sorted(labels.classes), labels.notes, labels)
    if pictures_alone:
        raise DataError(
            f"{root / train}: pictures without class folders or a CSV of labels; {_SORT}, or add labels.csv with "
            "filename,label"
        )
    if not parts and not classes:
        _refuse(root, ARCHIVES)
        raise DataError(f"{root}: no folder 'train' and no class folder in it; expected {LAYOUT}")
    without = [split for split, name in parts.items() if split != "train" and _is_flat(root / name, root)]
    notes = [f"{parts[split]} has no class folders, so its pictures have no labels; it is ignored" for split in without]
    notes += [f"{name} has no labels; it is ignored" for name in others if parts and name.lower() in UNLABELLED]
    kept = {split: name for split, name in (parts or {"train": ""}).items() if split not in without}
    return Layout(root, kept, _sorted(classes), tuple(notes))


def visible(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, without files that file managers create."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}; check its permissions") from None
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in _CLUTTER]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_picture(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file with the ending of a picture."""
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES and not is_folder(entry)  # noqa: PTH122 - a Path per file is slow


def leaves(path: Path, root: Path) -> bool:
    """Whether a path is outside the root after links are resolved."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _unwrapped(folder: Path) -> Path:
    """The folder, or the one that is alone in it and contains folders, as in an unpacked zip."""
    entries = visible(folder)
    if len(entries) == 1 and is_folder(entries[0]) and entries[0].name.lower() not in PARTS:
        inner = folder / entries[0].name
        if not leaves(inner, folder) and any(map(is_folder, visible(inner))):
            return _unwrapped(inner)
    return folder


def _parts(root: Path, folders: list[str]) -> dict[str, str]:
    """The folder of each split; `seg_train/seg_train` is that of `train`."""
    parts = dict[str, str]()
    for name in folders:
        split = PARTS.get(name.lower())
        if split in parts:
            raise DataError(f"{root}: two folders for one split, {parts[split]} and {name}; move one away")
        if split:
            parts[split] = f"{name}/{name}" if (root / name / name).is_dir() else name
    return parts


def _tables(root: Path, parts: dict[str, str]) -> list[Path]:
    beside = [root / entry.name for entry in visible(root) if entry.name.lower().endswith(".csv")]
    return beside + [root / part / name for part in parts.values() for name in ("metadata.csv", "_classes.csv")]


def _picture_paths(root: Path) -> list[str]:
    found, waiting = list[str](), [""]
    while waiting:
        folder = waiting.pop()
        for entry in visible(root / folder):
            if is_picture(entry):
                found.append(f"{folder}{entry.name}")
            elif is_folder(entry) and not entry.is_symlink():
                waiting.append(f"{folder}{entry.name}/")
    return sorted(found)


def _is_flat(folder: Path, root: Path) -> bool:
    """Whether a folder contains pictures and no folder."""
    entries = [] if leaves(folder, root) else visible(folder)
    return any(map(is_picture, entries)) and not any(map(is_folder, entries))


def _refuse(root: Path, formats: dict[str, str]) -> None:
    for pattern, what in formats.items():
        if found := next(root.glob(pattern), None):
            raise DataError(f"{root}: {found.relative_to(root).as_posix()} is not read: {what}")


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    """Names sorted by number if all are whole numbers, else by name."""
    found = sorted(names)
    if all(name.isascii() and name.isdecimal() for name in found):
        found.sort(key=lambda name: (int(name), name))
    return tuple(found)
