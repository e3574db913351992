"""Fetching the files of a published data set that are not on this computer."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from lenscope.data.cache import cache_folder, workspace
from lenscope.data.published.catalogue import find_entry
from lenscope.data.published.download import download
from lenscope.data.published.locate import locate
from lenscope.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def fetch(name: str, data_dir: Path | None = None) -> dict[str, Path]:
    """The files of a data set; if they are not on this computer, they are downloaded into the cache.

    Each mirror is tried in turn until one neither fails nor is too slow, over https, redirects included (except for
    SVHN's site, which has none). A file appears in the cache complete and verified, or not at all.

    Args:
        name: a name of the catalogue.
        data_dir: the folder to look in first.

    Returns:
        The path of each file by its published name.

    Raises:
        UsageError: an unknown name, or a `data_dir` that is not a folder.
        DataError: no mirror sent the published bytes, or the cache cannot be written.
    """
    found = locate(name, data_dir)
    if found:
        return found
    entry = find_entry(name)
    folder = cache_folder() / entry.name
    try:
        if entry.archive:
            archive = download(entry.archive, entry.mirrors, cache_folder())
            return {file.name: _extract(archive, f"gzip/{file.name}", folder / file.name) for file in entry.files}
        return {file.name: download(file, [m + file.name for m in entry.mirrors], folder) for file in entry.files}
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written: {error.strerror}; set LENSCOPE_CACHE to another folder"
        ) from None
    except DataError as error:
        names = ", ".join(file.name for file in entry.files)
        raise DataError(
            f"{entry.name} could not be downloaded: {error}; put the files {names} in {folder} or use --data-dir"
        ) from None


def _extract(archive: Path, member: str, target: Path) -> Path:
    """Write a member of a zip archive, whose hash has been compared, to the cache; raises OSError."""
    with zipfile.ZipFile(archive) as file, workspace(target.parent) as unfinished:
        (unfinished / target.name).write_bytes(file.read(member))
        return (unfinished / target.name).replace(target)
