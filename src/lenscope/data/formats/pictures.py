"""Decoding picture files from untrusted sources into arrays of bytes."""

from __future__ import annotations

import io
import logging
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from lenscope.data.formats import tiff
from lenscope.data.formats.endings import find_end, is_kept_whole
from lenscope.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Formats are detected by content; those that Pillow was built without are left out. AVIF is not supported: a file of
# 742 bytes whose header says 64×64 makes its decoder allocate 100 MB, and larger ones more.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
MAX_PIXELS = 2**24
# A larger JPEG is decoded at a half, a quarter or an eighth of its size, up to these limits; the second applies where
# the decoder keeps all coefficients, 2 to 8 bytes per pixel. Pillow itself opens at most 178,956,970 pixels.
MAX_REDUCED_PIXELS, MAX_KEPT_PIXELS = 2**27, 2**25
MAX_SIDE = 2**16
MOST_BANDS = 6  # of a TIFF, each in separate strips
MAX_FILE_BYTES = 2**26
# Pillow reads what precedes the pixels piece by piece in Python: millions of pieces take minutes.
MAX_READS = 2**18
# Compression of bitmaps that Pillow decodes byte by byte in Python: run lengths of 8 and of 4 bits.
RUN_LENGTHS = (1, 2)
# Parts that take minutes if a file contains many: scans and EXIF of a JPEG, colour profiles of a PNG.
MAX_COSTLY = 50
_COSTLY = {b"\xff\xd8": (b"\xff\xda", b"Exif\0\0"), b"\x89PNG": (b"iCCP",)}
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Pillow also prints the errors that it raises
# Common formats that are refused by name: their first bytes, at an offset.
_OTHERS = {
    (4, b"ftypheic"): "HEIC", (4, b"ftypheix"): "HEIC", (4, b"ftyphevc"): "HEIC", (4, b"ftypheim"): "HEIC",
    (4, b"ftypheis"): "HEIC", (4, b"ftypmif1"): "HEIC", (4, b"ftypmsf1"): "HEIC", (4, b"ftypavif"): "AVIF",
    (4, b"ftypavis"): "AVIF", (0, b"\0\0\0\x0cjP  "): "JPEG 2000", (0, b"\xff\x0a"): "JPEG XL",
    (0, b"\0\0\0\x0cJXL "): "JPEG XL", (0, b"%PDF"): "PDF",
    (0, b"8BPS"): "Photoshop", (0, b"<svg"): "SVG", (0, b"<?xml"): "XML or SVG",
}  # fmt: skip


def read_picture(path: Path, *, contrast: bool = False) -> NDArray[np.uint8]:
    """The pixels of a picture file; see `decode_picture`, which takes the file's content."""
    expected = f"expected a picture: {', '.join(FORMATS)}"
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: not a regular file; {expected}")
        with path.open("rb") as file:
            return decode_picture(file.read(MAX_FILE_BYTES + 1), str(path), contrast=contrast)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}; {expected}") from None


def decode_picture(content: bytes, source: str, *, contrast: bool = False) -> NDArray[np.uint8]:
    """A picture's file content as an array of bytes.

    The format is one of FORMATS, detected by content. The size in the header is checked before anything is decoded; a
    JPEG of more than MAX_PIXELS is decoded at a half, a quarter or an eighth of its size. Bytes after the end of a PNG,
    JPEG or GIF are ignored. The camera's orientation is applied, transparency is blended with white, 16 bits are
    rounded to 8, and the first frame or page counts.

    Args:
        content: the file's bytes, at most MAX_FILE_BYTES.
        source: the file's name for error messages.
        contrast: blend light ink on a transparent background with black instead of white, where it would be invisible.

    Returns:
        uint8, shape (H, W) if the picture is grey (also if all channels are equal), else (H, W, 3), RGB.

    Raises:
        DataError: another format, more than MAX_PIXELS, a broken or truncated file, or one that takes long to decode.
    """
    if len(content) > MAX_FILE_BYTES:
        raise DataError(f"{source}: more than {MAX_FILE_BYTES} bytes; save it smaller")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            content = _checked(content, source)
            with Image.open(_Pieces(content), formats=_formats()) as image:
                _check_header(image, content, source)
                return _to_bytes(ImageOps.exif_transpose(image), contrast=contrast)
        except DataError:
            raise
        except UnidentifiedImageError:
            name = next((name for (at, begin), name in _OTHERS.items() if content.startswith(begin, at)), None)
            what = f"{name}, which is not read; save it as PNG or JPEG" if name else "not a picture"
            raise DataError(f"{source}: {what}; expected {', '.join(FORMATS)} by content") from None
        except Image.DecompressionBombError:
            raise DataError(f"{source}: more than {MAX_PIXELS} pixels; save it smaller") from None
        except Exception as error:  # noqa: BLE001 - Pillow raises errors of many types on broken files
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"{source}: broken picture: {reason}; replace or remove it") from None


