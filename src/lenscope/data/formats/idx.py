"""IDX, the file format of MNIST, read strictly: plain or gzip, nothing missing and nothing left over.

A large file is mapped, or, if it is compressed, uncompressed into an unnamed file of the cache (see `mapped.py`).
The format (Y. LeCun, C. Cortes and C. Burges, the MNIST pages, "The IDX file format"): two zero bytes, a code of the
element type, the number of dimensions, each dimension as a big-endian 32-bit number, and the elements in C order.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.data import mapped
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 4
MAX_BYTES = 2**40
# gzip compresses up to 1030:1, real IDX files 2:1 to 20:1. A small file may exceed MAX_RATIO: it costs no memory.
MAX_RATIO, SMALL_BYTES = 100, 2**24
_HEADER_BYTES = 4 + 4 * MAX_DIMENSIONS
_PACKED_BLOCK = 2**16  # of gzip, which uncompress to at most 67 MB
_MOST_MEMBERS = 2**20  # bgzip's have up to 64 KiB each

Content = bytes | memoryview  # of a file: in memory, or mapped if it is large


def read_idx(path: Path, *, dtypes: Collection[str] = ("uint8",), ndim: int | None = None) -> NDArray[Any]:
    """The array in an IDX file, plain or gzip, which is detected by content and not by name.

    Args:
        path: the file.
        dtypes: the accepted element types, by numpy's names.
        ndim: the expected number of dimensions; None for any up to MAX_DIMENSIONS.

    Returns:
        An array in the machine's byte order, writable unless it is large enough to be mapped.

    Raises:
        DataError: the file cannot be read, is truncated, has trailing bytes or another content than expected.
    """
    return decode_idx(unpack(read_bytes(path), str(path)), str(path), dtypes=dtypes, ndim=ndim)


def read_bytes(path: Path) -> Content:
    """The bytes of a regular file of at most MAX_BYTES and a header, mapped if it is large; raises DataError."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: not a regular file; expected a file in IDX format")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES + _HEADER_BYTES:
                raise DataError(f"{path}: more than {MAX_BYTES} bytes; expected a smaller file")
            if size > mapped.LARGE_BYTES:
                return mapped.map_bytes(path)
            return file.read(size)  # memory for the actual size, not for the limit
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check that it is there and readable") from None


