"""The Display class, the palette and the fonts of all pictures.

Colours are Okabe and Ito's ("Color universal design", 2008), which colour-blind readers can distinguish; the diverging
scale is matplotlib's RdBu reversed, blue below zero and red above, equally dark on both sides.
"""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from lenscope.plots.letters import drawable, families, quiet_about_weights
from lenscope.storage import write_file
from lenscope.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

INK, GREY, FAINT = "#222222", "#8a8a8a", "#dddddd"
BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7"
DIVERGING = "RdBu_r"
DPI = 144

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titley": 1.0,  # or each title looks for ticks above its axes, three times
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ebebeb",
    "text.color": INK,
    "text.hinting": "no_hinting",
    "text.parse_math": False,  # a name may contain dollar signs
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "lines.markersize": 4.5,
}


class Display(ABC):
    """A picture of computed data: draw it, save it, or let a notebook show it."""

    @abstractmethod
    def draw(self) -> Figure:
        """A new figure."""

    def figure(self) -> Figure:
        """A new figure in the style of all pictures; needs no screen and does not change matplotlib's state."""
        with _style():
            return _legible(self.draw())

    def png(self) -> bytes:
        """The picture as a PNG file's bytes."""
        with _style():
            figure = _legible(self.draw())
            figure.set_dpi(DPI)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()  # type: ignore[no-untyped-call]  # savefig draws twice
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]
        content = BytesIO()
        pixels.save(content, "PNG", compress_level=3, compress_type=3, dpi=(DPI, DPI))  # run lengths: quick, small
        return content.getvalue()

    def save(self, path: Path) -> None:
        """Write it as a PNG file, whole or not at all; raises StorageError."""
        write_file(path, self.png())

    def _repr_png_(self) -> bytes:
        return self.png()


@contextmanager
def _style() -> Iterator[None]:
    with rc_context(STYLE | {"font.family": families()}), quiet_about_weights():
        yield


def _legible(figure: Figure) -> Figure:
    """A figure whose texts contain only characters of the installed fonts."""
    for text in _texts(figure):
        if text.get_text() != (shown := drawable(text.get_text())):
            text.set_text(shown)
    return figure


def _texts(artist: Artist) -> Iterator[Text]:
    """Every text but those of ticks, which would have to be created first: names there passed through `short`."""
    if isinstance(artist, Text):
        yield artist
    for child in [artist.label] if isinstance(artist, Axis) else artist.get_children():
        yield from _texts(child)


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of this size in inches under a title, laid out so that nothing overlaps."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    letters = int(width / 0.125)  # the average width of a letter in inches, at most
    lines = textwrap.fill(drawable(printable(title)).replace(" %", "\u00a0%"), letters)
    figure.suptitle(lines, x=0.08 / width, ha="left", fontsize=12, fontweight="bold")
    return figure


def to_colours(weights: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Kernels of three colours (…, 3, H, W) as pictures (…, H, W, 3): a weight `low` is level 0, `high` level 255.

    With low = −high, grey is zero; a weight raises or lowers its colour.
    """
    shares = (np.moveaxis(weights, -3, -1) - low) / ((high - low) or 1.0)
    colours: NDArray[np.uint8] = np.rint(255 * shares.clip(0, 1)).astype(np.uint8)
    return colours


def put_image(axes: Axes, pixels: NDArray[Any], x: float, y: float, size: float, **options: Any) -> AxesImage:
    """Draw an image about a centre on existing axes, its longer side of this size.

    The way to draw many: 1 ms each, where an Axes of its own takes 12 (cloud CPU, 2026-11).
    """
    height, width = (side * size / (2 * max(pixels.shape[:2])) for side in pixels.shape[:2])
    extent = (x - width, x + width, y - height, y + height)
    return axes.imshow(pixels, extent=extent, interpolation="nearest", in_layout=False, **options)


def put_tiles(
    axes: Axes, tiles: NDArray[Any], first: tuple[float, float], pitch: float, size: float = 1, **options: Any
) -> QuadMesh:
    """Draw a row of small images (N, H, W) or (N, H, W, 3) as one mesh, each `pitch` right of the one before.

    A mesh of N images takes as long as `put_image` of one. The array of what is returned is (H, N (W + 1) − 1), with a
    masked column between two images.

    Args:
        axes: existing axes.
        tiles: the images.
        first: the centre of the first.
        pitch: from centre to centre.
        size: of the longer side.
        options: for `Axes.pcolormesh`.
    """
    count, height, width = tiles.shape[:3]
    across, down = (np.linspace(-side / 2, side / 2, side + 1) * size / max(height, width) for side in (width, height))
    row = np.ma.MaskedArray(np.zeros((height, count, width + 1, *tiles.shape[3:]), tiles.dtype), mask=True)
    row[:, :, :-1] = np.moveaxis(tiles, 0, 1)
    edges = first[0] + pitch * np.arange(count)[:, None] + across
    axes.set_aspect("equal")
    pixels = row.reshape(height, -1, *tiles.shape[3:])[:, :-1]
    return axes.pcolormesh(edges.ravel(), first[1] - down, pixels, in_layout=False, **options)
