"""Compressed TIFFs are read; those that could take much memory or time are refused before any decoder sees them."""

from __future__ import annotations

import io
import itertools
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from fixtures_data import picture, random_images
from lenscope.data.formats import tiff
from lenscope.data.formats.pictures import decode_picture
from lenscope.errors import DataError

GREY = random_images(1, 5, 8)[0]
LONG, SHORT, BYTE = 4, 3, 1


def made(*changes: tuple[int, int, int, int], pixels: bytes = bytes(40), order: str = "<") -> bytes:
    """An 8×5 grey TIFF with these tags (number, type, count, value) changed or added."""
    tags = {
        256: (SHORT, 1, 8), 257: (SHORT, 1, 5), 258: (SHORT, 1, 8), 259: (SHORT, 1, 1), 262: (SHORT, 1, 1),
        273: (LONG, 1, 8), 277: (SHORT, 1, 1), 278: (SHORT, 1, 5), 279: (LONG, 1, len(pixels)),
    }  # fmt: skip
    entries = [(number, *tags[number]) for number in tags if number not in {change[0] for change in changes}]
    entries = [entry for entry in sorted((*entries, *changes)) if entry[1]]
    start = {"<": b"II*\0", ">": b"MM\0*"}[order]
    head = start + struct.pack(f"{order}I", 8 + len(pixels)) + pixels + struct.pack(f"{order}H", len(entries))
    packed = [
        struct.pack(f"{order}HHI", *entry[:3])
        + struct.pack(
            f"{order}HH" if entry[1] == SHORT else f"{order}I", *([entry[3], 0] if entry[1] == SHORT else [entry[3]])
        )
        for entry in entries
    ]
    return head + b"".join(packed) + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_either_order_is_read(order: str) -> None:
    content = made(pixels=GREY.tobytes(), order=order)
    assert tiff.complaint(content) is None
    assert np.array_equal(decode_picture(content, "x"), GREY)


