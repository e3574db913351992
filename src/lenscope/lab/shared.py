"""A data set that several processes see at once: its arrays in one unlinked file, which each of them maps."""

from __future__ import annotations

import mmap
from contextlib import ExitStack
from dataclasses import dataclass, replace
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

    from lenscope.data.dataset import Dataset


@dataclass(frozen=True)
class _Place:
    """Where an array lies in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class _Part:
    """A part with its first image alone, and where its arrays are."""

    about: Dataset
    images: _Place
    labels: _Place


class SharedSplits:
    """The parts of a data set in a file without a name, which is gone with the last process that has it open.

    Args:
        splits: what is shared; copied once.

    Raises:
        StorageError: the file could not be written.
    """

    def __init__(self, splits: Splits) -> None:
        folder = cache_folder() if splits.is_large else Path(gettempdir())  # which may be memory
        parts = (splits.train, splits.validation, splits.test)
        with explained(folder), ExitStack() as failed:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = failed.enter_context(TemporaryFile(prefix="lenscope-", dir=folder))
            self._parts = tuple(part and self._written(part) for part in parts)
            self._file.flush()
            failed.pop_all()

    def send(self, pipe: Connection[Any, Any], process: int | None) -> None:
        """Give them to a process at the other end of a pipe."""
        pipe.send(self._parts)
        reduction.send_handle(pipe, self._file.fileno(), process)

    def close(self) -> None:
        """Let go of the file; those who have it keep it."""
        self._file.close()

    def _written(self, part: Dataset) -> _Part:
        about = replace(part, images=part.images[:1].copy(), labels=part.labels[:1].copy())
        return _Part(about, self._append(part.images), self._append(part.labels))

    def _append(self, array: NDArray[Any]) -> _Place:
        place = _Place(self._file.tell(), array.shape, array.dtype.str)
        self._file.write(np.ascontiguousarray(array).data)
        self._file.write(bytes(-self._file.tell() % 64))  # so that the next one is aligned
        return place


def receive_splits(pipe: Connection[Any, Any]) -> Splits:
    """The parts that `SharedSplits.send` gave, read-only; raises EOFError where the other process is gone."""
    parts = pipe.recv()
    with open(reduction.recv_handle(pipe), "rb") as file:  # noqa: PTH123 - no path
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    train, validation, test = (part and _read(part, memory) for part in parts)
    return Splits(train, validation, test)


def _read(part: _Part, memory: mmap.mmap) -> Dataset:
    return replace(part.about, images=_array(part.images, memory), labels=_array(part.labels, memory))


def _array(place: _Place, memory: mmap.mmap) -> NDArray[Any]:
    count = int(np.prod(place.shape))
    return np.frombuffer(memory, np.dtype(place.dtype), count, place.offset).reshape(place.shape)
