"""Finding the files of a published data set on this computer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lenscope.data.cache import cache_folder
from lenscope.data.published.catalogue import BUNDLED, find_entry
from lenscope.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lenscope.data.published.entry import DataFile, Entry


def locate(name: str, data_dir: Path | None = None) -> dict[str, Path] | None:
    """The files of a data set that are already on this computer.

    They are looked for, compressed or not, in `data_dir` (and there in torchvision's layout), the package (MNIST), the
    cache, torchvision's layout in `./data` and `.`, and the folders of Debian's packages; all must be in one folder.

    Returns:
        The path of each file by its published name, or None if no folder contains all files.

    Raises:
        UsageError: an unknown name, or a `data_dir` that is not a folder.
    """
    entry = find_entry(name)
    if data_dir is not None and not data_dir.is_dir():
        raise UsageError(f"{data_dir}: not a folder; --data-dir is the folder that contains the files of {entry.name}")
    for folder in _folders(entry, data_dir):
        found = {file.name: _find(folder, file) for file in entry.files}
        if all(found.values()):
            return {file: path for file, path in found.items() if path}
    return None


def find_file(folder: Path, name: str) -> Path | None:
    """A file under one of its usual names: compressed or not, `-idx3-ubyte` or `.idx3-ubyte`; None if absent."""
    dotted = name.replace("-idx", ".idx")
    names = (name, dotted, name.removesuffix(".gz"), dotted.removesuffix(".gz"))
    return next((folder / each for each in names if (folder / each).is_file()), None)


def _find(folder: Path, file: DataFile) -> Path | None:
    if file.gzipped:
        return find_file(folder, file.name)
    return folder / file.name if (folder / file.name).is_file() else None


def _folders(entry: Entry, data_dir: Path | None) -> Iterator[Path]:
    layouts = [Path(entry.torchvision, "raw")] if entry.torchvision else []
    if data_dir is not None:
        yield from (data_dir, *(data_dir / layout for layout in layouts))
    if entry.bundled:
        yield BUNDLED
    yield cache_folder() / entry.name
    yield from (Path(base, layout) for base in ("data", "") for layout in layouts)
    yield from entry.system_folders
