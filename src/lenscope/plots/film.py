"""The film of a row of kernels, as an animated picture for slides."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lenscope.plots.display import DIVERGING, to_colours
from lenscope.storage import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from lenscope.insight.kernels import Kernels

Format = Literal["gif", "webp"]
FRAME_MS, LAST_MS = 90, 2_000
TILE, GAP, LEFT, TOP = 120, 10, 130, 84  # pixels
PART, PART_GAP = 36, 6  # a channel's tile, three of which are below a kernel in colour
LEVELS = 253  # colours of the weights; with paper, ink and grey as many as a GIF can have
PAPER, INK, GREY = range(LEVELS, LEVELS + 3)
PART_LEVELS = 73  # of these for the channels, where kernels are in colour; the others are the film's most used colours


@dataclass(frozen=True, eq=False)
class FilmDisplay:
    """Two rows of tiles, the kernels and their difference from the initial weights, from step 0 to the end.

    Kernels of three colours are drawn in colour, and below by channel.
    """

    film: Kernels

    def encode(self, kind: Format) -> bytes:
        """The animation as a file's bytes; it repeats for ever, and pauses at its end.

        The colours of the diverging scale are exact; those of kernels in colour are the nearest of 180.
        """
        paint = _Coloured(self.film) if self.film.coloured else _Diverging(self.film.scale, LEVELS)
        pictures = [_draw(self.film, frame, paint) for frame in range(len(self.film.steps))]
        durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_MS]
        if kind == "webp":
            pictures = [picture.convert("RGB") for picture in pictures]
        file = io.BytesIO()
        exact = {"lossless": True} if kind == "webp" else {"optimize": False, "disposal": 1}
        pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **exact)
        return file.getvalue()

    def save(self, path: Path) -> None:
        """Write it as .gif or .webp by the ending of the name, whole or not at all; raises StorageError."""
        write_file(path, self.encode("webp" if path.suffix.lower() == ".webp" else "gif"))

    def _repr_html_(self) -> str:
        content = b64encode(self.encode("gif")).decode()
        return f'<img alt="film of {self.film.layer}" src="data:image/gif;base64,{content}">'


class _Diverging:
    """Kernels of one channel on the diverging scale."""

    depth = 0  # pixels below a tile

    def __init__(self, scale: float, levels: int) -> None:
        self._scale, self._half = scale or 1.0, levels // 2
        colours = mpl.colormaps[DIVERGING](np.linspace(0, 1, levels))[:, :3]
        self.colours = np.rint(255 * colours).astype(np.uint8)

    def paste(self, picture: Image.Image, values: NDArray[np.float32], place: tuple[int, int], side: int) -> None:
        levels = np.rint((values / self._scale).clip(-1, 1) * self._half + self._half)
        _paste(picture, levels.astype(np.uint8), place, side)


class _Coloured:
    """Kernels of three channels in colour, and below each channel on the diverging scale."""

    depth = PART_GAP + PART

    def __init__(self, film: Kernels) -> None:
        self._scale, self._parts = film.scale, _Diverging(film.scale, PART_LEVELS)
        shown = np.concatenate([film.frames, film.frames - film.frames[0]])
        every = Image.fromarray(to_colours(shown, -film.scale, film.scale).reshape(len(shown), -1, 3))
        chosen = every.quantize(LEVELS - PART_LEVELS, Image.Quantize.MAXCOVERAGE).getpalette() or []
        self._chosen = np.array(chosen, np.int64).reshape(-1, 3)
        self.colours = np.concatenate([self._parts.colours, self._chosen]).astype(np.uint8)

    def paste(self, picture: Image.Image, values: NDArray[np.float32], place: tuple[int, int], side: int) -> None:
        colours = to_colours(values, -self._scale, self._scale).astype(np.int64)
        nearest = np.square(colours[..., None, :] - self._chosen).sum(-1).argmin(-1)
        _paste(picture, (PART_LEVELS + nearest).astype(np.uint8), place, side)
        for channel, part in enumerate(values):
            left = place[0] + channel * (PART + PART_GAP)
            self._parts.paste(picture, part, (left, place[1] + side + PART_GAP), PART)


def _paste(picture: Image.Image, levels: NDArray[np.uint8], place: tuple[int, int], side: int) -> None:
    picture.paste(Image.fromarray(levels).resize((side, side), Image.Resampling.NEAREST), place)


def _draw(film: Kernels, frame: int, paint: _Diverging | _Coloured) -> Image.Image:
    tiles, pitch = film.frames.shape[1], TILE + paint.depth + GAP
    width, height = LEFT + tiles * (TILE + GAP) + GAP, TOP + 2 * pitch + 46
    picture = Image.new("P", (width, height), PAPER)
    picture.putpalette(_palette(paint.colours))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(20)
    draw.fontmode = "1"  # no grey levels between ink and paper: the palette has none
    draw.text((GAP, 12), f"{film.layer}: {film.title}", fill=INK, font=font)
    for row, (name, values) in enumerate(_rows(film, frame)):
        top = TOP + row * pitch
        draw.text((GAP, top + TILE // 2 - 12), name, fill=INK, font=font)
        for column, tile in enumerate(values):
            paint.paste(picture, tile, (LEFT + column * (TILE + GAP), top), TILE)
    for column, label in enumerate(film.labels):
        draw.text((LEFT + column * (TILE + GAP), TOP - 28), label, fill=GREY, font=font)
    _draw_progress(draw, film, frame, (width, height))
    return picture


def _rows(film: Kernels, frame: int) -> list[tuple[str, NDArray[np.float32]]]:
    now = film.frames[frame]
    return [("kernel", now), ("difference", now - film.frames[0])]


def _draw_progress(draw: ImageDraw.ImageDraw, film: Kernels, frame: int, size: tuple[int, int]) -> None:
    """A bar that grows by frames, since these are spread evenly over the change, and the step and epoch."""
    width, height = size
    right, y = width - GAP, height - 40
    draw.rectangle((LEFT, y, right, y + 3), fill=GREY)
    reached = LEFT + (right - LEFT) * frame // max(1, len(film.steps) - 1)
    draw.rectangle((LEFT, y - 1, reached, y + 4), fill=INK)
    epoch = film.epochs[frame]
    place = f"step {film.steps[frame]:,}, epoch {f'{epoch:.3g}' if epoch < 100 else f'{epoch:,.0f}'}"
    draw.text((LEFT, y + 9), place, fill=INK, font=ImageFont.load_default(20))


def _palette(colours: NDArray[np.uint8]) -> list[int]:
    """The colours of the weights, filled up to LEVELS, then paper, ink and grey."""
    filled = np.zeros((LEVELS, 3), np.uint8)
    filled[: len(colours)] = colours
    return [*filled.ravel().tolist(), 255, 255, 255, 34, 34, 34, 138, 138, 138]
