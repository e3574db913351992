"""SVHN's cropped digits: two MATLAB 5 files, each with the images X (32, 32, 3, N) and the labels y (N, 1).

The format: MathWorks, "MAT-File Format", level 5: a header, then elements, each a kind, a length and content. In these
files each element is a variable, compressed by zlib, of four elements: flags, dimensions, name and numbers,
little-endian. Nothing is checked here: the SHA-256 of the files is compared before they are opened.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.data.formats.reader import Labelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lenscope.data.formats.reader import Opened

HEADER_BYTES = 128
COMPRESSED = 15
NUMBERS = {1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8"}  # types by kind of element


def read_svhn(files: Iterator[Opened]) -> tuple[Labelled, Labelled]:
    """The splits from the files of the cropped digits; the label 10 is the digit 0."""
    train, test = map(_read_split, files)
    return train, test


def _read_split(file: Opened) -> Labelled:
    found = read_matlab(memoryview(file.content))
    labels = (found["y"][:, 0] % 10).astype(np.uint8)
    return Labelled(np.ascontiguousarray(found["X"].transpose(3, 2, 0, 1)), labels)


def read_matlab(content: memoryview) -> dict[str, NDArray[Any]]:
    """The variables of a MATLAB 5 file by name, all of them compressed arrays of numbers."""
    found, place = {}, HEADER_BYTES
    while place < len(content):
        _, variable, place = _element(content, place)
        _, matrix, _ = _element(memoryview(zlib.decompress(variable)), 0)
        _, _, start = _element(matrix, 0)
        _, dimensions, start = _element(matrix, start)
        _, name, start = _element(matrix, start)
        kind, numbers, _ = _element(matrix, start)
        shape = np.frombuffer(dimensions, "<i4")
        found[bytes(name).decode()] = np.frombuffer(numbers, NUMBERS[kind]).reshape(shape, order="F")
    return found


def _element(content: memoryview, place: int) -> tuple[int, memoryview, int]:
    """The kind and the content of the element at a place, and the place of the next one."""
    kind, length = struct.unpack_from("<II", content, place)
    start = place + 8
    if kind >> 16:  # a small one: its length is in the upper half of its kind, its content in place of the length
        kind, length, start = kind & 0xFFFF, kind >> 16, place + 4
    end = start + length
    return kind, content[start:end], end if kind == COMPRESSED else end + (place - end) % 8
