"""Any picture of a digit, brought into the form of MNIST's images, step by step.

After Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998, section III.A: scaled to fit 20×20 pixels with its aspect kept, the grey levels
those of antialiasing, then placed so that its centre of mass is the centre of a 28×28 field. Where we differ: they
scaled black-and-white scans; we find the ink ourselves, in any picture, and keep its grey levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lenscope.data.dataset import resize
from lenscope.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOX, FIELD = 20, 28
# Of 255: fainter pictures are blank; fainter ink than this part of the strongest is no ink.
LEAST_CONTRAST, LEAST_INK = 32, 16


@dataclass(frozen=True, eq=False)
class DigitSteps:
    """A digit after each step; all uint8.

    Attributes:
        grey: shape (H, W), as it was given.
        on_black: shape (H, W), the ink bright, the background 0.
        cropped: shape (h, w), the ink alone.
        boxed: shape (20, 20), scaled so that its larger side is 20 pixels, in the middle.
        centred: shape (28, 28), its centre of mass in the middle.
    """

    grey: NDArray[np.uint8]
    on_black: NDArray[np.uint8]
    cropped: NDArray[np.uint8]
    boxed: NDArray[np.uint8]
    centred: NDArray[np.uint8]

    def resized(self, size: int) -> NDArray[np.uint8]:
        """The centred digit as a network takes it: uint8, shape (1, 1, size, size), resized as data sets are."""
        return resize(self.centred[None, None], size)


def prepare_digit(pixels: NDArray[np.uint8], source: str = "picture") -> DigitSteps:
    """Every step from a picture of one digit, of any size and colour, to an image like MNIST's.

    1. Grey: (19595 R + 38470 G + 7471 B + 32768) >> 16, as Pillow and ITU-R BT.601 have it.
    2. On black: the background is the lower median of the outermost ring of pixels. The ink is dark if the darkest
       pixel is farther from it than the brightest, else bright. What differs from the background to the ink's side is
       scaled so that the strongest ink is 255: (255 difference + strongest div 2) div strongest.
    3. Cropped: ink is what reaches LEAST_INK and is above twice the noise, the 90th percentile of the ring on black
       (number 9 n div 10 of its n sorted values, counted from 0), of which half the range at most counts. The crop
       spans the rows and the columns in which at least 1 pixel, or 1 in 100 of the picture's larger side, is ink.
    4. Boxed: the larger side becomes 20 pixels, the other is rounded (half up), at least 1; each new pixel is the mean
       of the area it covers (Pillow's `BOX`), or, of digits below 20 pixels, bilinear. The noise is taken off first.
    5. Centred: shifted by whole pixels so that the centre of mass, in pixels counted from 0, lies at 13.5 or more and
       below 14.5 in both directions, as in all 10,000 test images of MNIST, but never out of the field.

    Args:
        pixels: uint8, shape (H, W), or (H, W, 3) for RGB, as `read_picture` gives it.
        source: what to call the picture in an error.

    Raises:
        DataError: nothing in the picture stands out from its background.
    """
    grey = to_grey(pixels)
    on_black = _on_black(grey, source)
    cropped = _cropped(on_black, source)
    scaled = _scaled(cropped)
    return DigitSteps(grey, on_black, cropped, _boxed(scaled), _centred(scaled))


def to_grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey levels, uint8 (H, W), of grey (H, W) or RGB (H, W, 3), by the weights of ITU-R BT.601."""
    if pixels.ndim == 2:
        return pixels
    weighted = pixels.astype(np.int64) @ np.array([19595, 38470, 7471])
    grey: NDArray[np.uint8] = ((weighted + 32768) >> 16).astype(np.uint8)
    return grey


def _ring(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The outermost pixels, sorted."""
    ring = np.ones(image.shape, dtype=bool)
    ring[1:-1, 1:-1] = False
    return np.sort(image[ring])


def _on_black(grey: NDArray[np.uint8], source: str) -> NDArray[np.uint8]:
    ring = _ring(grey)
    background = int(ring[(len(ring) - 1) // 2])
    darker, brighter = background - int(grey.min()), int(grey.max()) - background
    strongest = max(darker, brighter)
    if strongest < LEAST_CONTRAST:
        raise DataError(f"{source}: no digit found: it is blank; expected one digit, dark on light or light on dark")
    signed = grey.astype(np.int64) - background
    ink = np.maximum(-signed if darker > brighter else signed, 0)
    return ((255 * ink + strongest // 2) // strongest).astype(np.uint8)


def _cropped(on_black: NDArray[np.uint8], source: str) -> NDArray[np.uint8]:
    ring = _ring(on_black)
    noise = min(int(ring[len(ring) * 9 // 10]), 64)
    ink = on_black > max(LEAST_INK - 1, 2 * noise)
    enough = max(1, max(ink.shape) // 100)
    rows, columns = (np.flatnonzero(ink.sum(axis) >= enough) for axis in (1, 0))
    if not len(rows) or not len(columns):
        raise DataError(
            f"{source}: no digit found: only specks stand out from the background; expected one larger digit"
        )
    part = on_black[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.where(part > 2 * noise, part, 0).astype(np.uint8)


def _scaled(cropped: NDArray[np.uint8]) -> NDArray[np.uint8]:
    larger = max(cropped.shape)
    height, width = (max(1, (2 * side * BOX + larger) // (2 * larger)) for side in cropped.shape)
    filter_ = Image.Resampling.BOX if larger >= BOX else Image.Resampling.BILINEAR
    narrowed = Image.fromarray(cropped).resize((width, cropped.shape[0]), filter_)  # rows first in every Pillow
    return np.array(narrowed.resize((width, height), filter_))


def _boxed(scaled: NDArray[np.uint8]) -> NDArray[np.uint8]:
    top, left = ((BOX - side) // 2 for side in scaled.shape)
    return _placed(scaled, BOX, top, left)


def _centred(scaled: NDArray[np.uint8]) -> NDArray[np.uint8]:
    top, left = (_start(scaled.sum(axis, dtype=np.int64)) for axis in (1, 0))
    return _placed(scaled, FIELD, top, left)


def _start(masses: NDArray[np.int64]) -> int:
    """Where rows (or columns) of these masses begin, for their centre to come into the middle of the field."""
    centre = float(np.arange(len(masses)) @ masses) / max(int(masses.sum()), 1)
    return min(max(math.ceil((FIELD - 1) / 2 - centre), 0), FIELD - len(masses))


def _placed(image: NDArray[np.uint8], size: int, top: int, left: int) -> NDArray[np.uint8]:
    field = np.zeros((size, size), dtype=np.uint8)
    field[top : top + image.shape[0], left : left + image.shape[1]] = image
    return field
