"""Pictures from files that nobody vouches for, as arrays of bytes."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lenscope.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Formats are told by content. TIFF is left out: a container of many codecs, and the usual door of attacks.
FORMATS = ("PNG", "JPEG", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
MAX_PIXELS = 2**24
MAX_SIDE = 2**16
MAX_FILE_BYTES = 2**26
# Pillow takes what precedes the pixels piece by piece in Python: millions of pieces take minutes.
MAX_READS = 2**18
# How bitmaps are packed that Pillow unpacks byte by byte in Python: by run lengths of 8 and of 4 bits.
RUN_LENGTHS = (1, 2)
# Parts of which a file can hold so many that they take minutes: scans and EXIF of a JPEG, colour profiles of a PNG.
MAX_COSTLY = 50
_COSTLY = {b"\xff\xd8": (b"\xff\xda", b"Exif\0\0"), b"\x89PNG": (b"iCCP",)}
# The bytes that a whole file ends with, for formats that Pillow accepts without them.
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9", "GIF": b";"}


def read_picture(path: Path, *, contrast: bool = False) -> NDArray[np.uint8]:
    """A picture file as bytes: grey, or colour where its channels differ.

    See `decode_picture`, which takes the file's content and the same option.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: not an ordinary file; expected a picture: {', '.join(FORMATS)}")
    try:
        with path.open("rb") as file:
            return decode_picture(file.read(MAX_FILE_BYTES + 1), str(path), contrast=contrast)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; expected a picture: {', '.join(FORMATS)}") from None


def decode_picture(content: bytes, source: str, *, contrast: bool = False) -> NDArray[np.uint8]:
    """A picture's file content as an array of bytes.

    Formats are those of FORMATS, told by content; the size is checked on the header, before anything is decoded. The
    camera's orientation is applied, transparency laid over white, 16 bits rounded to 8, of an animation the first frame
    taken.

    Args:
        content: the file's bytes, at most MAX_FILE_BYTES.
        source: what to call the file in an error.
        contrast: whether light ink on a transparent ground is laid over black instead of white, where it would vanish.

    Returns:
        uint8, shape (H, W) if the picture is grey (also where all channels agree), else (H, W, 3), RGB.

    Raises:
        DataError: another format, more than MAX_PIXELS, a broken or cut file, or one made to take long.
    """
    if len(content) > MAX_FILE_BYTES:
        raise DataError(f"{source}: more than {MAX_FILE_BYTES} bytes; save it smaller")
    if any(content.startswith(start) and _is_costly(content, parts) for start, parts in _COSTLY.items()):
        raise DataError(f"{source}: more than {MAX_COSTLY} scans, EXIF parts or profiles; save it anew")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(_Pieces(content), formats=FORMATS) as image:
                _check_header(image, content, source)
                return _to_bytes(ImageOps.exif_transpose(image), contrast=contrast)
        except DataError:
            raise
        except UnidentifiedImageError:
            raise DataError(f"{source}: not a picture; expected {', '.join(FORMATS)} by content") from None
        except Image.DecompressionBombError:
            raise DataError(f"{source}: more than {MAX_PIXELS} pixels; save it smaller") from None
        except Exception as error:  # noqa: BLE001 - what Pillow's decoders raise on broken files is not bounded
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"{source}: broken picture: {reason}; replace or remove it") from None


class _Pieces(io.BytesIO):
    """A file's content that is read in at most MAX_READS pieces."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise RuntimeError(f"it is in more than {MAX_READS} pieces")
        return super().read(size)


def _is_costly(content: bytes, parts: tuple[bytes, ...]) -> bool:
    return any(content.count(part) > MAX_COSTLY for part in parts)


def _check_header(image: Image.Image, content: bytes, source: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{source}: {image.width}×{image.height} is more than {MAX_PIXELS} pixels; save it smaller")
    if max(image.size) > MAX_SIDE:
        raise DataError(f"{source}: {image.width}×{image.height} is longer than {MAX_SIDE} pixels; save it smaller")
    if image.format == "BMP" and image.info["compression"] in RUN_LENGTHS:
        raise DataError(f"{source}: a bitmap packed by run lengths; save it as PNG")
    # Cameras and servers pad with zero bytes.
    if not content.rstrip(b"\0").endswith(_ENDS.get(image.format or "", b"")):
        raise DataError(f"{source}: broken picture: its end is missing; replace or remove it")


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
    """Whether what can be seen of an RGBA picture is nearer to white than to black."""
    pixels = np.asarray(ink)
    alpha = pixels[..., 3]
    weighted = np.einsum("hwc,hw->", pixels[..., :3], alpha, dtype=np.int64)  # without 64 bits for each pixel
    return bool(weighted > 3 * 127 * alpha.sum(dtype=np.int64))


def _rounded(words: NDArray[np.int64]) -> NDArray[np.uint8]:
    """16 bits to 8: 65535 becomes 255."""
    return ((words.clip(0, 65535) * 255 + 32767) // 65535).astype(np.uint8)
