"""MNIST in colour: each digit tinted, on smooth coloured noise; made here, so that a colour set needs no download.

Neither colour tells the class: both depend on an image's place in its part alone. Every channel of the tint differs
from the ground's by 80 to 176 of 255 levels, to either side: a digit can always be read, but it may be brighter or
darker than its ground, or of the same brightness and another hue, so that colour has to be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.dataset import resize
from lenscope.data.entry import Labelled
from lenscope.randomness import Purpose, random_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.data.entry import DataFile, OpenFile, Reader

# The ground's mean lies between these levels, and the noise reaches NOISE levels to either side of it.
LOWEST, HIGHEST, NOISE = 40, 215, 40
# The tint lies half the range from the ground's mean, give or take SPREAD, and wraps around.
SPREAD = 48
GRID = 7  # places at which the noise is drawn, a side: four pixels apart in an image of 28
_WORDS = -(-(6 + 3 * GRID**2) // 8)  # of 8 bytes each, for one image
_BLOCK = 2_000  # images, so that the copies stay near the cache


@dataclass(frozen=True)
class ColouredReader:
    """Reads a grey set and colours it.

    Attributes:
        grey: reads the set that it is made from.
    """

    grey: Reader

    @property
    def files(self) -> tuple[DataFile, ...]:
        """Those of the grey set: it has none of its own."""
        return self.grey.files

    def read(self, open_file: OpenFile, classes: int) -> tuple[Labelled, Labelled]:
        """The parts in colour, with the labels of the grey ones."""
        train, test = self.grey.read(open_file, classes)
        return Labelled(coloured(train.images, 0), train.labels), Labelled(coloured(test.images, 1), test.labels)


def coloured(digits: NDArray[np.uint8], part: int) -> NDArray[np.uint8]:
    """Digits in colour on coloured noise, the same bytes on every machine.

    Args:
        digits: uint8, shape (N, 1, H, H), the ink bright; its level says how much of the tint is seen.
        part: tells the random numbers of the parts apart.

    Returns:
        uint8, shape (N, 3, H, H), red, green and blue.
    """
    colours = np.empty((len(digits), 3, *digits.shape[2:]), np.uint8)
    drawn = random_words(0, Purpose.COLOURS, part, len(digits) * _WORDS).astype("<u8").view(np.uint8)
    by_image = drawn.reshape(len(digits), -1)
    for start in range(0, len(digits), _BLOCK):
        block = slice(start, start + _BLOCK)
        colours[block] = _painted(digits[block], by_image[block])
    return colours


def _painted(digits: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """In whole numbers: a level m of ink, made 0 to 256, takes m/256 of the tint and the rest of the ground."""
    mean = LOWEST + _scaled(drawn[:, 0:3], HIGHEST - LOWEST + 1)
    tint = (mean + 128 - SPREAD + _scaled(drawn[:, 3:6], 2 * SPREAD + 1)) % 256
    noise = drawn[:, 6 : 6 + 3 * GRID**2].reshape(-1, 3, GRID, GRID)
    smooth = resize(_scaled(noise, 2 * NOISE + 1).astype(np.uint8), digits.shape[2])
    ground = mean[..., None, None] - np.uint16(NOISE) + smooth
    ink = digits + (digits >> 7).astype(np.uint16)
    return ((ground * (256 - ink) + tint[..., None, None] * ink + 128) >> 8).astype(np.uint8)


def _scaled(drawn: NDArray[np.uint8], count: int) -> NDArray[np.uint16]:
    """Random bytes as whole numbers from 0 to count − 1."""
    return drawn * np.uint16(count) >> np.uint16(8)