def read_head(path: Path) -> bytes:
    """The first bytes of a file, from which its format is detected; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES)
    except OSError:
        return b""


def is_gzip(raw: Content) -> bool:
    """Whether the bytes begin like gzip."""
    return raw[:2] == b"\x1f\x8b"


def unpack(raw: Content, source: str) -> Content:
    """The content of a file, uncompressed if it is gzip, in no more memory than the IDX header inside states.

    Checksum and length at the end of each member are checked; trailing bytes are refused. A large content is written to
    an unnamed file of the cache.

    Args:
        raw: the file's bytes.
        source: the file's name for error messages.

    Raises:
        DataError: a broken or truncated gzip, or one that states an implausible size.
        StorageError: no space for a large content.
    """
    if not is_gzip(raw):
        return raw
    try:
        size = _stated_bytes(b"".join(_Unpacking(raw, _HEADER_BYTES)), source)
        if size > max(SMALL_BYTES, MAX_RATIO * len(raw)):
            raise DataError(
                f"{source}: {len(raw)} bytes of gzip state {size} bytes of content; refused as a decompression bomb"
            )
        stream = _Unpacking(raw, size)
        content: Content = mapped.unnamed(stream) if size > mapped.LARGE_BYTES else _collected(stream)
    except zlib.error as error:
        reason = str(error).partition(": ")[2] or str(error)
        raise DataError(f"{source}: broken gzip: {reason}; download the file again") from None
    if len(content) <= size and not stream.ended:
        raise DataError(f"{source}: truncated gzip: its end is missing; download the file again")
    if stream.left_over:
        raise DataError(f"{source}: {stream.left_over} bytes after the end of the gzip; download the file again")
    return content


def _collected(blocks: Iterable[bytes]) -> memoryview:
    """All blocks, in memory that an array may own."""
    content = bytearray()
    for block in blocks:
        content += block
    return memoryview(content)


class _Unpacking:
    """The content of a gzip file of one or more members (RFC 1952), in blocks, up to the first byte beyond a size.

    Attributes:
        ended: whether the end of its last member was found, with the right checksum and length.
        left_over: the number of bytes after it.
    """

    ended = False
    left_over = 0

    def __init__(self, raw: Content, size: int) -> None:
        self._raw, self._left, self._place = memoryview(raw), size + 1, 0

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(_MOST_MEMBERS):
            self.ended = False
            yield from self._member()
            if not self.ended or not is_gzip(self._raw[self._place :]):
                break
        self.left_over = len(self._raw) - self._place if self.ended else 0

    def _member(self) -> Iterator[bytes]:
        stream = zlib.decompressobj(wbits=31)
        while self._left and not self.ended and self._place < len(self._raw):
            packed = self._raw[self._place : self._place + _PACKED_BLOCK]
            block = stream.decompress(packed, self._left)
            self._left -= len(block)
            self._place += len(packed) - len(stream.unused_data)
            yield block
            self.ended = stream.eof


def decode_idx(
    content: Content, source: str, *, dtypes: Collection[str] = ("uint8",), ndim: int | None = None
) -> NDArray[Any]:
    """The array in the bytes of an uncompressed IDX file; `source` is its name for error messages. See `read_idx`."""
    dtype, shape = _parse_header(content, source)
    if dtype.name not in dtypes:
        raise DataError(f"{source}: elements are {dtype.name}, expected {' or '.join(dtypes)}")
    if ndim is not None and len(shape) != ndim:
        raise DataError(f"{source}: {len(shape)} dimensions {shape}, expected {ndim}; is it the right kind of file?")
    expected = _stated_bytes(content, source)
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "trailing bytes"
        raise DataError(
            f"{source}: {fault}: {len(content)} bytes, its header states {expected}; download the file again"
        )
    elements = np.frombuffer(content, dtype, offset=4 + 4 * len(shape)).reshape(shape)
    return elements.astype(dtype.newbyteorder("="), copy=isinstance(content, bytes))


def check_images(images: NDArray[Any], source: str) -> None:
    """Raise DataError unless the array is a stack of grey images, shape (N, H, W)."""
    if images.ndim != 3:
        raise DataError(f"{source}: shape {images.shape} where images (N, H, W) were expected; is it a file of labels?")


def _parse_header(content: Content, source: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    if len(content) < 4:
        raise DataError(f"{source}: {len(content)} bytes, too short for IDX; download the file again")
    zero, code, ndim = struct.unpack_from(">HBB", content)
    if zero != 0 or code not in DTYPES:
        raise DataError(f"{source}: not IDX: it begins with {content[:4].hex()}, expected 0000, a type and a dimension")
    if not 0 < ndim <= MAX_DIMENSIONS:
        raise DataError(f"{source}: {ndim} dimensions, expected 1 to {MAX_DIMENSIONS}")
    if len(content) < 4 + 4 * ndim:
        raise DataError(f"{source}: truncated: {len(content)} bytes end within its header; download the file again")
    shape = struct.unpack_from(f">{ndim}I", content, 4)
    if 0 in shape:
        raise DataError(f"{source}: empty: its dimensions are {shape}")
    return np.dtype(DTYPES[code]), shape


def _stated_bytes(content: Content, source: str) -> int:
    """The size of the whole file according to its header."""
    dtype, shape = _parse_header(content, source)
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_BYTES:
        raise DataError(f"{source}: dimensions {shape} make {size} bytes, expected at most {MAX_BYTES}")
    return 4 + 4 * len(shape) + size
