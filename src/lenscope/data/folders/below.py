"""The pictures below a folder, whatever its layout: for predictions, which need no labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lenscope.data.folders.layout import SUFFIXES, is_folder, is_picture, leaves, visible
from lenscope.errors import DataError
from lenscope.text import encodable

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterator


def pictures_below(root: Path) -> Iterator[tuple[Path, DataError | None]]:
    """The files with a picture's suffix in a folder and its subfolders, sorted by the names on their paths.

    Hidden files and those that file managers create are left out. Links to folders are not followed, nor are links to
    files outside the folder.

    Yields:
        A file and None; or a link that leaves the folder, a folder that cannot be read, or the root itself if no
        picture is in it, and the error.
    """
    found = _walk(root)
    yield next(found, (root, DataError(f"{root}: no picture in it; expected {', '.join(SUFFIXES)}")))
    yield from found


def has_class_folders(folder: Path, classes: Collection[str]) -> bool:
    """Whether the subfolders of a folder are those of these classes; False for anything but a readable folder."""
    entries = (entry for entry in _entries(folder) if not isinstance(entry, tuple))
    return {encodable(entry.name) for entry in entries if is_folder(entry)} == set(classes)


def _walk(root: Path) -> Iterator[tuple[Path, DataError | None]]:
    waiting = _entries(root)
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, tuple):
            yield entry
            continue
        path, has_entries = Path(entry.path), is_folder(entry)
        if not has_entries and not is_picture(entry):
            continue
        if entry.is_symlink() and leaves(path, root):
            yield path, DataError(f"{path}: a link that leaves the folder; predict its target by its own path")
        elif not has_entries:
            yield path, None
        elif not entry.is_symlink():
            waiting += _entries(path)


def _entries(folder: Path) -> list[os.DirEntry[str] | tuple[Path, DataError]]:
    """The visible entries of a folder, the last name first; or the folder, and the reason why it cannot be read."""
    try:
        return [*reversed(visible(folder))]
    except DataError as error:
        return [(folder, error)]
