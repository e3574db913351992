"""Files made to harm: each is refused in one line, at no cost."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from fixtures_data import encode_idx, picture, random_images
from lenscope.data.formats import idx
from lenscope.data.formats.idx import decode_idx, read_idx, unpack
from lenscope.data.formats.pictures import decode_picture
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def at_most(limit_bytes: int) -> Iterator[None]:
    """No more memory than this at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit_bytes
    finally:
        tracemalloc.stop()


def idx_header(*shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)


def bomb(header: bytes, zeros: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(header)]
    parts += [packer.compress(bytes(2**20)) for _ in range(zeros >> 20)]
    return b"".join([*parts, packer.flush()])


def test_a_bomb_behind_a_small_header_costs_no_memory() -> None:
    raw = bomb(idx_header(100), 2**28)
    assert 2**28 / len(raw) > 1000
    with at_most(2**20 + 2 * len(raw)), pytest.raises(DataError, match="trailing bytes"):
        decode_idx(unpack(raw, "x"), "x")


def test_a_bomb_with_an_honest_header_costs_no_memory() -> None:
    raw = bomb(idx_header(2**28), 2**28)
    with at_most(2**20 + 2 * len(raw)), pytest.raises(DataError, match="refused as a decompression bomb"):
        unpack(raw, "x")


def test_a_small_file_that_packs_well_is_welcome() -> None:
    images = np.zeros((1000, 28, 28), np.uint8)
    assert np.array_equal(decode_idx(unpack(gzip.compress(encode_idx(images)), "x"), "x"), images)


def test_a_header_that_promises_gigabytes_costs_no_memory() -> None:
    for raw in (idx_header(2**20, 2**10), gzip.compress(idx_header(2**20, 2**10))):
        with at_most(2**20), pytest.raises(DataError):
            decode_idx(unpack(raw, "x"), "x")


def test_gzip_of_several_members_is_read_and_a_wrong_checksum_or_length_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = gzip.compress(encode_idx(np.ones(9, np.uint8)))
    assert decode_idx(unpack(raw, "x"), "x").sum() == 9
    content = encode_idx(np.arange(200, dtype=np.uint8))
    for cuts in ([1, 5, 30], [0, 0, 208], [208, 208], list(range(208))):
        members = [content[start:end] for start, end in pairwise([0, *cuts, len(content)])]
        several = b"".join(map(gzip.compress, members))
        assert unpack(several, "x") == content
        with pytest.raises(DataError, match="x: truncated gzip: its end is missing"):
            unpack(several[:-3], "x")
        with pytest.raises(DataError, match="x: 2 bytes after the end of the gzip"):
            unpack(several + b"ab", "x")
    monkeypatch.setattr(idx, "_MOST_MEMBERS", 207)
    with pytest.raises(DataError, match="x: 42 bytes after the end of the gzip"):
        unpack(several, "x")
    for position in range(len(raw) - 8, len(raw)):
        broken = bytearray(raw)
        broken[position] ^= 1
        with pytest.raises(DataError, match="x: broken gzip: incorrect"):
            unpack(bytes(broken), "x")


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.gz")
    with pytest.raises(DataError, match="not a regular file"):
        read_idx(tmp_path / "x.gz")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [60_000, 10_000, 4097])
def test_a_picture_with_a_huge_header_costs_no_memory(side: int) -> None:
    decode_picture(picture(), "warm")
    with at_most(2**20), pytest.raises(DataError, match="more than 16777216 pixels"):
        decode_picture(png_header(side, side), "x")


@pytest.mark.parametrize(("width", "height"), [(1, 2**16 + 1), (2**16 + 1, 1)])
def test_a_picture_as_long_as_many_are_large_is_refused(width: int, height: int) -> None:
    with pytest.raises(DataError, match=f"x: {width}×{height} is longer than 65536 pixels"):
        decode_picture(png_header(width, height), "x")


def with_parts(format_: str, part: bytes, count: int) -> bytes:
    """A picture with so many equal parts before its pixels."""
    whole = picture(random_images(1, 7, 9, 3)[0], format_)
    place = {"PNG": 33, "JPEG": 2, "GIF": 13 + 3 * 2 ** (whole[10] % 8 + 1)}[format_]  # past header and palette
    return whole[:place] + part * count + whole[place:]