@cache
def _formats() -> tuple[str, ...]:
    """The FORMATS that this Pillow can read."""
    return tuple(name for name in FORMATS if name != "WEBP" or features.check("webp"))


class _Pieces(io.BytesIO):
    """A file's content that can be read in at most MAX_READS pieces."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise RuntimeError(f"it has more than {MAX_READS} pieces")
        return super().read(size)


def _checked(content: bytes, source: str) -> bytes:
    """A file's content without trailing bytes; raises DataError if decoding it would take long."""
    end = find_end(content)
    if end is None:
        raise DataError(f"{source}: broken picture: its end is missing; replace or remove it")
    content = content[:end]
    if any(content.startswith(start) and _is_costly(content, parts) for start, parts in _COSTLY.items()):
        raise DataError(f"{source}: more than {MAX_COSTLY} scans, EXIF parts or profiles; save it again")
    if found := tiff.complaint(content):
        raise DataError(f"{source}: a TIFF that {found}")
    content = tiff.unpack(content)
    if content.startswith(b"RIFF") and (size := _size_of_webp(content)):  # its memory is allocated when it is opened
        check_size(size, source)
    return content


def _is_costly(content: bytes, parts: tuple[bytes, ...]) -> bool:
    return any(content.count(part) > MAX_COSTLY for part in parts)


def _size_of_webp(content: bytes) -> tuple[int, int] | None:
    """Width and height in the header of a WebP."""
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    sides = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    return (next(sides), next(sides)) if kind == b"VP8 " else None


def check_size(size: tuple[int, int], source: str) -> None:
    """Raise DataError for a picture of more than MAX_PIXELS, or with a side longer than MAX_SIDE."""
    width, height = size
    if width * height > MAX_PIXELS:
        raise DataError(f"{source}: {width}×{height} is more than {MAX_PIXELS} pixels; save it smaller")
    if max(size) > MAX_SIDE:
        raise DataError(f"{source}: {width}×{height} is longer than {MAX_SIDE} pixels; save it smaller")


def _check_header(image: Image.Image, content: bytes, source: str) -> None:
    if content.startswith(b"\xff\xd8"):
        _reduce(image, content)
    check_size(image.size, source)
    if image.format == "BMP" and image.info["compression"] in RUN_LENGTHS:
        raise DataError(f"{source}: a run-length encoded bitmap; save it as PNG")
    if image.format == "TIFF" and image.mode in {"F", "I"}:
        raise DataError(f"{source}: a TIFF with 32 bits per sample; save it with 8 or 16")
    if image.format == "TIFF" and _area(image) > MOST_BANDS * image.width * image.height:
        raise DataError(f"{source}: a TIFF whose strips overlap; save it as PNG")


def _area(image: Image.Image) -> int:
    """The number of pixels of all tiles that a picture is decoded from."""
    extents = [part[1] for part in image.tile]  # type: ignore[attr-defined]  # not in Image's own stub
    return sum((right - left) * (lower - upper) for left, upper, right, lower in extents)


def _reduce(image: Image.Image, content: bytes) -> None:
    """Let a JPEG of more than MAX_PIXELS be decoded at the largest fraction of its size that does not exceed it."""
    pixels = image.width * image.height
    if pixels <= MAX_PIXELS or pixels > (MAX_KEPT_PIXELS if is_kept_whole(content) else MAX_REDUCED_PIXELS):
        return
    fitting = (part for part in (2, 4) if -(-image.width // part) * -(-image.height // part) <= MAX_PIXELS)
    part = next(fitting, 8)
    image.draft(None, (image.width // part, image.height // part))


def _to_bytes(image: Image.Image, *, contrast: bool) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        return _rounded(np.asarray(image).astype(np.int64))
    if image.mode in {"LA", "PA", "RGBA"} or "transparency" in image.info:
        ink = image.convert("RGBA")
        ground = "black" if contrast and _is_light(ink) else "white"
        image = Image.alpha_composite(Image.new("RGBA", ink.size, ground), ink)
    colour: NDArray[Any] = np.array(image.convert("RGB"))
    grey = colour[..., 0]
    return np.ascontiguousarray(grey) if (colour == grey[..., None]).all() else colour


def _is_light(ink: Image.Image) -> bool:
    """Whether the visible part of an RGBA picture is nearer to white than to black."""
    pixels = np.asarray(ink)
    alpha = pixels[..., 3]
    weighted = np.einsum("hwc,hw->", pixels[..., :3], alpha, dtype=np.int64)  # without 64 bits per pixel
    return bool(weighted > 3 * 127 * alpha.sum(dtype=np.int64))


def _rounded(words: NDArray[np.int64]) -> NDArray[np.uint8]:
    """16 bits to 8: 65535 becomes 255."""
    return ((words.clip(0, 65535) * 255 + 32767) // 65535).astype(np.uint8)
