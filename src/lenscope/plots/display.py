"""What all pictures share: the Display class, the palette and the type.

Colours are Okabe and Ito's ("Color universal design", 2008), which colour-blind readers tell apart; the diverging
scale is matplotlib's RdBu reversed, blue below zero and red above, equally dark on both sides.
"""

from __future__ import annotations

import io
import textwrap
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from lenscope.plots.letters import drawable, families, quiet_about_weights
from lenscope.runs.storage import write_file
from lenscope.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

INK, GREY, FAINT = "#222222", "#8a8a8a", "#dddddd"
BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7"
PARTS = {"train": VERMILION, "validation": PURPLE, "test": GREEN, "lecture": GREY}  # loss red, accuracy green there
DIVERGING = "RdBu_r"
DPI = 144

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ebebeb",
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollar signs
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "lines.markersize": 4.5,
}


class Display(ABC):
    """A picture of data that were computed before: draw it, save it, or let a notebook show it."""

    @abstractmethod
    def draw(self) -> Figure:
        """A new figure."""

    def figure(self) -> Figure:
        """A new figure in the style of all our pictures; needs no display and leaves matplotlib's state alone."""
        with _style():
            return _legible(self.draw())

    def png(self) -> bytes:
        """The picture as a PNG file's bytes."""
        file = io.BytesIO()
        with _style():
            figure = _legible(self.draw())
            figure.set_dpi(DPI)
            canvas = FigureCanvasAgg(figure)
            canvas.print_png(file, metadata={"Software": None})  # type: ignore[no-untyped-call]  # savefig draws twice
        return file.getvalue()

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
    """A figure whose texts are made of letters that there are."""
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_text() != (shown := drawable(text.get_text())):
            text.set_text(shown)
    return figure


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of this size in inches under a title, laid out so that nothing overlaps."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    letters = int(width / 0.125)  # a letter of this type is 0.125 inches wide at most, on average
    lines = textwrap.fill(drawable(printable(title)), letters)
    figure.suptitle(lines, x=0.08 / width, ha="left", fontsize=12, fontweight="bold")
    return figure


def to_colours(weights: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Kernels of three colours (…, 3, H, W) as pictures (…, H, W, 3): a channel's weight at low is 0, at high 255.

    With low = −high grey is zero; a weight raises its colour, or lowers it.
    """
    shares = (np.moveaxis(weights, -3, -1) - low) / ((high - low) or 1.0)
    colours: NDArray[np.uint8] = np.rint(255 * shares.clip(0, 1)).astype(np.uint8)
    return colours


def put_image(axes: Axes, pixels: NDArray[Any], x: float, y: float, size: float, **options: Any) -> AxesImage:
    """Draw an image about a centre on existing axes, its longer side of this size.

    The way to draw many: 4 ms each, where an Axes of its own takes 30, most of them to lay it out (cloud CPU, 2026-11).
    """
    height, width = (side * size / (2 * max(pixels.shape[:2])) for side in pixels.shape[:2])
    extent = (x - width, x + width, y - height, y + height)
    return axes.imshow(pixels, extent=extent, interpolation="nearest", in_layout=False, **options)
