"""Durable writes: files that are replaced as a whole, files that grow, directories.

Each is made of a `Disk`'s operations, one system call each; `disk` is the real one. A test puts another in its place,
which records the operations or fails the n-th.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import TYPE_CHECKING

from lenscope.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    Block: TypeAlias = bytes | memoryview

# Links are not followed, so that nothing outside the directory is written; opening a named pipe does not block.
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
    errno.EIO: "check the disk",
    errno.ENOENT: "the directory was moved or deleted",
    errno.ELOOP: "replace the link by its target",
}


class Disk:
    """The operations that change files and directories; each may raise OSError."""

    def open(self, path: Path, flags: int) -> int:
        """A descriptor of a file; `flags` is one of NEW, APPEND, CHANGE, CLAIM."""
        return os.open(path, flags | _SAFELY, 0o666)

    def write(self, descriptor: int, content: Block) -> int:
        """Write a first part of the content; returns its length in bytes."""
        return os.write(descriptor, content)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file to a size."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Return when a file's content and size are durable."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def rename(self, path: Path, target: Path) -> None:
        """Rename a file, replacing the target."""
        path.replace(target)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()

    def make_directory(self, path: Path) -> None:
        """Create one directory."""
        path.mkdir()

    def remove_directory(self, path: Path) -> None:
        """Delete an empty directory."""
        path.rmdir()

    def sync_directory(self, path: Path) -> None:
        """Return when a directory's names are durable, as far as its file system supports it."""
        if os.name != "posix":  # Windows cannot open directories
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # not supported by the file system
                raise
        finally:
            os.close(descriptor)


disk = Disk()


def write_file(path: Path, content: bytes | Iterable[Block], remedy: str | None = None) -> None:
    """Replace a file durably: write a temporary file, sync it, rename it, sync the directory.

    A reader sees the old file or the new one, never a part.

    Args:
        path: of the file.
        content: all of it, or blocks that are written in turn.
        remedy: as for `explained`.

    Raises:
        StorageError: it could not be written; the old file, if any, is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with explained(path, remedy):
        _remove(temporary)
        try:
            with _opened(temporary, NEW) as descriptor:
                for block in [content] if isinstance(content, bytes) else content:
                    write_all(descriptor, block)
                disk.sync(descriptor)
            disk.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                _remove(temporary)
            raise
        disk.sync_directory(path.parent)


def append_file(path: Path, content: bytes) -> None:
    """Append to a file durably; after a failure, a part of the content may have been appended.

    Raises:
        StorageError: it could not be written.
    """
    with explained(path):
        is_new = not path.exists()
        with _opened(path, APPEND) as descriptor:
            write_all(descriptor, content)
            disk.sync(descriptor)
        if is_new:  # else a manifest that names the file could be durable before it
            disk.sync_directory(path.parent)


def cut_file(path: Path, size: int) -> None:
    """Truncate a file to `size` bytes, durably; does nothing if it does not exist.

    Raises:
        StorageError: it could not be written.
    """
    with explained(path), suppress(FileNotFoundError), _opened(path, CHANGE) as descriptor:
        disk.truncate(descriptor, size)
        disk.sync(descriptor)


def remove_file(path: Path) -> None:
    """Delete a file, if it exists; raises StorageError."""
    with explained(path):
        _remove(path)


def make_directory(path: Path, *, exist_ok: bool = False) -> None:
    """Create a directory and its parents, durably.

    Raises:
        StorageError: it could not be created.
        FileExistsError: it exists, and not `exist_ok`.
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
    """Delete a directory if it is empty and the system permits it."""
    with suppress(OSError):
        disk.remove_directory(path)


def write_all(descriptor: int, content: Block) -> None:
    """Write all of the content, however little the system takes at a time; raises OSError."""
    while content:
        written = disk.write(descriptor, content)
        if not written:
            raise OSError(errno.EIO, "nothing was written")
        content = content[written:]


@contextmanager
def explained(path: Path, remedy: str | None = None, *, passing: type[Exception] | tuple[()] = ()) -> Iterator[None]:
    """Turn an OSError, or the ValueError of an impossible name, into a StorageError with path, cause and remedy.

    Args:
        path: what is written.
        remedy: what the user is to do; by default it depends on the cause.
        passing: errors that are raised as they are.
    """
    try:
        yield
    except passing:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        remedy = remedy or HINTS.get(getattr(error, "errno", None) or 0, "free space or choose another --out")
        raise StorageError(f"{path}: cannot be written: {reason}; {remedy}") from error


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
