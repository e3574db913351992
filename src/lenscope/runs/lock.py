"""One writer per run directory.

It holds the system's lock on the file `.lock`. On a file system without locks, the second writer replaces the token in
the file, and the first writer notices that before its next commit.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from lenscope import storage
from lenscope.errors import RunError, StorageError
from lenscope.lock import lock_file
from lenscope.runs.files.manifest import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = ".lock"


class Lock:
    """The right to write a run directory, which one process holds."""

    def __init__(self, path: Path, descriptor: int, token: str) -> None:
        self._path = path
        self._descriptor = descriptor
        self._token = token

    def check(self) -> None:
        """Check that this process still holds the directory.

        Raises:
            RunError: the directory was moved, deleted or replaced.
            StorageError: another process has taken it over.
        """
        if not self._is_there():
            raise RunError(
                f"{self._path.parent}: was moved or deleted while it was being written; writing has stopped: "
                "if it was moved, resume it at its new path"
            )
        owner = _owner(self._path)
        if owner.get("token") != self._token:
            raise StorageError(f"{self._path.parent}: {_named(owner)} writes it now; this process stops writing")

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False


@contextmanager
def hold(directory: Path) -> Iterator[Lock]:
    """Hold the right to write a run directory until the block ends.

    Raises:
        RunError: another process holds it; the message names that process.
        StorageError: the lock file could not be written.
    """
    path, token = directory / FILE, uuid4().hex
    text = json.dumps({"process": os.getpid(), "host": socket.gethostname(), "token": token})
    with storage.explained(path):
        descriptor = storage.disk.open(path, storage.CLAIM)
    try:
        if lock_file(descriptor) is False:
            raise RunError(f"{directory}: {_named(_owner(path))} writes it; wait until it ends, or stop it")
        with storage.explained(path):
            storage.disk.truncate(descriptor, 0)
            storage.write_all(descriptor, text.encode())
        yield Lock(path, descriptor, token)
    finally:
        os.close(descriptor)


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
