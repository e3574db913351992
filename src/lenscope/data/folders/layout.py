"""What the folders of a data set mean: its splits, its classes, and its table of labels if it has one.

    <class>/*.png                              all are training images
    train/<class>/*.png, val/…, test/…         under any of the names in PARTS, in any capitals
    train/*.png or images/*.png and a CSV      whose columns name the file and its label, as on Kaggle or Hugging Face

A folder that contains only another folder is replaced by that one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lenscope.data.folders.labels import IMAGE_WORDS, Labels, labels_pictures, read_labels, words
from lenscope.data.folders.labels import PARTS as PART_WORDS
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

LAYOUT = "<class>/*.png, or train/<class>/*.png with val and test alike, or pictures and a CSV of filename,label"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")  # of the formats of `pictures.py`
UNREAD = (".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd")  # pictures, too; refused by name when they are decoded
PARTS = PART_WORDS | {"seg_train": "train", "seg_test": "test"}  # names of folders
UNLABELLED = ("seg_pred", "unlabeled", "unlabelled")  # folders beside the parts
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
    "*.npz": "NumPy arrays; load them in Python and pass lenscope.train((images, labels))",
    "*.npy": "NumPy arrays; load them in Python and pass lenscope.train((images, labels))",
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
    folders = [entry.name for entry in visible(root) if is_folder(entry)]
    parts = _parts(root, folders)
    train = root / parts.get("train", "")
    inner = visible(train) if not leaves(train, root) else []
    inside = [entry.name for entry in inner if is_folder(entry)]
    classes = [name for name in inside if not is_for_images(name) and _has_picture(train / name)]
    if not classes:
        _refuse(root, ANNOTATIONS)
    tables, others = _tables(root, parts), list[Path]()
    pictures = _picture_paths(root) if tables else []
    if (classes or _outer(train, inside)) and not parts:
        others = [table for table in tables if not labels_pictures(table, pictures)]
    labelling = [table for table in tables if table not in others]
    if labelling and (not parts or all(map(is_for_images, inside))):
        labels = read_labels(root, parts, labelling, pictures)
        return Layout(root, parts, _sorted(labels.classes), labels.notes, labels)
    _require_classes(root, train, inside, inner, folders)
    flat = [split for split, name in parts.items() if split != "train" and _is_flat(root / name, root)]
    notes = [f"{table.name} does not say what the pictures are; the folders are the classes" for table in others]
    notes += [f"{parts[split]} has no class folders, so its pictures have no labels; it is ignored" for split in flat]
    notes += [f"{name} has no labels; it is ignored" for name in folders if parts and name.lower() in UNLABELLED]
    kept = {split: name for split, name in (parts or {"train": ""}).items() if split not in flat}
    return Layout(root, kept, _sorted(inside), tuple(notes))


def _require_classes(
    root: Path, train: Path, inside: list[str], inner: list[os.DirEntry[str]], folders: list[str]
) -> None:
    """Raise DataError where no folder in the folder of train can be a class."""
    if train == root and len(folders) == 1 and folders[0].lower() in PARTS:
        raise DataError(f"{root}: no folder 'train' in it; expected {LAYOUT}")
    if outer := _outer(train, inside):
        raise DataError(f"{train}: its folder {outer} has the class folders; give {train / outer}")
    if all(map(is_for_images, inside)) and (inside or any(map(is_picture, inner))):
        raise DataError(
            f"{train}: pictures without class folders or a CSV of labels; {_SORT}, or add labels.csv with "
            "filename,label"
        )
    if train == root and not inside:
        _refuse(root, ARCHIVES)
        raise DataError(f"{root}: no folder 'train' and no class folder in it; expected {LAYOUT}")


def _outer(train: Path, inside: list[str]) -> str:
    """The folder for images that has folders and no picture, so that these may be the classes; else nothing."""
    for name in filter(is_for_images, inside):
        entries = visible(train / name) if not leaves(train / name, train) else []
        if any(map(is_folder, entries)) and not any(map(is_picture, entries)):
            return name
    return ""


def is_for_images(name: str) -> bool:
    """Whether the name of a folder says that it contains images, and not which."""
    return not IMAGE_WORDS.isdisjoint(words(name))


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
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES + UNREAD and not is_folder(entry)  # noqa: PTH122 - a Path per file is slow


def leaves(path: Path, root: Path) -> bool:
    """Whether a path is outside the root after links are resolved."""
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _unwrapped(folder: Path) -> Path:
    """The folder, or the one that is alone in it and contains folders, as in an unpacked zip."""
    while True:
        entries = visible(folder)
        if len(entries) != 1 or not is_folder(entries[0]) or entries[0].name.lower() in PARTS:
            return folder
        inner = folder / entries[0].name
        if leaves(inner, folder) or not any(map(is_folder, visible(inner))):
            return folder
        folder = inner


def _parts(root: Path, folders: list[str]) -> dict[str, str]:
    """The folder of each split, if there is one of `train`; one of the same name alone in it replaces it."""
    parts = dict[str, str]()
    for name in folders:
        split = PARTS.get(name.lower())
        if split in parts:
            raise DataError(f"{root}: two folders for one split, {parts[split]} and {name}; move one away")
        if split:
            alone = not leaves(root / name, root) and [entry.name for entry in visible(root / name)] == [name]
            parts[split] = f"{name}/{name}" if alone and (root / name / name).is_dir() else name
    return parts if "train" in parts else {}


def _has_picture(folder: Path) -> bool:
    with suppress(OSError), os.scandir(folder) as found:  # `visible` reports it later
        return any(map(is_picture, found))
    return False


def _tables(root: Path, parts: dict[str, str]) -> list[Path]:
    """The CSV files in the root, and in the folders of splits those that have a known name."""
    beside = [root / entry.name for entry in visible(root) if entry.name.lower().endswith(".csv")]
    inside = [root / part / name for part in parts.values() for name in ("metadata.csv", "_classes.csv")]
    tables = [path for path in (*beside, *inside) if path.is_file()]
    for table in tables:
        if leaves(table, root):
            raise DataError(f"{table}: a link that leaves the folder; replace it by the file")
    return tables


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
