"""The LeNet-5 of 1998: its connections, the codes of its classes, its initial weights, and our differences.

Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", Proceedings of the
IEEE 86 (11), 1998. From section II.B: the layers C1, S2, C3, S4, C5, F6 and their sizes, the connections of C3
(Table I), the range of the input (background −0.1, ink 1.175), the squashing function A·tanh(S·a) with A = 1.7159, and
the radial basis functions of the output with fixed codes of ±1. From appendix A: S = 2/3 and the initial weights,
uniform in ±2.4/F, where F is the fan-in of the unit. 60,000 trainable parameters for one channel and ten classes.

Where ours differs from the paper, or the paper leaves room:
    loss: the negative log of softmax(−penalty). That is the MAP criterion (equation 9 of section II.C) without its
        constant e⁻ʲ, the penalty of a rubbish class; the simplest criterion there (equation 8) has no such competition
        between the classes.
    optimiser: any of ours; the paper uses stochastic diagonal Levenberg-Marquardt with one image per update
        (appendix C).
    input: 28×28 digits are resized to 32×32; the paper puts them into a 32×32 field, with background around.
    squashing in S2 and S4: the paper says "sigmoidal" there and gives one function for all layers up to F6; we use that
        one.
    C5: a full connection of 400 inputs, which the paper says it amounts to at this image size.
    codes: our own drawings of the ten digits. For other numbers of classes, random codes of ±1, which section II.B
        discusses as an alternative.
    initial biases, and the coefficients of S2 and S4: drawn as the weights of the same unit (fan-in 4 there).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lenscope.randomness import Purpose, random_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Table I of the paper: a row is a map of S2, a column a map of C3, X a 5×5 kernel between the two.
CONNECTIONS = """
X...XXX..XXXX.XX
XX...XXX..XXXX.X
XXX...XXX..X.XXX
.XXX..XXXX..X.XX
..XXX..XXXX.XX.X
...XXX..XXXX.XXX
"""

# The codes of the ten digits, each 7 pixels wide and 12 high; # is +1 and . is −1.
DIGITS = """
..###.. ...##.. .#####. .#####. .....## ####### ..####. ####### .#####. .#####.
.#####. ..###.. ####### ####### ....### ####### .#####. ####### ####### #######
##...## .####.. ##...## ##...## ...#### ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## ..##.## ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##..## ######. ######. ....##. ##...## ##...##
##...## ...##.. ....##. ..####. ##...## ####### ####### ....##. .#####. ##...##
##...## ...##.. ...##.. ..####. ##...## .....## ##...## ...##.. .#####. #######
##...## ...##.. ..##... .....## ####### .....## ##...## ...##.. ##...## .######
##...## ...##.. .##.... .....## ####### .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... ##...## .....## ##...## ##...## ..##... ##...## .....##
.#####. .###### ####### ####### .....## ####### ####### .##.... ####### .#####.
..###.. .###### ####### .#####. .....## .#####. .#####. .##.... .#####. .####..
"""
CODE_LENGTH = 7 * 12


def connection_table() -> NDArray[np.bool_]:
    """Table I as bool of shape (16, 6), true where a map of C3 sees a map of S2; 60 connections."""
    return np.array([[mark == "X" for mark in row] for row in CONNECTIONS.split()]).T


def class_codes(classes: int) -> NDArray[np.float32]:
    """The code of each class, ±1, float32 of shape (classes, 84): drawn digits for ten classes, else random bits."""
    if classes == 10:
        drawing = np.array([[list(cell) for cell in row.split()] for row in DIGITS.strip().splitlines()])  # (12, 10, 7)
        ink = drawing.transpose(1, 0, 2).reshape(10, CODE_LENGTH) == "#"
    else:
        words = random_words(0, Purpose.CODES, 0, classes * CODE_LENGTH)
        ink = (words >> np.uint64(63)).reshape(classes, CODE_LENGTH) == 1
    return np.where(ink, 1, -1).astype(np.float32)
