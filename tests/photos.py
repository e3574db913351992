"""Pictures of digits as strangers take them: one function a kind, each deterministic for a generator.

Each takes a generator and a digit, uint8 (28, 28), light on black, and gives uint8 (H, W, 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Array = np.ndarray[Any, Any]
Colour = tuple[int, int, int]
WHITE, BLUE_BLACK = (238, 236, 230), (40, 40, 60)


@dataclass
class Sheet:
    """A sheet of paper in colour, float (H, W, 3), and how much of the digit's ink lies on each pixel, 0 to 1."""

    paper: Array
    ink: Array
    box: tuple[int, int, int, int]  # of the digit's field: left, top, right, bottom

    def marked(self, coverage: Array, colour: Colour) -> Sheet:
        """With other ink on the paper, as much as `coverage` says."""
        part = coverage[..., None]
        return Sheet(self.paper * (1 - part) + np.array(colour, float) * part, self.ink, self.box)

    def taken(
        self, rng: np.random.Generator, ink: Colour = BLUE_BLACK, noise: float = 2, light: Array | None = None
    ) -> Array:
        """The photo."""
        part = self.ink[..., None]
        seen = self.paper * (1 - part) + np.array(ink, float) * part
        if light is not None:
            seen *= light[..., None]
        blurred = Image.fromarray(seen.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))
        grain = rng.normal(0, noise, (*self.ink.shape, 1))
        return (np.asarray(blurred) + grain).clip(0, 255).astype(np.uint8)


