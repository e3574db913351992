"""The kernels of several networks below each other: before training, and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.plots.display import DIVERGING, Display, new_figure, put_tiles, to_colours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lenscope.insight.section import LayerFilm

SIDE, GAP = 0.92, 0.6  # of a tile, where 1 is a tile with its gap; between before and after
INCHES = 0.58


@dataclass(frozen=True, eq=False)
class FilmsDisplay(Display):
    """A row for each network: its initial kernels on the left, the trained ones on the right.

    Args:
        title: above them.
        films: of one layer, with kernels of one channel or of three; one or more.
    """

    title: str
    films: Sequence[LayerFilm]

    def draw(self) -> Figure:
        """A new figure, each row on its own scale about zero."""
        columns = max(film.frames.shape[1] for film in self.films)
        second, right = columns + GAP, 2 * columns + GAP - 0.5
        figure = new_figure(INCHES * (right + 0.5) + 1.8, INCHES * (len(self.films) + 1) + 0.6, self.title)
        axes = figure.subplots()
        axes.set_axis_off()
        for words, left in (("before", 0.0), ("after", second)):
            axes.text(left + (columns - 1) / 2, 0.6, words, ha="center", va="bottom")
        for row, film in enumerate(self.films):
            axes.text(-0.6, -row, film.name, ha="right", va="center")
            scale = float(np.abs(film.frames[[0, -1]]).max()) or 1.0
            for left, kernels in ((0.0, film.frames[0]), (second, film.frames[-1])):
                _put_kernels(axes, kernels, left, -row, scale)
        axes.set(xlim=(-0.5, right), ylim=(0.5 - len(self.films), 1.1))
        return figure


def _put_kernels(axes: Axes, kernels: NDArray[np.float32], x: float, y: float, scale: float) -> None:
    """A row of shape (N, 1, H, W), by a diverging scale, or (N, 3, H, W), in colour."""
    if kernels.shape[1] == 1:
        put_tiles(axes, kernels[:, 0], (x, y), 1, SIDE, cmap=DIVERGING, vmin=-scale, vmax=scale)
    else:
        put_tiles(axes, to_colours(kernels, -scale, scale), (x, y), 1, SIDE)
