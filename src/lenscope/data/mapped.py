"""Arrays of bytes that need not fit into memory: large ones are files, read in place.

A file that is mapped costs memory that the system can take back at any time, and none where it is not looked at; an
array in anonymous memory stays until it is freed. So whatever makes a large array (resizing, a held-out part) writes
it to a file of the cache, a block at a time, and maps that. The mapping is shared and read-only: a private one that may
be written is refused by Linux as soon as it is larger than memory.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.cache import cache_folder, explained, held

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

# The largest of the small sets, SVHN's training part, has 225 MB; the images of emnist-byclass have 547 MB.
LARGE_BYTES = 2**28


def collect(blocks: Iterable[NDArray[np.uint8]], shape: tuple[int, ...], kept: Path | None = None) -> NDArray[np.uint8]:
    """Blocks one after another as one array: in memory if it is small, else a mapped file.

    Args:
        blocks: of the shape but for their first lengths; not looked at where the array is kept already.
        shape: of all of them together.
        kept: the file in which a large array stays, to be found again, followed by the SHA-256 of its bytes, with which
            they are compared then. Where there is none, or another process writes in its folder, it is a file without
            a name in the cache, which goes with the process.

    Raises:
        StorageError: no room for a large array.
    """
    if math.prod(shape) <= LARGE_BYTES:
        return _in_memory(blocks, shape)
    if kept is None:
        return _without_name(blocks, shape)
    if not _is_sealed(kept, math.prod(shape)):
        with held(kept.parent) as own:
            if not own:
                return _without_name(blocks, shape)
            write_whole(kept, _sealed(blocks))
    return map_file(kept, shape)


def stretches(count: int, row_bytes: int, most_bytes: int) -> Iterator[slice]:
    """So many rows in stretches of at most so many bytes, but of one row at least."""
    each = max(1, most_bytes // row_bytes)
    return (slice(start, start + each) for start in range(0, count, each))


def map_file(path: Path, shape: tuple[int, ...], offset: int = 0) -> NDArray[np.uint8]:
    """The bytes of a file from an offset on as a read-only array of this shape, read in place; raises OSError."""
    return np.frombuffer(map_bytes(path), np.uint8, math.prod(shape), offset).reshape(shape)


def map_bytes(path: Path) -> memoryview:
    """All bytes of a file that is not empty, read in place; raises OSError."""
    with path.open("rb") as file:
        return _map(file)


def write_whole(path: Path, blocks: Iterable[NDArray[np.uint8] | bytes]) -> None:
    """Put a file in place, durably and whole or not at all; raises StorageError."""
    beside = path.with_name(f".{path.name}.part")
    with explained(path):
        try:
            with beside.open("wb") as file:
                _write(file, blocks)
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise


def unnamed(blocks: Iterable[NDArray[np.uint8] | bytes]) -> memoryview:
    """Blocks, not all of them empty, in a file of the cache that has no name and goes with the process; mapped.

    Raises:
        StorageError: it cannot be written.
    """
    folder = cache_folder()
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            _write(file, blocks)
            return _map(file)


def has_size(path: Path, size: int) -> bool:
    """Whether a file is there and has this size."""
    return path.is_file() and path.stat().st_size == size


def _sealed(blocks: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8] | bytes]:
    """Blocks, and the SHA-256 of all of them."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(np.ascontiguousarray(block).data)
        yield block
    yield digest.digest()


def _is_sealed(path: Path, size: int) -> bool:
    """Whether a file holds so many bytes and their SHA-256."""
    if not has_size(path, size + hashlib.sha256().digest_size):
        return False
    content = map_bytes(path)
    return hashlib.sha256(content[:size]).digest() == content[size:]


def _without_name(blocks: Iterable[NDArray[np.uint8]], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.frombuffer(unnamed(blocks), np.uint8).reshape(shape)


def _in_memory(blocks: Iterable[NDArray[np.uint8]], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    array, done = np.empty(shape, np.uint8), 0
    for block in blocks:
        array[done : done + len(block)] = block
        done += len(block)
    return array


def _map(file: IO[bytes]) -> memoryview:
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _write(file: IO[bytes], blocks: Iterable[NDArray[np.uint8] | bytes]) -> None:
    """By writing and not through a mapping, where a full disk is an error and no end of the process."""
    for block in blocks:
        file.write(block if isinstance(block, bytes) else np.ascontiguousarray(block).data)
    file.flush()