@pytest.mark.parametrize(
    ("format_", "part"),
    [
        ("PNG", chunk(b"aaAa", b"")),
        ("PNG", chunk(b"IDAT", b"")),
        ("JPEG", b"\xff"),
        ("JPEG", b"\xff\xfe\0\2"),
        ("GIF", b"!\xfe\1a\0"),
        ("GIF", b"\0"),
    ],
)
def test_a_picture_in_millions_of_pieces_is_refused_after_the_first(format_: str, part: bytes) -> None:
    decode_picture(with_parts(format_, part, 10), "x")
    with pytest.raises(DataError, match="x: broken picture: it has more than 262144 pieces"):
        decode_picture(with_parts(format_, part, 2**18), "x")


@pytest.mark.parametrize(
    ("format_", "part"),
    [
        ("PNG", chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(2**20 - 1), 9))),
        ("JPEG", b"\xff\xe1\xff\xff" + b"Exif\0\0MM".ljust(2**16 - 3)),
    ],
)
def test_a_picture_with_thousands_of_profiles_or_exif_is_refused(format_: str, part: bytes) -> None:
    decode_picture(with_parts(format_, part, 2), "x")
    with pytest.raises(DataError, match="x: more than 50 scans, EXIF parts or profiles"):
        decode_picture(with_parts(format_, part, 51), "x")


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    whole = picture(random_images(1, 16, 16, 3)[0], "JPEG", progressive=True)
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    decode_picture(whole[:-2] + scan * 20 + whole[-2:], "x")
    with pytest.raises(DataError, match="x: more than 50 scans, EXIF parts or profiles"):
        decode_picture(whole[:-2] + scan * 10_000 + whole[-2:], "x")


@pytest.mark.parametrize("packing", [1, 2])
def test_a_bitmap_packed_by_run_lengths_is_refused(packing: int) -> None:
    whole = bytearray(picture(format_="BMP"))
    whole[28], whole[30] = 8 // packing, packing  # bits a pixel, and how they are packed
    with pytest.raises(DataError, match="x: a run-length encoded bitmap; save it as PNG"):
        decode_picture(bytes(whole), "x")


def test_a_bitmap_with_masks_of_bits_is_read() -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 32, 3, 4, 0, 0, 0, 0)
    masks = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    content = b"BM" + struct.pack("<IHHI", 70, 0, 0, 66) + header + masks + bytes([3, 2, 1, 0])
    assert decode_picture(content, "x").tolist() == [[[1, 2, 3]]]


def test_contrast_costs_little_more_memory_than_the_picture() -> None:
    content = picture(np.zeros((1024, 1024, 4), np.uint8))
    with at_most(4 * 2**22):
        decode_picture(content, "x", contrast=True)


@pytest.mark.parametrize("format_", ["PPM", "ICO", "TGA"])
def test_other_formats_are_refused(format_: str) -> None:
    with pytest.raises(DataError, match="not a picture"):
        decode_picture(picture(format_=format_), "x")


NAMED = {
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "AVIF": b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
    "JPEG XL": b"\xff\x0a\xfa\x1f",
    "PDF": picture(format_="PDF"),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.mark.parametrize("name", NAMED)
def test_common_formats_are_refused_by_name(name: str) -> None:
    with pytest.raises(DataError, match=f"x: {name}, which is not read; save it as PNG or JPEG; expected PNG"):
        decode_picture(NAMED[name], "x")


def test_a_png_whose_text_unpacks_to_much_more_is_refused() -> None:
    whole = picture()
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**26), 9))
    with at_most(2**24), pytest.raises(DataError, match="broken picture"):
        decode_picture(whole[:33] + text + whole[33:], "x")


def test_pillow_is_left_as_it_was() -> None:
    before = (Image.MAX_IMAGE_PIXELS, dict(Image.OPEN))
    decode_picture(picture(), "x")
    assert (Image.MAX_IMAGE_PIXELS, dict(Image.OPEN)) == before
