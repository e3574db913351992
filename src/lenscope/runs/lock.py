"""One writer a run directory.

The lock is the system's, on the file `.lock`, so that it ends with its process, however that ends. Where a file system
does not know locks, the second writer leaves its token in the file, and the first one finds it before its next commit.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from lenscope.errors import RunError, StorageError
from lenscope.runs import storage
from lenscope.runs.manifest import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = ".lock"


class Lock:
    """Held by the one process that may write a run directory."""

    def __init__(self, path: Path, descriptor: int, token: str) -> None:
        self._path = path
        self._descriptor = descriptor
        self._token = token

    def check(self) -> None:
        """See that the directory is still the one that was locked.

        Raises:
            RunError: it was moved or deleted, whatever is in its place now.
            StorageError: another process has taken it.
        """
        if not self._is_there():
            raise RunError(
                f"{self._path.parent}: was moved or deleted while it was being written, and nothing more is written; "
                "if it was moved, resume it in its new place"
            )
        owner = _owner(self._path)
        if owner.get("token") != self._token:
            raise StorageError(f"{self._path.parent}: {_named(owner)} writes it now; this process writes no more")

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False


@contextmanager
def hold(directory: Path) -> Iterator[Lock]:
    """Be the one writer of a run directory for a while.

    Raises:
        RunError: another process is; it is named.
        StorageError: the lock's file could not be written.
    """
    path, token = directory / FILE, uuid4().hex
    text = json.dumps({"process": os.getpid(), "host": socket.gethostname(), "token": token})
    with storage.explained(path):
        descriptor = storage.disk.open(path, storage.CLAIM)
    try:
        if not _lock(descriptor):
            raise RunError(f"{directory}: {_named(_owner(path))} writes it; wait for its end, or stop it")
        with storage.explained(path):
            storage.disk.truncate(descriptor, 0)
            storage.write_all(descriptor, text.encode())
        yield Lock(path, descriptor, token)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Whether this process has it now; also where the system has no locks."""
    try:
        import fcntl
    except ImportError:  # not POSIX: the token alone guards
        return True
    with suppress(OSError):  # a file system without locks
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _owner(path: Path) -> dict[str, object]:
    try:
        owner = json.loads(read_bytes(path, 1000) or b"")
    except ValueError:
        owner = None
    return owner if isinstance(owner, dict) else {}


def _named(owner: dict[str, object]) -> str:
    host = owner.get("host")
    where = "" if host in (None, socket.gethostname()) else f" on {str(host)[:60]}"
    return f"process {owner['process']}{where}" if isinstance(owner.get("process"), int) else "another process"
