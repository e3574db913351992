"""TIFFs that could take much memory or time are refused before any decoder sees them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from PIL import TiffImagePlugin

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
        "a TIFF that is compressed .compression 7., expected an uncompressed one",
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
        assert found == ("is a BigTIFF or mixes byte orders; save it as PNG" if prefix not in tiff._ORDERS else found)
        assert found or prefix == b"II*\0"
