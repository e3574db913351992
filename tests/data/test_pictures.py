from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fixtures_data import picture, random_images
from lenscope.data.formats import endings, pictures
from lenscope.data.formats.pictures import decode_picture, read_picture
from lenscope.errors import DataError

Array = np.ndarray[Any, Any]
GREY = random_images(1, 5, 8)[0]
COLOUR = random_images(1, 5, 8, 3)[0]


@pytest.mark.parametrize("format_", ["PNG", "BMP", "GIF", "TIFF"])
def test_pictures_come_back_as_they_were(format_: str) -> None:
    assert np.array_equal(decode_picture(picture(GREY, format_), "x"), GREY)
    assert format_ == "GIF" or np.array_equal(decode_picture(picture(COLOUR, format_), "x"), COLOUR)


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
    for format_ in ("PNG", "TIFF"):
        assert decode_picture(picture(words, format_), "x").tolist() == [[0, 0, 1, 1, 128, 255]]


def test_transparency_is_laid_over_white() -> None:
    layers = np.zeros((1, 3, 4), np.uint8)
    layers[0, :, 3] = (0, 128, 255)
    assert decode_picture(picture(layers), "x").tolist() == [[255, 127, 0]]
    layers = np.array([[[9, 0], [9, 255]]], np.uint8)
    assert decode_picture(picture(layers), "x").tolist() == [[255, 9]]
    assert decode_picture(picture(np.array([[3, 7]], np.uint8), transparency=3), "x").tolist() == [[255, 7]]


def test_the_cameras_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert np.array_equal(decode_picture(picture(GREY, exif=exif), "x"), np.rot90(GREY, -1))


@pytest.mark.parametrize("options", [{"format_": "GIF"}, {"format_": "WEBP", "lossless": True}, {"format_": "TIFF"}])
def test_of_several_frames_the_first_is_taken(options: dict[str, Any]) -> None:
    frame = Image.fromarray(np.full((4, 4), 200, np.uint8))
    content = picture(np.full((4, 4), 10, np.uint8), **options, save_all=True, append_images=[frame])
    assert decode_picture(content, "x").tolist() == [[10] * 4] * 4


def animation() -> bytes:
    frames = [Image.fromarray(random_images(1, 9, 9, seed=seed)[0]) for seed in range(3)]
    return picture(GREY, "GIF", save_all=True, append_images=frames, interlace=1)


WHOLE = {
    "PNG": picture(COLOUR),
    "JPEG": picture(COLOUR, "JPEG"),
    "progressive JPEG": picture(random_images(1, 90, 90, 3)[0], "JPEG", progressive=True),
    "JPEG with restarts": picture(random_images(1, 90, 90, 3)[0], "JPEG", restart_marker_blocks=1),
    "JPEG with another in it": picture(COLOUR, "JPEG", comment=picture(COLOUR, "JPEG")),
    "GIF": picture(GREY, "GIF"),
    "animated GIF": animation(),
}


