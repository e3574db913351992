"""Which TIFFs are read: those with bounded memory and time, uncompressed or in one of the codecs of `compression.py`.

TIFF is a container for many codecs, and its tables may refer to the same bytes many times. TIFFs are refused here,
before Pillow opens them, and compressed ones are made uncompressed: Pillow would call libtiff, which prints messages
about broken files. Tags and types are those of TIFF 6.0 (Adobe, 1992) and of BigTIFF.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.data.formats.compression import DECODERS

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Kind(NamedTuple):
    """The codes of `struct` for a file's byte order, the number of its tags, and its offsets; the type of offsets."""

    order: str
    number: str
    word: str
    type: int


_KINDS = {b"II*\0": _Kind("<", "H", "I", 4), b"MM\0*": _Kind(">", "H", "I", 4), b"II+\0": _Kind("<", "Q", "Q", 16)}
_UNREAD = (b"MM\0+", b"II\0*", b"MM*\0")  # a BigTIFF that Pillow does not read, and contradictory byte orders
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _PLANAR, _PREDICTOR = 273, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_SIZES = (_WIDTH, _HEIGHT, _SAMPLES, _ROWS, _TILE_WIDTH, _TILE_HEIGHT)
_ONES = (_BITS, _COMPRESSION, _FILL_ORDER, _SAMPLES, _PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT)
_DEFAULTS = {**dict.fromkeys(_ONES, 1), _ROWS: 2**32 - 1}  # others are 0
_NONE, _PACKBITS, _APART, _DIFFERENCES = 1, 32773, 2, 2  # of compression, planar configuration and predictor
# Of compressed ones: the values of these tags that are read.
_READ = {
    _BITS: ("bits per sample", (1, 2, 4, 8, 16)),
    _PHOTOMETRIC: ("photometric interpretation", (0, 1, 2, 3, 5)),
    _FILL_ORDER: ("fill order", (1,)),
    _PLANAR: ("planar configuration", (1, 2)),
    _PREDICTOR: ("predictor", (1, 2)),
}
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {3: "H", 4: "I", 16: "Q"}
_PLAIN = (1, 2, 6, 7)  # kept as bytes; other types become Python numbers
_TWICE = "refers to the same tags or bytes more than once; save it as PNG"
MAX_TAGS = 2**16 + 1  # among which two are the same
MAX_NUMBERS = 2**17  # per tag: a strip for each row, and twice that
MAX_STRIPS = 2**14  # of a compressed one; each takes 0.1 ms
MAX_UNPACKED = 2**26  # bytes, as many as an uncompressed file may have


class _Tag(NamedTuple):
    kind: int
    values: int
    entry: int  # where its entry in the directory is
    at: int  # where its values are

    @property
    def size(self) -> int:
        """In bytes."""
        return _BYTES.get(self.kind, 1) * self.values