REFUSED: dict[str, tuple[Any, str]] = {
    "many strips of the same bytes": (
        made((273, LONG, 1000, 8), (278, SHORT, 1, 4), pixels=struct.pack("<I", 5000) * 1000),
        "a TIFF whose strips overlap",
    ),
    "many numbers": (made((330, SHORT, 2**17 + 1, 8), pixels=bytes(2**19)), "a TIFF that has more than 131072 numbers"),
    "the same bytes in many tags": (
        made(*((number, BYTE, 90_000, 8) for number in range(700, 900)), pixels=bytes(10**5)),
        "a TIFF that refers to the same tags or bytes more than once",
    ),
    "the same tag twice": (
        made((259, SHORT, 1, 1), (259, SHORT, 1, 7)),
        "a TIFF that refers to the same tags or bytes more than once",
    ),
    "a codec of JPEG": (
        made((259, SHORT, 1, 7)),
        "a TIFF that has compression 7, expected none, LZW, Deflate or PackBits; save it as PNG",
    ),
    "no directory": (b"II*\0\xff\xff\xff\0", "a TIFF that is truncated"),
    "more bands than Pillow knows": (made((277, SHORT, 1, 300)), "not a picture"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_tiff_that_could_take_long_is_refused(what: str, capfd: pytest.CaptureFixture[str]) -> None:
    content, says = REFUSED[what]
    with pytest.raises(DataError, match=f"x: {says}"):
        decode_picture(content, "x")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_a_tiff_of_32_bits_is_refused(kind: Any) -> None:
    with pytest.raises(DataError, match="x: a TIFF with 32 bits per sample; save it with 8 or 16"):
        decode_picture(picture(GREY.astype(kind), "TIFF"), "x")


def test_every_other_header_that_pillow_opens_as_a_tiff_is_refused() -> None:
    for prefix in TiffImagePlugin.PREFIXES:
        found = tiff.complaint(prefix + made()[4:])
        assert prefix in tiff._KINDS or found == "is a big-endian BigTIFF or mixes byte orders; save it as PNG"
        assert found or prefix == b"II*\0"


SMOOTH = (
    np.add.outer(np.arange(90), np.arange(70))[..., None] * [1, 0.5, 0.2] + random_images(1, 90, 70, 3)[0] % 4
) % 256
PICTURE = Image.fromarray(SMOOTH.astype(np.uint8))
PICTURES = {mode: PICTURE.convert(mode) for mode in ("1", "L", "P", "LA", "RGB", "RGBA")}
PICTURES["I;16"] = Image.fromarray(np.asarray(PICTURE)[..., 0] * np.uint16(255))
CODECS = {"raw": 1, "tiff_lzw": 5, "tiff_adobe_deflate": 8, "packbits": 32773, "tiff_deflate": 32946}


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("mode", PICTURES)
@pytest.mark.parametrize("codec", CODECS)
def test_a_compressed_tiff_has_the_pixels_of_a_png(
    codec: str, mode: str, predictor: int, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = decode_picture(saved(PICTURES[mode], "PNG"), "x")
    for rows, options in itertools.product((1, 7, 90), ({}, {"big_endian": True}, {"big_tiff": True})):
        tags = {278: rows, **({317: predictor} if predictor == 2 and mode != "1" and codec != "packbits" else {})}
        content = saved(PICTURES[mode], "TIFF", compression=codec, tiffinfo=tags, strip_size=1, **options)
        assert np.array_equal(decode_picture(content, "x"), expected)
    assert capfd.readouterr() == ("", "")


def packed(*changes: tuple[int, int, int, int], codec: int = 8, pieces: list[bytes], table: int = 273) -> bytes:
    """The TIFF of `made` with compressed strips, or tiles if `table` is 324."""
    ends = np.cumsum([8 + 8 * len(pieces), *map(len, pieces)])[:-1]
    words = np.array([ends, [*map(len, pieces)]], "<u4")
    where = [8, 8 + 4 * len(pieces)] if len(pieces) > 1 else words[:, 0].tolist()
    tables = [(table + (6 if table == 273 else 1) * row, LONG, len(pieces), at) for row, at in enumerate(where)]
    known = {change[0] for change in changes} | ({273, 279} if table == 324 else set())
    gone = [(tag, 0, 0, 0) for tag in (273, 279) if table == 324]
    tables = [entry for entry in tables if entry[0] not in known]
    return made(*changes, *gone, *tables, (259, SHORT, 1, codec), pixels=words.tobytes() + b"".join(pieces))


def test_tiles_and_separate_planes_are_read() -> None:
    tiles = np.zeros((32, 48, 3), np.uint8)
    tiles[:20, :40] = random_images(1, 20, 40, 3)[0]
    pieces = [
        zlib.compress(tiles[y : y + 16, x : x + 16, plane].tobytes())
        for plane in range(3)
        for y in (0, 16)
        for x in (0, 16, 32)
    ]
    shape = ((256, SHORT, 1, 40), (257, SHORT, 1, 20), (277, SHORT, 1, 3), (262, SHORT, 1, 2), (284, SHORT, 1, 2))
    content = packed(*shape, (322, SHORT, 1, 16), (323, SHORT, 1, 16), pieces=pieces, table=324)
    assert np.array_equal(decode_picture(content, "x"), tiles[:20, :40])


def lzw(codes: list[int]) -> bytes:
    """A clear code and others with the widths that they have in a TIFF."""
    widths = [9, *itertools.chain([9] * 254, [10] * 512, [11] * 1024, [12] * len(codes))]
    bits = "".join(f"{code:0{width}b}" for code, width in zip(codes, widths, strict=False))
    return int(bits + "0" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8))


DEFLATED = zlib.compress(GREY.tobytes())
CLEARS = int("100000000" * 8, 2).to_bytes(9)
LZW = lzw([256, *GREY.ravel().tolist(), 257])
HOSTILE: dict[str, tuple[Any, str]] = {
    "cut": (packed(pieces=[DEFLATED[:-9]]), "broken picture: a strip has .* bytes, expected 40"),
    "not Deflate": (packed(pieces=[b"x" * 40]), "broken picture: Error -3 while decompressing"),
    "cut PackBits": (packed(codec=32773, pieces=[b"\xd9\7"[:1]]), "broken picture: not enough image data"),
    "cut LZW": (packed(codec=5, pieces=[b"\x80\0\1"]), "broken picture: a strip has 1 bytes, expected 40"),
    "an LZW code of no string": (
        packed(codec=5, pieces=[b"\x80\x7f\xff\xff"]),
        "broken picture: an LZW code that is not",
    ),
    "LZW that is cleared in vain": (packed(codec=5, pieces=[CLEARS + LZW]), "broken picture: a strip has 0 bytes"),
    "beyond the file": (packed((273, LONG, 1, 2**31), pieces=[DEFLATED]), "broken picture: a strip has 0 bytes"),
    "a strip too few": (
        packed((278, SHORT, 1, 4), pieces=[DEFLATED]),
        "a TIFF that has 1 strips of 1 sizes, expected 2",
    ),
    "no sizes": (packed((279, SHORT, 0, 0), pieces=[DEFLATED]), "a TIFF that has 1 strips of 0 sizes, expected 1"),
    "a bomb": (
        packed((256, SHORT, 1, 2**13), (257, SHORT, 1, 2**14), pieces=[DEFLATED]),
        "a TIFF that has more than 16384 strips",
    ),
    "many strips": (
        packed((257, SHORT, 1, 2**15), (278, SHORT, 1, 1), pieces=[DEFLATED]),
        "a TIFF that has more than 16384",
    ),
    "strips of the same bytes": (
        packed((278, SHORT, 1, 1), (273, LONG, 5, 16), (279, LONG, 5, 16), pieces=[struct.pack("<5I", *[99] * 5)]),
        "a TIFF that refers to the same tags or bytes more than once",
    ),
    "no height": (packed((257, SHORT, 1, 0), pieces=[DEFLATED]), "a TIFF that has no pixels"),
    "no columns of tiles": (packed((322, SHORT, 1, 0), pieces=[DEFLATED], table=324), "a TIFF that has no pixels"),
    "bits in disorder": (
        packed((266, SHORT, 1, 2), pieces=[DEFLATED]),
        "a TIFF that has fill order 2, expected 1; save",
    ),
    "differences of numbers": (
        packed((317, SHORT, 1, 3), pieces=[DEFLATED]),
        "a TIFF that has predictor 3, expected 1 or 2",
    ),
    "differences of bits": (
        packed((258, SHORT, 1, 1), (317, SHORT, 1, 2), pieces=[DEFLATED]),
        "a TIFF that has predictor 2 with 1 bits per sample",
    ),
    "differences in PackBits": (
        packed((317, SHORT, 1, 2), codec=32773, pieces=[bytes(40)]),
        "a TIFF that has predictor 2 with 8 bits per sample and compression 32773",
    ),
    "planes of 16 bits": (
        packed((258, SHORT, 1, 16), (284, SHORT, 1, 2), pieces=[DEFLATED]),
        "a TIFF that has separate planes of more than 8 bits",
    ),
    "very many tags": (
        b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + bytes(20 * (2**16 + 1)),
        "a TIFF that refers to the same tags or bytes more than once",
    ),
    "a directory far away": (b"II+\0\x08\0\0\0" + b"\xff" * 8, "a TIFF that is truncated"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_compressed_tiff_is_refused(what: str, capfd: pytest.CaptureFixture[str]) -> None:
    content, says = HOSTILE[what]
    with pytest.raises(DataError, match=f"x: {says}"):
        decode_picture(content, "x")
    assert capfd.readouterr() == ("", "")


def test_a_compressed_tiff_is_never_unpacked_beyond_its_size() -> None:
    """Decoders stop at the size in the header, however far a strip expands."""
    growing = lzw([256, 0, *range(258, 4095)])  # each string is the one before it and a byte more
    for codec, bomb in ((5, growing), (8, zlib.compress(bytes(2**27))), (32773, b"\x81\0" * 2**20)):
        tracemalloc.start()
        assert not decode_picture(packed(codec=codec, pieces=[bomb]), "x").any()
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        tracemalloc.stop()


@pytest.mark.parametrize(("codec", "strip"), [(5, LZW), (8, DEFLATED)])
def test_a_single_strip_is_read(codec: int, strip: bytes) -> None:
    assert np.array_equal(decode_picture(packed(codec=codec, pieces=[strip]), "x"), GREY)