def sheet(
    rng: np.random.Generator, digit: Array, colour: Colour = WHITE, part: tuple[float, float] = (0.4, 0.6)
) -> Sheet:
    """A sheet of any size with the digit anywhere on it, a seventh away from the rim."""
    width, height = (int(side) for side in rng.integers(240, 520, 2))
    side = int(min(width, height) * rng.uniform(*part))
    left, top = (
        int(rng.integers(whole // 7, max(whole - whole // 7 - side, whole // 7) + 1)) for whole in (width, height)
    )
    page = Image.new("L", (width, height))
    page.paste(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC), (left, top))
    box = (left, top, left + side, top + side)
    return Sheet(np.full((height, width, 3), colour, float), np.asarray(page) / 255, box)


def lines(shape: tuple[int, int], ends: Iterable[tuple[float, ...]], width: float) -> Array:
    """How much of straight lines, each (x, y, x, y), lies on each pixel."""
    page = Image.new("L", (4 * shape[1], 4 * shape[0]))
    for line in ends:
        ImageDraw.Draw(page).line([4 * place for place in line], fill=255, width=round(4 * width))
    return np.asarray(page.resize(shape[::-1], Image.Resampling.BOX)) / 255


def light(rng: np.random.Generator, shape: tuple[int, int], least: float) -> Array:
    """Light that falls from 1 to `least` across the sheet, in any direction."""
    rows, columns = np.mgrid[0 : 1 : shape[0] * 1j, 0 : 1 : shape[1] * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * columns + np.sin(angle) * rows
    return 1 - (1 - least) * (along - along.min()) / np.ptp(along)


def pick(rng: np.random.Generator, *choices: Any) -> Any:
    return choices[rng.integers(len(choices))]


def falling_light(rng: np.random.Generator, digit: Array) -> Array:
    page = sheet(rng, digit)
    return page.taken(rng, noise=4, light=light(rng, page.ink.shape, 0.4))


def shadow(rng: np.random.Generator, digit: Array) -> Array:
    page = sheet(rng, digit)
    field = Image.fromarray(np.where(light(rng, page.ink.shape, 0) < rng.uniform(0.3, 0.5), 153, 255).astype(np.uint8))
    return page.taken(rng, noise=4, light=np.asarray(field.filter(ImageFilter.GaussianBlur(12))) / 255)


def pencil(rng: np.random.Generator, digit: Array) -> Array:
    page = sheet(rng, digit, (235, 235, 235))
    return page.taken(rng, (185, 185, 185), 3, light(rng, page.ink.shape, rng.uniform(0.6, 1)))


def specks(rng: np.random.Generator, digit: Array) -> Array:
    page = sheet(rng, digit)
    spots = np.zeros_like(page.ink)
    for row, column in rng.integers(0, min(spots.shape) - 3, (10, 2)):
        spots[row : row + 3, column : column + 3] = 1
    return page.marked(spots, (30, 30, 30)).taken(rng)


def ruled(rng: np.random.Generator, digit: Array, squared: bool = False) -> Array:
    """Ruled or squared paper that lies a little askew, often with a red margin."""
    page = sheet(rng, digit)
    (height, width), gap, tilt = page.ink.shape, rng.integers(20, 45), rng.uniform(-0.03, 0.03)
    colour = pick(rng, (150, 180, 220), (210, 130, 130), (120, 190, 140), (160, 160, 160))
    across = [(0, at, width, at + tilt * width) for at in range(-20, height + 20, gap)]
    down = [(at, 0, at - tilt * height, height) for at in range(-20, width + 20, gap)] if squared else []
    page = page.marked(lines(page.ink.shape, across + down, rng.uniform(1, 2.5)), colour)
    margin = rng.uniform(0.05, 0.13) * width
    if rng.random() < 0.5:
        page = page.marked(lines(page.ink.shape, [(margin, 0, margin, height)], 2), (220, 60, 60))
    return page.taken(rng, noise=pick(rng, 2, 5), light=light(rng, page.ink.shape, rng.uniform(0.6, 1)))


def framed(rng: np.random.Generator, digit: Array) -> Array:
    page = sheet(rng, digit)
    left, top, right, bottom = page.box
    left, top, right, bottom = (
        place + sign * rng.integers(4, 20) for place, sign in zip(page.box, (-1, -1, 1, 1), strict=True)
    )
    sides = [
        (left, top, right, top),
        (right, top, right, bottom),
        (right, bottom, left, bottom),
        (left, bottom, left, top),
    ]
    colour = pick(rng, (30, 30, 30), (60, 60, 160), (170, 50, 50), (150, 150, 150))
    return page.marked(lines(page.ink.shape, sides, rng.uniform(1.5, 5)), colour).taken(rng)


def scan_edge(rng: np.random.Generator, digit: Array) -> Array:
    page = sheet(rng, digit)
    height, width = page.ink.shape
    rows, columns = np.mgrid[:height, :width]
    for side in rng.choice(4, rng.integers(1, 5), replace=False):
        askew = rng.uniform(-0.03, 0.03)
        away = (columns, width - 1 - columns, rows, height - 1 - rows)[side] + askew * (rows if side < 2 else columns)
        page = page.marked(np.clip((rng.integers(4, min(height, width) // 13) - away) / 2, 0, 1), (15, 15, 15))
    return page.taken(rng)


def chalk(rng: np.random.Generator, digit: Array) -> Array:
    page = sheet(rng, digit, pick(rng, (35, 55, 45), (30, 30, 35), (50, 60, 75)))
    cloud = Image.fromarray(rng.integers(0, 255, [side // 8 for side in page.ink.shape], np.uint8))
    wiped = np.asarray(cloud.resize(page.ink.shape[::-1], Image.Resampling.BICUBIC)) / 255
    page = page.marked(0.1 * wiped, (255, 255, 255))
    page.ink = page.ink * rng.uniform(0.55, 1, page.ink.shape)
    return page.taken(rng, (225, 225, 215), 5)


def date_stamp(rng: np.random.Generator, digit: Array) -> Array:
    page = sheet(rng, digit)
    height, width = page.ink.shape
    text = Image.new("L", (width, height))
    place = (pick(rng, 0.03, 0.55) * width, pick(rng, 0.02, 0.92) * height)
    ImageDraw.Draw(text).text(place, "2024-03-17 14:05", fill=255, font=ImageFont.load_default(12))
    return page.marked(np.asarray(text) / 255, pick(rng, (230, 120, 30), (20, 20, 20), (200, 30, 30))).taken(rng)


def coloured(rng: np.random.Generator, digit: Array) -> Array:
    colours = (
        ((245, 220, 120), (30, 60, 160)),
        ((250, 190, 200), (120, 20, 60)),
        ((170, 215, 240), (180, 30, 30)),
        ((240, 240, 240), (230, 90, 40)),
        ((60, 60, 120), (240, 230, 90)),
        ((200, 60, 50), (250, 250, 250)),
    )
    paper, ink = pick(rng, *colours)
    return sheet(rng, digit, paper).taken(rng, ink, 3)


def squared(rng: np.random.Generator, digit: Array) -> Array:
    return ruled(rng, digit, squared=True)


KINDS: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    kind.__name__: kind
    for kind in (
        *(falling_light, shadow, pencil, specks, ruled, squared, framed, scan_edge, chalk, date_stamp, coloured),
    )
}
