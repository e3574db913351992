"""Data sets that several processes map: their arrays in one file without a name."""

from __future__ import annotations

import mmap
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import reduction
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from lenscope.data.cache import cache_folder, explained
from lenscope.data.dataset import Splits

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    Location = tuple[int, tuple[int, ...], str]  # offset in the file, shape, dtype

ALIGNMENT = 64  # bytes


class SharedSplits:
    """Data sets in a file without a name, which disappears with the last process that has it open.

    Args:
        splits: what is shared; its arrays are copied once.

    Raises:
        StorageError: the file could not be written.
    """

    def __init__(self, splits: Splits) -> None:
        folder = cache_folder() if splits.is_large else Path(gettempdir())  # which may be memory
        sets = (splits.train, splits.validation, splits.test)
        self._sets = [one and replace(one, images=one.images[:1].copy(), labels=one.labels[:1].copy()) for one in sets]
        with explained(folder), ExitStack() as failed:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = failed.enter_context(TemporaryFile(prefix="lenscope-", dir=folder))
            self._locations = [self._append(array) for one in sets if one for array in (one.images, one.labels)]
            self._file.flush()
            failed.pop_all()

    def _append(self, array: NDArray[Any]) -> Location:
        location = self._file.tell(), array.shape, array.dtype.str
        self._file.write(np.ascontiguousarray(array).data)
        self._file.write(bytes(-self._file.tell() % ALIGNMENT))
        return location

    def send(self, pipe: Connection[Any, Any], process: int | None) -> None:
        """Send them to a process at the other end of a pipe."""
        pipe.send((self._sets, self._locations))
        reduction.send_handle(pipe, self._file.fileno(), process)

    def close(self) -> None:
        """Close the file; processes that received it keep it."""
        self._file.close()


def receive_splits(pipe: Connection[Any, Any]) -> Splits:
    """The data sets that `SharedSplits.send` sent, read-only; raises EOFError where the other process has ended."""
    sets, locations = pipe.recv()
    with open(reduction.recv_handle(pipe), "rb") as file:  # noqa: PTH123 - no path
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = (
        np.frombuffer(memory, dtype, int(np.prod(shape)), offset).reshape(shape) for offset, shape, dtype in locations
    )
    return Splits(*(one and replace(one, images=next(arrays), labels=next(arrays)) for one in sets))
