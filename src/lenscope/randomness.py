"""Randomness as a function: one counter-based generator, no state.

Every random number is a pure function of (seed, purpose, epoch, index): Philox 4×64 with 10 rounds (Salmon, Moraes,
Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3), as numpy's `Philox` computes it.
So a run resumes at any step without a saved generator state, and no library release changes a result.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Purpose(IntEnum):
    """The use of a random number; streams of different purposes are independent."""

    WEIGHTS = 1
    ORDER = 2
    SPLIT = 3
    AUGMENT = 4
    CODES = 5
    RANDOM_KERNELS = 6
    COLOURS = 7
    SUBSET = 8
    NOISE = 9


def random_words(seed: int, purpose: Purpose, epoch: int, count: int, index: int = 0) -> NDArray[np.uint64]:
    """The first `count` 64-bit words of the stream of (seed, purpose, epoch, index).

    The key is (seed, purpose). Word j is word j mod 4 of the block of counter (1 + j div 4, epoch, index, 0).

    Args:
        seed: 0 ≤ seed < 2⁶⁴.
        purpose: the use of the words.
        epoch: the epoch, or another number that distinguishes streams of one purpose.
        count: the number of words.
        index: distinguishes several streams of one epoch, 0 ≤ index < 2⁶⁴.

    Returns:
        uint64, shape (count,).
    """
    key = np.array([seed, purpose], dtype=np.uint64)
    counter = np.array([0, epoch, index, 0], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def random_uniforms(seed: int, purpose: Purpose, epoch: int, count: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1): the upper 53 bits of each word, over 2⁵³; float64, shape (count,)."""
    return (random_words(seed, purpose, epoch, count) >> np.uint64(11)) * np.float64(2.0**-53)


def random_order(seed: int, purpose: Purpose, epoch: int, count: int) -> NDArray[np.int64]:
    """A permutation of 0 … count−1: the stable argsort of each index's word; int64, shape (count,)."""
    return np.argsort(random_words(seed, purpose, epoch, count), kind="stable")
