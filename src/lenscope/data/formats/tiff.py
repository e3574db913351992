"""Which TIFFs are read: uncompressed ones with bounded memory and time.

TIFF is a container for many codecs, and its tables may refer to the same bytes many times. TIFFs are refused here,
before Pillow opens them. Compressed ones would need libtiff, which also prints messages about broken files. Tags and
types are those of TIFF 6.0 (Adobe, 1992).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_UNREAD = (b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")  # BigTIFF, and contradictory byte orders
_COMPRESSION, _NONE = 259, 1
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_PLAIN = (1, 2, 6, 7)  # kept as bytes; other types become Python numbers
MAX_NUMBERS = 2**17  # per tag: a strip for each row, and twice that


class _Tag(NamedTuple):
    kind: int
    values: int
    first: int

    @property
    def size(self) -> int:
        """In bytes."""
        return _BYTES.get(self.kind, 1) * self.values


def complaint(content: bytes) -> str | None:
    """Why a TIFF is refused, as the end of a sentence; None if it is not, and for other formats."""
    if content[:4] in _UNREAD:
        return "is a BigTIFF or mixes byte orders; save it as PNG"
    order = _ORDERS.get(content[:4])
    if order is None:
        return None
    try:
        entries = _entries(content, order)
    except struct.error:
        return "is truncated; replace or remove it"
    tags = dict(entries)
    if len(tags) < len(entries) or sum(tag.size for tag in tags.values()) > len(content):
        return "refers to the same tags or bytes more than once; save it as PNG"
    if any(tag.kind not in _PLAIN and tag.values > MAX_NUMBERS for tag in tags.values()):
        return f"has more than {MAX_NUMBERS} numbers in a tag; save it as PNG"
    codec = tags[_COMPRESSION].first if _COMPRESSION in tags else _NONE
    return (
        None if codec == _NONE else f"is compressed (compression {codec}), expected an uncompressed one; save it as PNG"
    )


def _entries(content: bytes, order: str) -> list[tuple[int, _Tag]]:
    """The tags of the first directory with their numbers."""
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, start)
    return [_entry(content, order, start + 2 + 12 * number) for number in range(count)]


def _entry(content: bytes, order: str, at: int) -> tuple[int, _Tag]:
    number, kind, values = struct.unpack_from(f"{order}HHI", content, at)
    (first,) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", content, at + 8)
    return number, _Tag(kind, values, first)
