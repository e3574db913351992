"""The form of the images of a set (background, centring, size), measured so that other pictures can be given it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOX, FIELD = 20, 28  # side lengths in pixels: of a digit's ink and of its image, as in MNIST
SAMPLE, SAMPLE_PIXELS = 1_000, 2**20  # the most images and pixels that are measured: about 10 ms
LARGEST_FIELD = 80
# Of 255 levels: the variation of an even background, its largest distance from black or white, and the least ink.
EVEN, BARE, INK = 16, 32, 64
MOST = 0.9  # the fraction of images, or of border pixels, that has to agree
# As fractions of the side: the largest distance of an image's ink from the centre, and of the mean over all images.
# MNIST's centres of mass are within 1 pixel of 28, and 0.5 on average.
LOOSE, NEAR = 1 / 14, 1 / 20
# Ink that fills more of the side than this is not centred, as in Fashion-MNIST.
FULL = 0.9


@dataclass(frozen=True)
class Form:
    """The form of the images of a set.

    Attributes:
        ground: the background, `dark` if the ink is light, `light` if it is dark; None if it is uneven, or in colour.
        centred: what is at the centre of each image: the ink's centre of `mass`, as in MNIST, or its bounding `box`,
            as in EMNIST; None if neither is, so that a picture is only resized.
        field: the side of the image in pixels if the larger side of the ink is 20 pixels; 28 in MNIST.
    """

    ground: Literal["dark", "light"] | None = None
    centred: Literal["mass", "box"] | None = None
    field: Annotated[int, Field(ge=BOX, le=LARGEST_FIELD)] = FIELD

    @property
    def described(self) -> str:
        """As text, such as `light on dark, centred by mass, scaled to 20 of 28 pixels`."""
        if self.centred is None:
            return "not centred on an even background"
        ink = "dark on light" if self.ground == "light" else "light on dark"
        return f"{ink}, centred by {self.centred}, scaled to {BOX} of {self.field} pixels"

    def for_digits(self) -> Form:
        """This form, but always centred, so that a picture is prepared as a digit; as in MNIST where unknown."""
        return self if self.centred else replace(MNIST, ground=self.ground or MNIST.ground)

    def place(self, centred: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A digit as `prepare_digit` centres it, uint8 of shape (28, 28), in this form: uint8, shape (field, field)."""
        placed = np.zeros((self.field, self.field), np.uint8)
        rows, columns = (self._span(np.asarray(centred.any(axis))) for axis in (1, 0))
        placed[rows[1], columns[1]] = centred[rows[0], columns[0]]
        return ~placed if self.ground == "light" else placed

    def _span(self, inked: NDArray[np.bool_]) -> tuple[slice, slice]:
        """Which rows (or columns) of the 28 are copied, and where to."""
        shift = (self.field - FIELD) // 2
        if self.centred == "box" and inked.any():
            first, last = np.flatnonzero(inked)[[0, -1]]
            shift = int((self.field - (last - first + 1)) // 2 - first)
        start, stop = max(0, -shift), min(FIELD, self.field - shift)
        return slice(start, stop), slice(start + shift, stop + shift)


MNIST = Form("dark", "mass", FIELD)


def measure_form(images: NDArray[np.uint8]) -> Form:
    """The form of the images of a set, measured on at most 1,000 images and a million pixels, evenly spaced.

    The background is even if 9 in 10 border pixels are within 16 grey levels of their median, which is within 32 of
    black or white. Ink differs from it by more than 64. It is centred if, in 9 of 10 images, its larger side is within
    1/14 of the side of the median and at most 9/10 of the side, and its centre of mass, or the centre of its bounding
    box, is as near to the image's centre; by the one of the two that varies less.

    Args:
        images: uint8, shape (N, C, H, W).
    """
    count, channels, side, width = images.shape
    if channels != 1 or side != width:
        return Form()
    many = max(1, min(count, SAMPLE, SAMPLE_PIXELS // side**2))
    sample = images[np.linspace(0, count - 1, many).astype(np.int64), 0]
    ring = np.concatenate([sample[:, 0], sample[:, -1], sample[:, :, 0], sample[:, :, -1]], axis=1).astype(np.int64)
    level = int(np.median(ring))
    if min(level, 255 - level) > BARE or np.mean(np.abs(ring - level) <= EVEN) < MOST:
        return Form()
    ground: Literal["dark", "light"] = "dark" if level < 128 else "light"
    ink = sample.astype(np.int64) - level if ground == "dark" else level - sample.astype(np.int64)
    return _placed(np.where(ink > INK, ink, 0), Form(ground))


def _placed(ink: NDArray[np.int64], form: Form) -> Form:
    """The form of images with this ink, shape (N, side, side), 0 where there is none."""
    side = ink.shape[-1]
    inked = ink[ink.any((1, 2))]
    if len(inked) < max(1, MOST * len(ink)):
        return form
    down, across = (_extents(inked.sum(axis)) for axis in (2, 1))
    larger = np.maximum(down[:, 2], across[:, 2])
    typical = float(np.median(larger))
    if typical > FULL * side or np.mean(np.abs(larger - typical) <= LOOSE * side) < MOST:
        return form
    by_mass, by_box = (np.stack([down[:, kind], across[:, kind]], axis=1) - (side - 1) / 2 for kind in (0, 1))
    field = round(BOX * side / typical)
    kinds: list[tuple[Literal["mass", "box"], NDArray[np.float64]]] = [("mass", by_mass), ("box", by_box)]
    ranked = sorted(kinds, key=lambda kind: float(kind[1].std(0).sum()))
    for centred, away in ranked:
        if _is_near(away / side) and field <= LARGEST_FIELD:
            return replace(form, centred=centred, field=field)
    return form


def _is_near(away: NDArray[np.float64]) -> bool:
    """Whether centres are near the image's centre: distances as fractions of a side, shape (N, 2)."""
    each = np.mean((np.abs(away) <= LOOSE).all(1))
    return bool(each >= MOST and (np.abs(away.mean(0)) <= NEAR).all())


def _extents(masses: NDArray[np.int64]) -> NDArray[np.float64]:
    """Centre of mass, midpoint and length of ink profiles, shape (N, side); float64, shape (N, 3)."""
    side = masses.shape[1]
    first, last = (masses > 0).argmax(1), side - 1 - (masses[:, ::-1] > 0).argmax(1)
    centre = masses @ np.arange(side) / masses.sum(1)
    return np.stack([centre, (first + last) / 2, last - first + 1], axis=1)
