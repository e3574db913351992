"""The cache: where it is, who writes in it, and what is said where it cannot be written."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import time
from typing import TYPE_CHECKING

import platformdirs

from lenscope.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = ".lock"
PART, LEFT_SECONDS = ".part-", 24 * 3600


def cache_folder() -> Path:
    """Where fetched files and packs are kept: LENSCOPE_CACHE if it is set, else the user's cache folder."""
    return Path(os.environ.get("LENSCOPE_CACHE") or platformdirs.user_cache_dir("lenscope"))


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError that names the path, the cause and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(
            f"{path}: cannot be written: {reason}; free space, or set LENSCOPE_CACHE to another folder"
        ) from None


@contextmanager
def held(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Be the only process that writes in a folder of the cache for a while, if that can be had.

    The lock is the system's, on the file `.lock`, so that it ends with its process, however that ends.

    Args:
        folder: made where it is not there.
        wait: until another process has let go of it, instead of going without.

    Yields:
        Whether it is held: not where another process has it, the file system knows no locks, or nothing can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield False
        return
    try:
        yield _lock(descriptor, wait=wait)
    finally:
        os.close(descriptor)


@contextmanager
def part_of(folder: Path) -> Iterator[Path]:
    """A folder in a folder of the cache for what is on its way there; it goes with all that is left in it.

    What killed processes left goes first: their parts are locked no more, and are older than any transfer takes.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{PART}*"):
        with suppress(OSError):  # another process may take it away, too
            if time() - left.stat().st_mtime > LEFT_SECONDS:
                _remove(left)
    with TemporaryDirectory(prefix=PART, dir=folder, ignore_cleanup_errors=True) as part, held(Path(part)):
        yield Path(part)


def _remove(part: Path) -> None:
    with held(part) as own:
        if own:
            rmtree(part, ignore_errors=True)


def _lock(descriptor: int, *, wait: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # not POSIX
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another process has it, or a file system without locks
        return False
    return True
