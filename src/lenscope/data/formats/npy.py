"""Arrays of bytes in files of NumPy's format `.npy`, from untrusted sources: the header is matched, not evaluated."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING

import numpy as np

from lenscope.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LONGEST_HEADER = 2**10
_LENGTH = rb"[1-9]\d{0,8}"
_SHAPE = re.compile(
    rb"\{'descr': '\|u1', 'fortran_order': False, 'shape': \((" + _LENGTH + rb"(?:, " + _LENGTH + rb"){1,3})\), \} *\n"
)


def read_npy(path: Path) -> NDArray[np.uint8]:
    """The array of a file, mapped: uint8, of 2 to 4 axes, none of them empty.

    Raises:
        DataError: a file that cannot be read or is too short, or another array.
    """
    try:
        with path.open("rb") as file:
            start, size = file.read(LONGEST_HEADER), os.fstat(file.fileno()).st_size
            found = _SHAPE.match(start, 10) if start.startswith(b"\x93NUMPY\1\0") else None
            if not found:
                raise DataError(f"{path}: expected images as bytes; save images.astype(numpy.uint8) with numpy.save")
            shape = tuple(map(int, found[1].split(b", ")))
            if found.end() + math.prod(shape) > size:
                raise DataError(f"{path}: shorter than an array of shape {shape}; copy it again")
            return np.memmap(file, np.uint8, "r", found.end(), shape)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
