"""Decoders of a TIFF's strips: `DECODERS[compression](packed, size)` returns exactly `size` bytes.

They are our own, or those of zlib and Pillow, since libtiff prints messages about broken files on standard error. All
take bounded memory, and raise an error (ValueError, zlib.error) for a broken strip or one of fewer bytes.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# LZW: after each clear code, 254 codes have 9 bits, 512 have 10, and so on; a full table gets no more strings.
_CLEAR, _END, _STRINGS = 256, 257, 258
_WIDTHS = np.repeat([9, 10, 11, 12], [254, 512, 1024, 3072])
_STARTS = np.concatenate([[0], _WIDTHS.cumsum()])  # of each code, and the end of the last, in bits
_MASKS = (1 << _WIDTHS) - 1
# Each clear code takes 0.1 ms. Writers clear a table that is full, which takes 3,838 codes of a byte or more each.
_BYTES_PER_CLEAR = 2048


def _deflate(packed: bytes, size: int) -> bytes:
    return _whole(zlib.decompressobj().decompress(packed, size), size)


def _packbits(packed: bytes, size: int) -> bytes:
    return Image.frombytes("L", (size, 1), packed, "packbits", "L").tobytes()


def _lzw(packed: bytes, size: int) -> bytes:
    padded = np.frombuffer(packed + bytes(2), np.uint8)
    at, left, found = 0, size, []
    for _ in range(2 + size // _BYTES_PER_CLEAR):
        codes = _codes(padded, at, left + 1)
        ends = np.flatnonzero((codes == _CLEAR) | (codes == _END))
        end = ends[0] if len(ends) else len(codes)
        found.append(_expand(codes[:end], left))
        left -= len(found[-1])
        if not left or end == len(codes) or codes[end] == _END:
            break
        at += int(_STARTS[end + 1])
    return _whole(b"".join(found), size)


def _whole(pixels: bytes, size: int) -> bytes:
    if len(pixels) < size:
        raise ValueError(f"a strip has {len(pixels)} bytes, expected {size}")
    return pixels


def _codes(padded: NDArray[np.uint8], at: int, most: int) -> NDArray[np.int64]:
    """At most `most` codes from bit `at` on, up to a full table or the end; `padded` has two bytes after the strip."""
    number = min(int(np.searchsorted(_STARTS, 8 * (len(padded) - 2) - at, side="right")) - 1, most)
    places = at + _STARTS[:number]
    first = places >> 3
    words = padded[first].astype(np.int64) << 16 | padded[first + 1].astype(np.int64) << 8 | padded[first + 2]
    codes: NDArray[np.int64] = words >> (24 - _WIDTHS[:number] - (places & 7)) & _MASKS[:number]
    return codes


def _expand(codes: NDArray[np.int64], most: int) -> bytes:
    """The strings of LZW codes that follow a clear code, at most `most` bytes.

    Code 258 + k is the string of the k-th code and the byte after it, a piece of the output itself. So each byte has a
    source before it, and the literal bytes are their own.
    """
    order = np.arange(len(codes))
    literal = codes < _CLEAR
    earlier = np.where(literal, order, codes - _STRINGS)
    if (earlier + ~literal > order).any():
        raise ValueError("an LZW code that is not in the table")
    lengths = 1 + _steps(earlier)
    starts = lengths.cumsum() - lengths
    shown = np.searchsorted(starts, most)  # codes; others could expand a thousandfold
    sources = np.repeat((starts[earlier] - starts)[:shown], lengths[:shown])[:most]
    sources += np.arange(len(sources))
    pixels = np.zeros(len(sources), np.uint8)
    literal[shown:] = False
    pixels[starts[literal]] = codes[literal]
    return bytes(pixels[_roots(sources)])


def _steps(parents: NDArray[Any]) -> NDArray[np.int64]:
    """How many steps it takes from each index to its root, which is its own parent."""
    steps: NDArray[np.int64] = (parents != np.arange(len(parents))).astype(np.int64)
    while (more := steps[parents]).any():
        steps, parents = steps + more, parents[parents]
    return steps


def _roots(parents: NDArray[Any]) -> NDArray[Any]:
    while not np.array_equal(parents, further := parents.take(parents)):
        parents = further
    return parents


DECODERS: dict[int, Callable[[bytes, int], bytes]] = {5: _lzw, 8: _deflate, 32946: _deflate, 32773: _packbits}
