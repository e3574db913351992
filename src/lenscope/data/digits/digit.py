"""Any picture of a digit, prepared like MNIST's images, step by step.

After Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998, section III.A: scaled to fit 20×20 pixels with its aspect ratio, the grey levels
from antialiasing, then placed so that its centre of mass is the centre of a 28×28 field. Where we differ: they scaled
black-and-white scans; we find paper and ink in any picture and keep grey levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lenscope.data.digits.form import BOX, FIELD
from lenscope.data.digits.ink import DIGIT, OUT, Found, find_digit
from lenscope.data.digits.paper import block_means, find_paper, ink_on
from lenscope.data.resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR, CLEAN_NEAR = 128, 16  # faint ink counts up to this fraction of the longer side away from the digit
SHEET = 512  # larger pictures are reduced to at most this side before ink is looked for


@dataclass(frozen=True, eq=False)
class DigitSteps:
    """A digit after each step; all uint8.

    Attributes:
        grey: shape (H, W), the input, or reduced to at most SHEET pixels per side.
        paper: shape (H, W), the grey level of the paper at each pixel.
        found: shape (H, W), 0 paper, OUT ink that was left out, DIGIT the digit's ink.
        on_black: shape (H, W), the digit's ink bright, everything else 0.
        cropped: shape (h, w), the digit alone.
        boxed: shape (20, 20), scaled so that its larger side is 20 pixels, centred.
        centred: shape (28, 28), its centre of mass at the centre.
    """

    grey: NDArray[np.uint8]
    paper: NDArray[np.uint8]
    found: NDArray[np.uint8]
    on_black: NDArray[np.uint8]
    cropped: NDArray[np.uint8]
    boxed: NDArray[np.uint8]
    centred: NDArray[np.uint8]

    def resized(self, size: int) -> NDArray[np.uint8]:
        """The centred digit as network input: uint8, shape (1, 1, size, size), resized like data sets."""
        return resize(self.centred[None, None], size)


def prepare_digit(pixels: NDArray[np.uint8], source: str = "picture") -> DigitSteps:
    """Every step from a picture of one digit, of any size and colour, to an image like MNIST's.

    1. Grey: (19595 R + 38470 G + 7471 B + 32768) >> 16, as in Pillow and ITU-R BT.601. If a side is longer than SHEET
       pixels, means of whole blocks.
    2. Paper, and ink as the difference from it: a single level if that explains the picture, else local; noise and
       uneven light are measured (`paper.py`).
    3. Found: ink that stands out from noise and uneven light; lines across the sheet are removed
       (`rules.py`); the digit is the largest connected component and those that belong to it. Components at the border,
       frames, specks and stamps are left out (`ink.py`). On black: the digit's strongest ink becomes 255, ink up to
       three times the noise 0. The crop is the digit's bounding box.
    4. Boxed: the larger side becomes 20 pixels, the other is rounded (half up), at least 1; each new pixel is the mean
       of the area it covers (Pillow's `BOX`), or, of digits below 20 pixels, bilinear.
    5. Centred: shifted by whole pixels so that the centre of mass, in pixels counted from 0, is at least 13.5 and below
       14.5 in both directions, as in all 10,000 test images of MNIST, but never out of the field.

    Args:
        pixels: uint8, shape (H, W), or (H, W, 3) for RGB, as `read_picture` returns it.
        source: the picture's name for error messages.

    Raises:
        DataError: there is no digit in the picture, or there are several.
    """
    grey = to_grey(pixels)
    grey = block_means(grey, -(-max(grey.shape) // SHEET))
    paper = find_paper(grey)
    ink = ink_on(paper, grey)
    uneven = int(paper.level.max()) - int(paper.level.min())
    found = find_digit(ink, uneven, source)
    reach = max(1, max(grey.shape) // (NEAR if uneven or found.noise else CLEAN_NEAR))
    on_black = _on_black(ink, found, reach)
    cropped = _cropped(on_black, found.kinds)
    scaled = _scaled(cropped)
    return DigitSteps(grey, paper.level, found.kinds, on_black, cropped, _boxed(scaled), _centred(scaled))


def to_grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey levels, uint8 (H, W), of grey (H, W) or RGB (H, W, 3), by the weights of ITU-R BT.601."""
    if pixels.ndim == 2:
        return pixels
    return np.asarray(Image.fromarray(pixels).convert("L"))


def _on_black(ink: NDArray[np.int64], found: Found, reach: int) -> NDArray[np.uint8]:
    strongest = found.strongest
    scaled = np.minimum((255 * ink + strongest // 2) // strongest, 255)
    near = _grown(found.kinds == DIGIT, reach) & (found.kinds != OUT)
    return np.where(near & (ink > 3 * found.noise), scaled, 0).astype(np.uint8)


def _grown(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """A mask dilated by `reach` rows and columns."""
    for _ in range(2):
        made = mask.copy()
        for shift in range(1, min(reach, len(mask) - 1) + 1):
            made[shift:] |= mask[:-shift]
            made[:-shift] |= mask[shift:]
        mask = made.T
    return mask


def _cropped(on_black: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = (np.flatnonzero((kinds == DIGIT).any(axis)) for axis in (1, 0))
    return on_black[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


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
    """The first row (or column) for these masses, so that their centre is at the centre of the field."""
    centre = float(np.arange(len(masses)) @ masses) / max(int(masses.sum()), 1)
    return min(max(math.ceil((FIELD - 1) / 2 - centre), 0), FIELD - len(masses))


def _placed(image: NDArray[np.uint8], size: int, top: int, left: int) -> NDArray[np.uint8]:
    field = np.zeros((size, size), dtype=np.uint8)
    field[top : top + image.shape[0], left : left + image.shape[1]] = image
    return field
