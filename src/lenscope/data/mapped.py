"""Byte arrays that need not fit into memory: large ones are files that are mapped.

A mapped file takes memory that the system can reclaim at any time, and none for pages that are not read; an array in
anonymous memory stays until it is freed. So a large array that is computed (resized images, a validation split) is
written to a file of the cache, block by block, and mapped. The mapping is shared and read-only: Linux refuses a private
writable one that is larger than memory.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.data.cache import cache_folder, explained, workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

# The largest of the small sets, SVHN's training split, has 225 MB; the images of emnist-byclass have 547 MB.
LARGE_BYTES = 2**28


class CachedCopy(NamedTuple):
    """A file in which a large computed array stays, so that the next process finds it.

    Attributes:
        path: the file: the array's bytes, then a SHA-256 of `made_of` and these bytes.
        made_of: identifies what the array is computed from; a file with another one is replaced.
    """

    path: Path
    made_of: str


def collect(
    blocks: Iterable[NDArray[np.uint8]], shape: tuple[int, ...], cached: CachedCopy | None = None
) -> NDArray[np.uint8]:
    """Blocks, one after another, as one array: in memory if it is small, else a mapped file.

    Args:
        blocks: arrays that differ from `shape` in the first dimension alone; not read where the cached copy is valid.
        shape: of the whole array.
        cached: the file of a large array; without it, an unnamed file of the cache that ends with the process.

    Raises:
        StorageError: the cache cannot be written.
    """
    if math.prod(shape) <= LARGE_BYTES:
        return _in_memory(blocks, shape)
    if cached is None:
        return np.frombuffer(unnamed(blocks), np.uint8).reshape(shape)
    with explained(cached.path), ExitStack() as stack:
        content = _valid(cached, math.prod(shape))
        if content is None:
            try:
                folder = stack.enter_context(workspace(cached.path.parent, wait=False))
            except OSError:  # another process writes it, or its folder belongs to another user
                content = unnamed(blocks)
            else:
                with (folder / "array").open("wb") as file:
                    _write(file, _sealed(blocks, cached.made_of))
                content = map_bytes(folder / "array")  # the path may be another version's soon
                (folder / "array").replace(cached.path)
        return np.frombuffer(content, np.uint8, math.prod(shape)).reshape(shape)


def stretches(count: int, row_bytes: int, most_bytes: int) -> Iterator[slice]:
    """Slices that divide `count` rows into stretches of at most `most_bytes`, but at least one row each."""
    each = max(1, most_bytes // row_bytes)
    return (slice(start, start + each) for start in range(0, count, each))


def map_bytes(path: Path) -> memoryview:
    """The bytes of a file, which must not be empty, mapped; raises OSError."""
    with path.open("rb") as file:
        return _map(file)


def unnamed(blocks: Iterable[NDArray[np.uint8] | bytes]) -> memoryview:
    """Blocks, not all empty, in an unnamed file of the cache that ends with the process; mapped.

    Raises:
        StorageError: the cache cannot be written.
    """
    folder = cache_folder()
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            _write(file, blocks)
            return _map(file)


def _sealed(blocks: Iterable[NDArray[np.uint8]], made_of: str) -> Iterator[NDArray[np.uint8] | bytes]:
    """The content of a cached copy."""
    digest = hashlib.sha256(made_of.encode())
    for block in blocks:
        digest.update(np.ascontiguousarray(block).data)
        yield block
    yield digest.digest()


def _valid(cached: CachedCopy, size: int) -> memoryview | None:
    """A cached copy, if it contains `size` bytes as they were written, computed from the same source."""
    digest = hashlib.sha256(cached.made_of.encode())
    if not cached.path.is_file() or cached.path.stat().st_size != size + digest.digest_size:
        return None
    content = map_bytes(cached.path)
    digest.update(content[:size])
    return content if digest.digest() == content[size:] else None


def _in_memory(blocks: Iterable[NDArray[np.uint8]], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    array, done = np.empty(shape, np.uint8), 0
    for block in blocks:
        array[done : done + len(block)] = block
        done += len(block)
    return array


def _map(file: IO[bytes]) -> memoryview:
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _write(file: IO[bytes], blocks: Iterable[NDArray[np.uint8] | bytes]) -> None:
    """By writing and not through a mapping, where a full disk would end the process instead of raising an error."""
    for block in blocks:
        file.write(block if isinstance(block, bytes) else np.ascontiguousarray(block).data)
    file.flush()
