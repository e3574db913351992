"""The film of a row of kernels, as an animated picture for slides."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lenscope.plots.display import DIVERGING
from lenscope.runs.storage import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from lenscope.insight.kernels import KernelFilm

Format = Literal["gif", "webp"]
FRAME_MS, LAST_MS = 90, 2_000
TILE, GAP, LEFT, TOP = 120, 10, 130, 84  # pixels
LEVELS = 253  # colours of the weights; with paper, ink and grey no more than a GIF has
PAPER, INK, GREY = range(LEVELS, LEVELS + 3)


@dataclass(frozen=True, eq=False)
class FilmDisplay:
    """Two rows of tiles, the kernels and their difference from the start, that move from step 0 to the end."""

    film: KernelFilm

    def encode(self, kind: Format) -> bytes:
        """The animation as a file's bytes; it repeats for ever, and rests at its end. Every colour is exact."""
        pictures = [_draw(self.film, frame) for frame in range(len(self.film.steps))]
        durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_MS]
        if kind == "webp":
            pictures = [picture.convert("RGB") for picture in pictures]
        file = io.BytesIO()
        exact = {"lossless": True} if kind == "webp" else {"optimize": False, "disposal": 1}
        pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **exact)
        return file.getvalue()

    def save(self, path: Path) -> None:
        """Write it as what its name ends with, .gif or .webp, whole or not at all; raises StorageError."""
        write_file(path, self.encode("webp" if path.suffix.lower() == ".webp" else "gif"))

    def _repr_html_(self) -> str:
        content = b64encode(self.encode("gif")).decode()
        return f'<img alt="film of {self.film.layer}" src="data:image/gif;base64,{content}">'


def _draw(film: KernelFilm, frame: int) -> Image.Image:
    tiles = film.frames.shape[1]
    width, height = LEFT + tiles * (TILE + GAP) + GAP, TOP + 2 * (TILE + GAP) + 46
    picture = Image.new("P", (width, height), PAPER)
    picture.putpalette(_palette())
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(20)
    draw.fontmode = "1"  # no grey levels between ink and paper: they have no place in the palette
    draw.text((GAP, 12), f"{film.layer}: {film.title}", fill=INK, font=font)
    for row, (name, values) in enumerate(_rows(film, frame)):
        top = TOP + row * (TILE + GAP)
        draw.text((GAP, top + TILE // 2 - 12), name, fill=INK, font=font)
        for column, tile in enumerate(values):
            picture.paste(_tile(tile, film.scale), (LEFT + column * (TILE + GAP), top))
    for column, label in enumerate(film.labels):
        draw.text((LEFT + column * (TILE + GAP), TOP - 28), label, fill=GREY, font=font)
    _draw_progress(draw, film, frame, (width, height))
    return picture


def _rows(film: KernelFilm, frame: int) -> list[tuple[str, NDArray[np.float32]]]:
    now = film.frames[frame]
    return [("kernel", now), ("difference", now - film.frames[0])]


def _tile(values: NDArray[np.float32], scale: float) -> Image.Image:
    levels = np.rint((values / (scale or 1.0)).clip(-1, 1) * (LEVELS // 2) + LEVELS // 2).astype(np.uint8)
    return Image.fromarray(levels).resize((TILE, TILE), Image.Resampling.NEAREST)


def _draw_progress(draw: ImageDraw.ImageDraw, film: KernelFilm, frame: int, size: tuple[int, int]) -> None:
    """A line that grows by frames, since frames are spread evenly over what changes, and where it is."""
    width, height = size
    right, y = width - GAP, height - 40
    draw.rectangle((LEFT, y, right, y + 3), fill=GREY)
    reached = LEFT + (right - LEFT) * frame // max(1, len(film.steps) - 1)
    draw.rectangle((LEFT, y - 1, reached, y + 4), fill=INK)
    epoch = film.epochs[frame]
    place = f"step {film.steps[frame]:,}, epoch {f'{epoch:.3g}' if epoch < 100 else f'{epoch:,.0f}'}"
    draw.text((LEFT, y + 9), place, fill=INK, font=ImageFont.load_default(20))


def _palette() -> list[int]:
    colours = mpl.colormaps[DIVERGING](np.linspace(0, 1, LEVELS))[:, :3]
    levels: list[int] = np.rint(255 * colours).astype(int).ravel().tolist()
    return [*levels, 255, 255, 255, 34, 34, 34, 138, 138, 138]
