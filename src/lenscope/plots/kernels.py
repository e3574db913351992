"""A row of kernels: initial, trained, and what lies between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from lenscope.plots.display import DIVERGING, FAINT, GREY, Display, new_figure, put_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

    from lenscope.insight.kernels import Kernels

KernelStyle = Literal["lenscope", "lecture"]
COLUMN, ROW, GAP, BAR = 1.07, 1.16, 0.07, 0.1  # from tile to tile, to what stands beside it, and a scale's width
MATCH_GAP, LINES = 0.12, 0.5  # between a kernel and what it is compared with, and what two lines of words take


@dataclass(frozen=True, eq=False)
class KernelsDisplay(Display):
    """Three rows of tiles, one weight a square; in our style a fourth, what the trained kernels resemble.

    Args:
        kernels: what to draw.
        style: `lenscope`: trained minus initial, one zero-centred diverging scale for the layer; `lecture`: grey, each
            row stretched from its least to its greatest weight, initial minus trained.
    """

    kernels: Kernels
    style: KernelStyle = "lenscope"

    def draw(self) -> Figure:
        """A new figure."""
        kernels = self.kernels
        columns = len(kernels.labels)
        style = "" if self.style == "lenscope" else ", as the lecture draws it"
        height = 7.1 if self.style == "lenscope" else 5
        figure = new_figure(1.35 * columns + 2, height, f"{kernels.layer}: {kernels.title}{style}")
        figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.07)
        self.plot(figure.subplots())
        return figure

    def plot(self, axes: Axes) -> None:
        """Draw tiles, names and colour scales on existing axes, where a tile is 1 wide and high."""
        axes.set_axis_off()
        right, bottom = COLUMN * (len(self.kernels.labels) - 1) + 0.5, -2 * ROW - 0.5
        for row, (name, tiles, scale) in enumerate(self._rows()):
            axes.text(-0.5 - GAP, -ROW * row, name, ha="right", va="center")
            image = _plot_tiles(axes, tiles, -ROW * row, scale)
            if self.style == "lecture":
                _plot_scale(axes, image, (right + 2 * GAP, -ROW * row - 0.5, BAR, 1), "weight")
        for column, label in enumerate(self.kernels.labels):
            axes.text(COLUMN * column, 0.5 + GAP, label, fontsize=9, ha="center")
        if self.style == "lenscope":
            place = (right + 2 * GAP, bottom, BAR, 0.5 - bottom)
            _plot_scale(axes, image, place, "weight (one scale for the layer)")
            bottom = self._plot_matches(axes)
        axes.set(xlim=(-0.5, right + 2 * GAP + BAR), ylim=(bottom, 0.5))

    def _plot_matches(self, axes: Axes) -> float:
        """Under each trained tile the first derivative that it resembles most, how much, and what chance gives."""
        y, match = -3 * ROW - MATCH_GAP, self.kernels.match
        axes.text(-0.5 - GAP, y, "best first\nderivative", ha="right", va="center")
        _plot_tiles(axes, self.kernels.templates, y, {"cmap": DIVERGING, "norm": Normalize(-1, 1)})
        axes.text(-0.5 - GAP, y - 0.5 - GAP, "score\np, by chance", fontsize=9, ha="right", va="top")
        for column, (score, p) in enumerate(zip(match.scores, match.p_values, strict=True)):
            words = "–" if np.isnan(score) else f"{score:.2f}\n{'< 0.001' if p < 0.001 else f'{p:.3f}'}"
            axes.text(COLUMN * column, y - 0.5 - GAP, words, fontsize=9, ha="center", va="top")
        return y - 0.5 - LINES

    def _rows(self) -> list[tuple[str, NDArray[np.float32], dict[str, Any]]]:
        kernels = self.kernels
        if self.style == "lecture":
            rows = (
                ("initial", kernels.initial),
                ("trained", kernels.trained),
                ("initial\n− trained", -kernels.difference),
            )
            return [
                (name, tiles, {"cmap": "gray", "norm": Normalize(tiles.min(), tiles.max())}) for name, tiles in rows
            ]
        scale = {"cmap": DIVERGING, "norm": Normalize(-kernels.scale, kernels.scale)}
        rows = (("initial", kernels.initial), ("trained", kernels.trained), ("trained\n− initial", kernels.difference))
        return [(name, tiles, scale) for name, tiles in rows]


def _plot_tiles(axes: Axes, tiles: NDArray[np.float32], y: float, scale: dict[str, Any]) -> AxesImage:
    """Draw a row of tiles, each in a faint frame, and return the last one."""
    for column, tile in enumerate(tiles):
        image = put_image(axes, tile, COLUMN * column, y, 1, **scale)
        corner = (COLUMN * column - 0.5, y - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=FAINT, linewidth=0.8, clip_on=False))
    return image


def _plot_scale(axes: Axes, image: AxesImage, place: tuple[float, float, float, float], name: str) -> None:
    """Draw an image's colour scale at a place (left, bottom, width, height) in the units of these axes."""
    bar = image.get_figure().colorbar(image, cax=axes.inset_axes(place, transform=axes.transData))  # type: ignore[union-attr]
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, color=GREY)
    bar.set_label(name)
