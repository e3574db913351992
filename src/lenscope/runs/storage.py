"""Every write to a run directory goes through here.

What is written is made of a `Disk`'s operations, one call of the system each; `disk` is the real one. Another in its
place can record them or fail the n-th, which is how tests know what a run survives.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import TYPE_CHECKING

from lenscope.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A link is not followed, so that nothing outside the directory is written; a named pipe is not waited for.
_SAFELY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
CHANGE = os.O_RDWR
CLAIM = os.O_RDWR | os.O_CREAT

HINTS = {
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EIO: "look after the disk",
    errno.ENOENT: "a part of the directory was moved or deleted",
    errno.ELOOP: "replace the link by what it points to",
}


class Disk:
    """The operations that change a directory; each may raise OSError."""

    def open(self, path: Path, flags: int) -> int:
        """A descriptor of a file; `flags` is one of NEW, APPEND, CHANGE, CLAIM."""
        return os.open(path, flags | _SAFELY, 0o666)

    def write(self, descriptor: int, content: bytes) -> int:
        """Write some of the content; how many bytes of it."""
        return os.write(descriptor, content)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file to a size."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Return when a file's content and size are durable."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Give a descriptor back."""
        os.close(descriptor)

    def rename(self, path: Path, target: Path) -> None:
        """Put a file in another's place."""
        path.replace(target)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()

    def make_directory(self, path: Path) -> None:
        """Make one directory."""
        path.mkdir()

    def remove_directory(self, path: Path) -> None:
        """Delete an empty directory."""
        path.rmdir()

    def sync_directory(self, path: Path) -> None:
        """Return when a directory's names are durable, as far as its file system can tell."""
        if os.name != "posix":  # elsewhere a directory cannot be opened for this
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system without it
                raise
        finally:
            os.close(descriptor)


disk = Disk()


def write_file(path: Path, content: bytes) -> None:
    """Put a whole file in place, durably: written beside, synced, renamed, the directory synced.

    Whoever looks sees the old file or the new one, never a part.

    Raises:
        StorageError: it could not be written; the old file, if any, is as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with explained(path):
        _remove(beside)
        try:
            with _opened(beside, NEW) as descriptor:
                write_all(descriptor, content)
                disk.sync(descriptor)
            disk.rename(beside, path)
        except BaseException:
            with suppress(OSError):
                _remove(beside)
            raise
        disk.sync_directory(path.parent)


def append_file(path: Path, content: bytes) -> None:
    """Add to the end of a file, durably; what a failure leaves behind lies beyond the committed length.

    Raises:
        StorageError: it could not be written.
    """
    with explained(path):
        is_new = not path.exists()
        with _opened(path, APPEND) as descriptor:
            write_all(descriptor, content)
            disk.sync(descriptor)
        if is_new:  # else what counts on it could be durable before its name is
            disk.sync_directory(path.parent)


def cut_file(path: Path, size: int) -> None:
    """Drop what lies beyond `size` bytes, durably; a file that is not there stays so.

    Raises:
        StorageError: it could not be written.
    """
    with explained(path), suppress(FileNotFoundError), _opened(path, CHANGE) as descriptor:
        disk.truncate(descriptor, size)
        disk.sync(descriptor)


def remove_file(path: Path) -> None:
    """Delete a file, or nothing where there is none; raises StorageError."""
    with explained(path):
        _remove(path)


def make_directory(path: Path, *, exist_ok: bool = False) -> None:
    """Make a directory and those above it, durably.

    Raises:
        StorageError: it could not be made.
        FileExistsError: it exists, and may not.
    """
    with explained(path):
        missing = [*takewhile(lambda above: not above.exists(), path.parents)]
    for above in reversed(missing):
        _make_one(above, exist_ok=True)
    _make_one(path, exist_ok=exist_ok)


def _make_one(path: Path, *, exist_ok: bool) -> None:
    with explained(path, passing=() if exist_ok else FileExistsError):
        try:
            disk.make_directory(path)
        except FileExistsError:
            if exist_ok and path.is_dir():
                return
            raise
        try:
            disk.sync_directory(path.parent)
        except OSError:
            remove_directory(path)
            raise


def remove_directory(path: Path) -> None:
    """Delete a directory if it is empty and the system lets us; else it stays."""
    with suppress(OSError):
        disk.remove_directory(path)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of the content, however little the system takes at a time; raises OSError."""
    while content:
        written = disk.write(descriptor, content)
        if not written:
            raise OSError(errno.EIO, "nothing was written")
        content = content[written:]


@contextmanager
def explained(path: Path, passing: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """Turn an OSError, or the ValueError of a name that cannot be, into a StorageError with path, cause and remedy."""
    try:
        yield
    except passing:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = HINTS.get(getattr(error, "errno", None) or 0, "free space or choose another --out")
        raise StorageError(f"{path}: cannot be written: {reason}; {hint}") from error


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = disk.open(path, flags)
    try:
        yield descriptor
    finally:
        disk.close(descriptor)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        disk.remove(path)
