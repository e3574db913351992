"""The cache: where it is, and how files get into it: written by one process at a time, whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import platformdirs

from lenscope import storage
from lenscope.lock import lock_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

LOCK, UNFINISHED = ".lock", ".unfinished-"


def cache_folder() -> Path:
    """The folder of downloaded files and packs: LENSCOPE_CACHE if it is set, else the user's cache folder."""
    return Path(os.environ.get("LENSCOPE_CACHE") or platformdirs.user_cache_dir("lenscope"))


def explained(path: Path) -> AbstractContextManager[None]:
    """Turn an OSError into a StorageError that names the path, the cause and what to do."""
    return storage.explained(path, "free space, or set LENSCOPE_CACHE to another folder", passing=ValueError)


@contextmanager
def workspace(folder: Path, waiting: Callable[[], object] = lambda: None, *, wait: bool = True) -> Iterator[Path]:
    """Be the only process that writes in a folder of the cache; yields an empty subfolder for unfinished files.

    A finished file is renamed out of the subfolder, which is deleted at the end. Subfolders that killed processes left
    behind are deleted at the beginning. The lock is the operating system's, on the file `.lock`, and ends with its
    process. Where the file system has no locks, several processes may write at once, each in its own subfolder, and
    nothing that was left behind is deleted.

    Args:
        folder: created if it does not exist.
        waiting: called before waiting for another process.
        wait: whether to wait for another process that writes there.

    Raises:
        OSError: the folder cannot be written; without `wait`, a BlockingIOError while another process writes there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("ab") as file:
        held = lock_file(file.fileno())
        if held is False:
            if not wait:
                raise BlockingIOError(f"{folder}: another process writes there")
            waiting()
            held = lock_file(file.fileno(), wait=True)
        if held:
            for left in folder.glob(f"{UNFINISHED}*"):
                rmtree(left, ignore_errors=True)
        with TemporaryDirectory(prefix=UNFINISHED, dir=folder, ignore_cleanup_errors=True) as unfinished:
            yield Path(unfinished)