@pytest.mark.parametrize("name", WHOLE)
def test_bytes_after_the_end_of_a_picture_are_ignored(name: str) -> None:
    """Phones append films and thumbnails to a JPEG, editors a line end to a PNG."""
    whole = WHOLE[name]
    for trailer in (b"\n", b"\0", b"SEFT" * 16 + b"xyz", b"\xff\xda" * 99, picture(COLOUR, "JPEG") * 60):
        assert np.array_equal(decode_picture(whole + trailer, "x"), decode_picture(whole, "x"))
    for end in (*range(len(whole) - 9, len(whole)), len(whole) // 2):
        with pytest.raises(DataError):
            decode_picture(whole[:end], "x")


@pytest.mark.parametrize("format_", ["BMP", "WEBP", "TIFF"])
def test_a_cut_picture_is_refused(format_: str) -> None:
    whole = picture(random_images(1, 7, 8)[0], format_)
    for length in (0, 9, 20, len(whole) // 2, len(whole) - 1):
        with pytest.raises(DataError):
            decode_picture(whole[:length], "x")


def test_several_jpegs_in_one_file_are_its_first() -> None:
    frames = [Image.fromarray(random_images(1, 16, 16, seed=seed)[0]) for seed in range(2)]
    stream = io.BytesIO()
    frames[0].save(stream, "MPO", save_all=True, append_images=frames[1:])
    assert np.abs(decode_picture(stream.getvalue(), "x").astype(int) - np.asarray(frames[0])).max() < 60


def test_a_file_in_very_many_pieces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "MAX_PIECES", 2)
    for whole in (picture(COLOUR), picture(COLOUR, "JPEG"), picture(GREY, "GIF")):
        with pytest.raises(DataError, match="x: broken picture: it has more than"):
            decode_picture(whole, "x")


@pytest.mark.parametrize(("limit", "side"), [(2000, 32), (600, 16), (100, 8), (8, None)])
def test_a_large_jpeg_is_read_at_a_part_of_its_size(
    limit: int, side: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", limit)
    monkeypatch.setattr(pictures, "MAX_REDUCED_PIXELS", 512 * limit - 1)
    rows, columns = np.mgrid[:64, :64]
    content = picture((2 * rows + columns).astype(np.uint8), "JPEG", quality=95)
    if side is None:
        with pytest.raises(DataError, match="x: 64×64 is more than 8 pixels; save it smaller"):
            decode_picture(content, "x")
        return
    small = decode_picture(content, "x")
    assert small.shape == (side, side)
    part = 64 // side
    means = (2 * rows + columns).reshape(side, part, side, part).mean((1, 3))
    assert np.abs(small - means).max() < 4


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_larger_jpeg_is_refused_earlier_if_all_of_it_is_kept(options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 2000)
    monkeypatch.setattr(pictures, "MAX_KEPT_PIXELS", 3000)
    content = picture(random_images(1, 64, 64)[0], "JPEG", **options)
    if options:
        with pytest.raises(DataError, match="64×64 is more than 2000 pixels"):
            decode_picture(content, "x")
    else:
        assert decode_picture(content, "x").shape == (32, 32)


def test_a_jpeg_with_a_scan_for_each_component_is_kept_whole() -> None:
    content = picture(COLOUR, "JPEG")
    assert not endings.is_kept_whole(content)
    place = content.index(b"\xff\xda")
    assert endings.is_kept_whole(content[: place + 4] + b"\1" + content[place + 5 :])
    assert endings.is_kept_whole(content[:place])


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_is_read(lossless: bool) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    found = decode_picture(picture(smooth, "WEBP", lossless=lossless, quality=100), "x")
    assert np.abs(found.astype(int) - (smooth if found.ndim == 2 else smooth[..., None])).max() <= (
        0 if lossless else 4
    )


@pytest.mark.parametrize("options", [{}, {"save_all": True, "append_images": [Image.new("RGBA", (8, 5))]}])
def test_a_transparent_webp_is_laid_over_white(options: dict[str, Any]) -> None:
    layers = np.dstack([COLOUR, np.full((5, 8), 255, np.uint8)])
    layers[0, 0] = 0
    expected = COLOUR.copy()
    expected[0, 0] = 255
    found = decode_picture(picture(layers, "WEBP", lossless=True, **options), "x")
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("options", [{}, {"save_all": True, "append_images": [Image.new("RGBA", (64, 64))]}])
def test_a_webp_of_a_larger_picture_than_its_header_says_is_refused(options: dict[str, Any]) -> None:
    content = bytearray(picture(random_images(1, 64, 64, 4)[0], "WEBP", **options))
    assert content[12:16] == b"VP8X"
    content[24:30] = bytes([7, 0, 0, 4, 0, 0])  # 8×5
    with pytest.raises(DataError):
        decode_picture(bytes(content), "x")


def test_a_webp_is_not_opened_before_its_size_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 39)
    alpha = np.dstack([COLOUR, np.full((5, 8), 7, np.uint8)])
    kinds = [picture(COLOUR, "WEBP"), picture(COLOUR, "WEBP", lossless=True), picture(alpha, "WEBP")]
    assert [content[12:16] for content in kinds] == [b"VP8 ", b"VP8L", b"VP8X"]
    monkeypatch.setattr("PIL.Image.open", None)
    for content in kinds:
        with pytest.raises(DataError, match="x: 8×5 is more than 39 pixels"):
            decode_picture(content, "x")


def test_a_missing_file_and_a_folder_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: cannot be read: No such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(DataError, match="not a regular file"):
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


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_a_name_that_cannot_be_is_one_line(name: str) -> None:
    with pytest.raises(DataError, match=r"cannot be read: .*; expected a picture"):
        read_picture(Path(name))
