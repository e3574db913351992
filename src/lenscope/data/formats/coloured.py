"""MNIST in colour: each digit tinted, on smooth coloured noise; made here, so that a colour set needs no download.

The colours do not depend on the class, only on the index of the image in its split. Every channel of the tint differs
from the background by 80 to 176 of 255 levels, in either direction: a digit can always be read, but it may be brighter
or darker than its background, or of equal brightness and another hue, so that a network has to use colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.formats.idx_reader import read_idx_files
from lenscope.data.formats.reader import Labelled
from lenscope.data.resize import resize
from lenscope.randomness import Purpose, random_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lenscope.data.formats.reader import Opened

# The background's mean is between these levels, and the noise is at most NOISE levels away from it.
LOWEST, HIGHEST, NOISE = 40, 215, 40
# The tint is half the range from the background's mean, plus or minus SPREAD, modulo 256.
SPREAD = 48
GRID = 7  # points per side at which noise is drawn: four pixels apart in an image of 28×28
_WORDS = -(-(6 + 3 * GRID**2) // 8)  # of 8 bytes each, for one image
_BLOCK = 2_000  # images, so that the copies stay in the processor's cache


def read_coloured(files: Iterator[Opened]) -> tuple[Labelled, Labelled]:
    """The splits of MNIST in colour, with their labels."""
    train, test = read_idx_files(files)
    return Labelled(coloured(train.images, 0), train.labels), Labelled(coloured(test.images, 1), test.labels)


def coloured(digits: NDArray[np.uint8], split: int) -> NDArray[np.uint8]:
    """Digits in colour on coloured noise, identical on every machine.

    Args:
        digits: uint8, shape (N, 1, H, H), bright ink; its level is the opacity of the tint.
        split: number of the split, which selects its random numbers: 0 for training, 1 for test.

    Returns:
        uint8, shape (N, 3, H, H), red, green and blue.
    """
    colours = np.empty((len(digits), 3, *digits.shape[2:]), np.uint8)
    drawn = random_words(0, Purpose.COLOURS, split, len(digits) * _WORDS).astype("<u8").view(np.uint8)
    by_image = drawn.reshape(len(digits), -1)
    for start in range(0, len(digits), _BLOCK):
        block = slice(start, start + _BLOCK)
        colours[block] = _painted(digits[block], by_image[block])
    return colours


def _painted(digits: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """In integers: an ink level m, scaled to 0 to 256, mixes m/256 of the tint with the background."""
    mean = LOWEST + _scaled(drawn[:, 0:3], HIGHEST - LOWEST + 1)
    tint = (mean + 128 - SPREAD + _scaled(drawn[:, 3:6], 2 * SPREAD + 1)) % 256
    noise = drawn[:, 6 : 6 + 3 * GRID**2].reshape(-1, 3, GRID, GRID)
    smooth = resize(_scaled(noise, 2 * NOISE + 1).astype(np.uint8), digits.shape[2])
    ground = mean[..., None, None] - np.uint16(NOISE) + smooth
    ink = digits + (digits >> 7).astype(np.uint16)
    return ((ground * (256 - ink) + tint[..., None, None] * ink + 128) >> 8).astype(np.uint8)


def _scaled(drawn: NDArray[np.uint8], count: int) -> NDArray[np.uint16]:
    """Random bytes as integers from 0 to count − 1."""
    return drawn * np.uint16(count) >> np.uint16(8)
