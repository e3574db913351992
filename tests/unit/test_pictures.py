from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fixtures_data import picture, random_images
from lenscope.data import pictures
from lenscope.data.pictures import decode_picture, read_picture
from lenscope.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

Array = np.ndarray[Any, Any]
GREY = random_images(1, 5, 8)[0]
COLOUR = random_images(1, 5, 8, 3)[0]


@pytest.mark.parametrize("format_", ["PNG", "BMP", "GIF"])
def test_grey_pictures_come_back_as_they_were(format_: str) -> None:
    assert np.array_equal(decode_picture(picture(GREY, format_), "x"), GREY)


@pytest.mark.parametrize("format_", ["PNG", "BMP"])
def test_colour_pictures_come_back_as_they_were(format_: str) -> None:
    assert np.array_equal(decode_picture(picture(COLOUR, format_), "x"), COLOUR)


def test_jpeg_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(picture(np.full((9, 9), 77, np.uint8), "JPEG"))
    assert np.array_equal(read_picture(tmp_path / "x.png"), np.full((9, 9), 77))


def test_colour_whose_channels_agree_is_grey() -> None:
    assert np.array_equal(decode_picture(picture(np.stack([GREY] * 3, -1)), "x"), GREY)


def test_black_and_white_and_palettes_are_read() -> None:
    bits = Image.fromarray(GREY > 99)
    assert np.array_equal(decode_picture(picture(np.asarray(bits)), "x"), (GREY > 99) * 255)
    palette = Image.fromarray(COLOUR).quantize(8)
    expected = np.asarray(palette.convert("RGB"))
    stream = io.BytesIO()
    palette.save(stream, "PNG")
    assert np.array_equal(decode_picture(stream.getvalue(), "x"), expected)


def test_sixteen_bits_are_rounded_to_eight() -> None:
    words = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    assert decode_picture(picture(words), "x").tolist() == [[0, 0, 1, 1, 128, 255]]


def test_transparency_is_laid_over_white() -> None:
    layers = np.zeros((1, 3, 4), np.uint8)
    layers[0, :, 3] = (0, 128, 255)
    assert decode_picture(picture(layers), "x").tolist() == [[255, 127, 0]]
    layers = np.array([[[9, 0], [9, 255]]], np.uint8)
    assert decode_picture(picture(layers), "x").tolist() == [[255, 9]]


def test_one_transparent_colour_is_laid_over_white() -> None:
    assert decode_picture(picture(np.array([[3, 7]], np.uint8), transparency=3), "x").tolist() == [[255, 7]]


def test_the_cameras_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert np.array_equal(decode_picture(picture(GREY, exif=exif), "x"), np.rot90(GREY, -1))


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    content = picture(np.full((4, 4), 10, np.uint8), "GIF", save_all=True, append_images=frames[1:])
    assert decode_picture(content, "x").tolist() == [[10] * 4] * 4


def test_padding_with_zero_bytes_is_no_fault() -> None:
    assert np.array_equal(decode_picture(picture(GREY) + bytes(7), "x"), GREY)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: cannot be read: No such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(DataError, match="not an ordinary file"):
        read_picture(tmp_path)


def test_a_long_file_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 10)
    with pytest.raises(DataError, match="x: more than 10 bytes"):
        decode_picture(picture(GREY), "x")


@pytest.mark.parametrize(("ink", "contrast", "expected"), [(255, True, 0), (0, True, 255), (255, False, 255)])
def test_ink_on_a_transparent_ground_is_laid_over_what_shows_it(ink, contrast, expected):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[2:6, 3:5] = (ink, ink, ink, 255)
    decoded = decode_picture(picture(pixels), "x", contrast=contrast)
    assert decoded[0, 0] == expected
    assert decoded[3, 3] == ink
