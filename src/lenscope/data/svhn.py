"""SVHN's cropped digits: two MATLAB 5 files, each with the images X (32, 32, 3, N) and the labels y (N, 1).

The format: MathWorks, "MAT-File Format", level 5: a header, then elements, each a kind, a length and content. A
variable is an element, packed by zlib or not, of the elements flags, dimensions, name and numbers. Only arrays of real
numbers are read here, little-endian as SVHN's files are: no cell, no object, no function.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.data.checks import check_labels
from lenscope.data.entry import Labelled
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lenscope.data.entry import DataFile, OpenFile

MAX_BYTES = 2**28  # unpacked; the training part has 225 MB
MAX_VARIABLES = 20
HEADER_BYTES = 128
SHAPE = (32, 32, 3)
# Kinds of elements; those of numbers with their types.
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8"}
FLAGS, DIMENSIONS, NAME = 6, 5, 1
# Classes of arrays of numbers, double to 64-bit; those before are cells, structs, objects, text and sparse arrays.
NUMERIC, COMPLEX = range(6, 16), 0x0800


@dataclass(frozen=True)
class SvhnReader:
    """Reads the two files of the cropped digits.

    Attributes:
        train: of the training part.
        test: of the test part.
    """

    train: DataFile
    test: DataFile

    @property
    def files(self) -> tuple[DataFile, ...]:
        """Both files."""
        return (self.train, self.test)

    def read(self, open_file: OpenFile, classes: int) -> tuple[Labelled, Labelled]:
        """Both parts; the label 10 is the digit 0."""
        return _read_part(*open_file(self.train), classes), _read_part(*open_file(self.test), classes)


def _read_part(content: bytes | memoryview, source: str, classes: int) -> Labelled:
    try:
        images, numbers = read_matlab(content)
    except DataError as error:
        raise DataError(f"{source}: not a file of SVHN: {error}; get the file anew") from None
    upright = np.ascontiguousarray(images.transpose(3, 2, 0, 1))
    is_whole = (numbers == np.round(numbers)) & (np.abs(numbers) < 2**31)
    from_1 = np.where(is_whole, numbers, 0).astype(np.int64)  # 0 is no label in these files
    check_labels(from_1 - 1, upright, classes, f"{source}: y less 1")
    return Labelled(upright, (from_1 % 10).astype(np.uint8))


def read_matlab(content: bytes | memoryview) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """X, uint8 (32, 32, 3, N), and y, finite numbers (N,), of a MATLAB 5 file.

    Raises:
        DataError: another or a broken file; the message does not name it.
    """
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[124:HEADER_BYTES] == b"\0\2IM":
        raise DataError("it is of MATLAB 7.3, expected MATLAB 5")
    if content[124:HEADER_BYTES] != b"\0\1IM":
        raise DataError("it is not of MATLAB 5, little-endian")
    found: dict[str, NDArray[Any]] = {}
    for matrix in _matrices(memoryview(content)):
        name, array = _variable(matrix)
        if name in found:
            raise DataError(f"{name} is in it twice")
        if array is not None:
            found[name] = array
    if set(found) != {"X", "y"}:
        raise DataError("X or y is not in it")
    return _checked(found["X"], found["y"])


def _checked(images: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    count = images.shape[-1]
    if images.dtype != np.uint8 or images.shape != (*SHAPE, count) or labels.shape != (count, 1) or not count:
        shapes = f"{images.dtype} {images.shape} and {labels.shape}"
        raise DataError(f"X and y are {shapes}, expected uint8 (32, 32, 3, N) and (N, 1)")
    if not np.isfinite(labels).all():
        raise DataError("y is not finite")
    return images, labels[:, 0]


def _matrices(content: memoryview) -> Iterator[memoryview]:
    """The content of each variable, unpacked; all of them together at most MAX_BYTES."""
    place, left = HEADER_BYTES, MAX_BYTES
    for _ in range(MAX_VARIABLES):
        if place >= len(content):
            return
        kind, matrix, place = _element(content, place)
        if kind == COMPRESSED:
            stream = zlib.decompressobj()
            try:
                unpacked = stream.decompress(matrix, left + 1)
            except zlib.error:
                raise DataError("a variable in it is broken") from None
            if len(unpacked) <= left and not stream.eof:
                raise DataError("a variable in it is cut")
            left -= len(unpacked)
            if left < 0:
                raise DataError(f"it unpacks to more than {MAX_BYTES} bytes")
            kind, matrix, _ = _element(memoryview(unpacked), 0)
        if kind != MATRIX:
            raise DataError(f"an element of kind {kind} in it is no variable")
        yield matrix
    raise DataError(f"it has more than {MAX_VARIABLES - 1} variables")


def _variable(matrix: memoryview) -> tuple[str, NDArray[Any] | None]:
    """The name of a variable, and its numbers if it is X or y."""
    kinds, parts, place = [], [], 0
    for _ in range(3):
        kind, part, place = _element(matrix, place)
        kinds.append(kind)
        parts.append(part)
    flags, dimensions, letters = parts
    if kinds != [FLAGS, DIMENSIONS, NAME] or len(flags) != 8 or len(dimensions) % 4:
        raise DataError("a variable in it has no flags, dimensions and name")
    name = bytes(letters).decode("latin-1")
    if name not in {"X", "y"}:
        return name, None
    (bits,) = struct.unpack_from("<I", flags)
    kind, numbers, _ = _element(matrix, place)
    if bits & 0xFF not in NUMERIC or bits & COMPLEX or kind not in NUMBERS:
        raise DataError(f"{name} is of class {bits & 0xFF}, expected an array of real numbers")
    shape = tuple(np.frombuffer(dimensions, "<i4").tolist())
    dtype = np.dtype(NUMBERS[kind])
    if not 0 < len(shape) <= len(SHAPE) + 1 or min(shape) < 0 or math.prod(shape) * dtype.itemsize != len(numbers):
        raise DataError(f"{name} has {len(numbers)} bytes of {dtype}, its dimensions are {shape}")
    return name, np.frombuffer(numbers, dtype).reshape(shape, order="F")


def _element(content: memoryview, place: int) -> tuple[int, memoryview, int]:
    """The kind and the content of the element at a place, and where the next one begins."""
    if len(content) - place < 8:
        raise DataError("it is cut")
    kind, length = struct.unpack_from("<II", content, place)
    start = place + 8
    if kind >> 16:  # a small one: its length stands beside its kind, its content in place of the length
        kind, length, start = kind & 0xFFFF, kind >> 16, place + 4
        if length > 4:
            raise DataError(f"a small element in it has {length} bytes")
    end = start + length
    if end > len(content):
        raise DataError("it is cut")
    return kind, content[start:end], end if kind == COMPRESSED else end + (place - end) % 8
