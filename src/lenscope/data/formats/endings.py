"""Where a picture ends in its file, by the structure of its format; cameras, phones and editors append other data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PIECES = 2**20  # that are parsed, a second at most; a GIF of 64 MiB has a quarter as many blocks
_TOO_MANY = f"it has more than {MAX_PIECES} pieces"
# In a scan, a 0xFF that does not start a segment is followed by 0x00, a restart (0xD0 to 0xD7) or another 0xFF.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)
_ALONE = (0x01, 0xD8, 0xD9)  # markers without a length
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def find_end(content: bytes) -> int | None:
    """The number of bytes of a PNG, JPEG or GIF; None if its end is missing.

    For other formats, whose decoders detect a missing end, the length of the content. Raises RuntimeError for more than
    MAX_PIECES pieces.
    """
    try:
        if content.startswith(b"\x89PNG"):
            return _end_of_png(content)
        if content.startswith(b"\xff\xd8"):
            return next((at for marker, at in _segments(content) if marker == _END_OF_IMAGE), None)
        return _end_of_gif(content) if content.startswith(b"GIF8") else len(content)
    except IndexError:  # beyond the last byte
        return None


def is_kept_whole(jpeg: bytes) -> bool:
    """Whether a decoder keeps all coefficients of a JPEG: it is progressive, or has one scan per component."""
    components = 0
    for marker, at in _segments(jpeg):
        if marker in _FRAMES:
            components = jpeg[at + 7]
            if marker > 0xC1:
                return True
        if marker == _START_OF_SCAN:
            return jpeg[at + 2] != components
    return True


def _segments(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """The markers of a JPEG, each with the position after it."""
    at = 2
    for _ in range(MAX_PIECES):
        found = _MARKER.search(jpeg, at)
        if found is None:
            return
        at = found.end()
        marker = jpeg[at - 1]
        yield marker, at
        at += 0 if marker in _ALONE else int.from_bytes(jpeg[at : at + 2])
    raise RuntimeError(_TOO_MANY)


def _end_of_png(content: bytes) -> int | None:
    at = 8
    for _ in range(MAX_PIECES):
        length, name = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        at += 12 + length
        if at > len(content):
            return None
        if name == b"IEND":
            return at
    raise RuntimeError(_TOO_MANY)


def _end_of_gif(content: bytes) -> int | None:
    at, blocks = 13 + _table(content[10]), False
    for _ in range(MAX_PIECES):
        kind = content[at]
        if blocks:  # of data, up to an empty one
            at, blocks = at + 1 + kind, kind > 0
        elif kind == ord(";"):
            return at + 1
        elif kind == ord(","):
            at, blocks = at + 11 + _table(content[at + 9]), True
        elif kind == ord("!"):
            at, blocks = at + 2, True
        else:  # decoders skip it
            at += 1
    raise RuntimeError(_TOO_MANY)


def _table(flags: int) -> int:
    """The size of a colour table in bytes."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
