"""Every write to a run directory goes through here."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lenscope.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Put a whole file in place, durably: written beside, synced, renamed, the directory synced.

    Whoever looks sees the old file or the new one, never a part.

    Raises:
        StorageError: it could not be written; the old file, if any, is as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _explained(path):
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)


def append_file(path: Path, content: bytes) -> None:
    """Add to the end of a file, durably; what a failure leaves behind lies beyond the committed length.

    Raises:
        StorageError: it could not be written.
    """
    with _explained(path), path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def cut_file(path: Path, size: int) -> None:
    """Drop what lies beyond `size` bytes, durably; a file that is not there stays so.

    Raises:
        StorageError: it could not be written.
    """
    with _explained(path):
        try:
            with path.open("r+b") as file:
                file.truncate(size)
                os.fsync(file.fileno())
        except FileNotFoundError:
            pass


def remove_file(path: Path) -> None:
    """Delete a file, or nothing where there is none; raises StorageError."""
    with _explained(path):
        path.unlink(missing_ok=True)


def make_directory(path: Path, *, exist_ok: bool = False) -> None:
    """Make a directory and those above it; raises StorageError, or FileExistsError where it may not exist yet."""
    with _explained(path, passing=() if exist_ok else FileExistsError):
        path.mkdir(parents=True, exist_ok=exist_ok)


@contextmanager
def _explained(path: Path, passing: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    try:
        yield
    except passing:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"{path}: cannot be written: {reason}; free space or choose another --out") from error


def _sync_directory(path: Path) -> None:
    if os.name != "posix":  # elsewhere a directory cannot be opened for this
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