class _Layout(NamedTuple):
    """How the pixels are divided into strips or tiles: `across` in each of `down` rows, of each of `planes`."""

    height: int
    piece: tuple[int, int]  # width and height of a strip or tile in pixels
    across: int
    down: int
    planes: int
    samples: int  # of a pixel in a strip
    bits: int
    tiled: bool

    @property
    def pieces(self) -> int:
        return self.planes * self.down * self.across

    @property
    def row(self) -> int:
        """Bytes in a row of a strip."""
        return -(-self.piece[0] * self.samples * self.bits // 8)

    def rows(self, number: int) -> int:
        """Rows of pixels in a strip or tile; the last strip has those that are left."""
        tall = self.piece[1]
        return tall if self.tiled else min(tall, self.height - number % self.down * tall)


class _Directory:
    """The first directory of a TIFF; struct.error if the file ends before it."""

    def __init__(self, content: bytes) -> None:
        self.content, self.kind = content, _KINDS[content[:4]]
        order, number, word, _ = self.kind
        self.head = f"{order}HH{word}"
        long = struct.calcsize(word)
        (start,) = struct.unpack_from(order + word, content, long)
        (count,) = struct.unpack_from(order + number, content, start)
        first, step = start + struct.calcsize(number), struct.calcsize(self.head) + long
        self.entries = [self._entry(first + step * place, long) for place in range(min(count, MAX_TAGS))]
        self.tags = dict(self.entries)

    def _entry(self, at: int, long: int) -> tuple[int, _Tag]:
        number, kind, values = struct.unpack_from(self.head, self.content, at)
        inline = at + struct.calcsize(self.head)
        (elsewhere,) = struct.unpack_from(self.kind.order + self.kind.word, self.content, inline)
        tag = _Tag(kind, values, at, inline)
        return number, tag if tag.size <= long else tag._replace(at=elsewhere)

    def values(self, number: int, count: int) -> tuple[int, ...]:
        """The first `count` whole numbers of a tag."""
        tag = self.tags[number]
        return struct.unpack_from(f"{self.kind.order}{count}{_CODES.get(tag.kind, 'B')}", self.content, tag.at)

    def first(self, number: int) -> int:
        """A tag's first number, or its default."""
        return self.values(number, 1)[0] if number in self.tags else _DEFAULTS.get(number, 0)


def complaint(content: bytes) -> str | None:
    """Why a TIFF is refused, as the end of a sentence; None if it is not, and for other formats."""
    if content[:4] in _UNREAD:
        return "is a big-endian BigTIFF or mixes byte orders; save it as PNG"
    if content[:4] not in _KINDS:
        return None
    try:
        return next(_complaints(_Directory(content)), None)
    except (struct.error, OverflowError):
        return "is truncated; replace or remove it"


def _complaints(directory: _Directory) -> Iterator[str]:
    """All of them; each is certain only if there is none before it."""
    tags = directory.tags.values()
    if len(tags) < len(directory.entries) or sum(tag.size for tag in tags) > len(directory.content):
        yield _TWICE
    if any(tag.kind not in _PLAIN and tag.values > MAX_NUMBERS for tag in tags):
        yield f"has more than {MAX_NUMBERS} numbers in a tag; save it as PNG"
    if directory.first(_PLANAR) == _APART and directory.first(_BITS) > 8:  # Pillow reads other pixels
        yield "has separate planes of more than 8 bits; save it as PNG"
    if directory.first(_COMPRESSION) != _NONE:
        yield from _complaints_of_packed(directory)


def _complaints_of_packed(directory: _Directory) -> Iterator[str]:
    if (codec := directory.first(_COMPRESSION)) not in DECODERS:
        yield f"has compression {codec}, expected none, LZW, Deflate or PackBits; save it as PNG"
    for tag, (name, expected) in _READ.items():
        if (found := directory.first(tag)) not in expected:
            yield f"has {name} {found}, expected {' or '.join(map(str, expected))}; save it as PNG"
    if not all(map(directory.first, _SIZES)):
        yield "has no pixels; replace or remove it"
    layout = _layout(directory)
    if directory.first(_PREDICTOR) == _DIFFERENCES and (layout.bits < 8 or codec == _PACKBITS):  # readers disagree
        yield f"has predictor 2 with {layout.bits} bits per sample and compression {codec}; save it as PNG"
    if layout.pieces > MAX_STRIPS or layout.pieces * layout.piece[1] * layout.row > MAX_UNPACKED:
        yield f"has more than {MAX_STRIPS} strips or {MAX_UNPACKED} bytes of pixels; save it as PNG"
    found, counts = (directory.tags[tag].values if tag in directory.tags else 0 for tag in _tables(layout))
    if not found == counts == layout.pieces:
        yield f"has {found} strips of {counts} sizes, expected {layout.pieces}; replace or remove it"
    if sum(directory.values(_tables(layout)[1], counts)) > len(directory.content):
        yield _TWICE


def _layout(directory: _Directory) -> _Layout:
    first = directory.first
    width, height, samples = first(_WIDTH), first(_HEIGHT), first(_SAMPLES)
    tiled = _OFFSETS not in directory.tags  # as Pillow decides
    piece = (first(_TILE_WIDTH), first(_TILE_HEIGHT)) if tiled else (width, min(first(_ROWS), height))
    planes = samples if first(_PLANAR) == _APART else 1
    across, down = -(-width // piece[0]), -(-height // piece[1])
    return _Layout(height, piece, across, down, planes, samples // planes, first(_BITS), tiled)


def _tables(layout: _Layout) -> tuple[int, int]:
    """The tags with the places and sizes of strips or tiles."""
    return (_TILE_OFFSETS, _TILE_COUNTS) if layout.tiled else (_OFFSETS, _COUNTS)


def unpack(content: bytes) -> bytes:
    """A TIFF without complaint as an uncompressed one; other files as they are.

    The pixels are appended, and the entries of the directory that say where and how they are stored are replaced.
    Raises ValueError or zlib.error for a broken strip.
    """
    if content[:4] not in _KINDS:
        return content
    directory = _Directory(content)
    codec = directory.first(_COMPRESSION)
    if codec == _NONE:
        return content
    layout = _layout(directory)
    offsets, counts = _tables(layout)
    places = zip(*(directory.values(tag, layout.pieces) for tag in (offsets, counts)), strict=True)
    strips = [
        _summed(DECODERS[codec](content[at : at + size], layout.rows(number) * layout.row), layout, directory)
        for number, (at, size) in enumerate(places)
    ]
    ends = np.cumsum([len(content), *map(len, strips)]).tolist()
    order, _, word, type_ = directory.kind
    changed = bytearray(content)
    table = ends[0] if len(strips) == 1 else ends[-1]  # a single value is in the entry itself
    for tag, *entry in ((_COMPRESSION, type_, 1, _NONE), (offsets, type_, len(strips), table)):
        struct.pack_into(directory.head + word, changed, directory.tags[tag].entry, tag, *entry)
    return b"".join([changed, *strips, struct.pack(f"{order}{len(strips)}{word}", *ends[:-1])])


def _summed(pixels: bytes, layout: _Layout, directory: _Directory) -> bytes:
    """The pixels of a strip in which each sample may be stored as its difference from the one to its left."""
    if directory.first(_PREDICTOR) != _DIFFERENCES:
        return pixels
    differences = np.frombuffer(pixels, f"{directory.kind.order}u{layout.bits // 8}")
    rows = differences.reshape(-1, layout.piece[0], layout.samples)
    return rows.cumsum(1, dtype=f"u{layout.bits // 8}").astype(differences.dtype).tobytes()
