"""A row of kernels: initial, trained, and what lies between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.colors import Normalize

from lenscope.plots.display import DIVERGING, GREY, Display, bare, new_figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

    from lenscope.insight.kernels import Kernels

KernelStyle = Literal["lenscope", "lecture"]


@dataclass(frozen=True, eq=False)
class KernelsDisplay(Display):
    """Three rows of tiles, one weight a square.

    Args:
        kernels: what to draw.
        style: `lenscope`: trained minus initial, one zero-centred diverging scale for the layer; `lecture`: grey, each
            row stretched from its least to its greatest weight, initial minus trained.
    """

    kernels: Kernels
    style: KernelStyle = "lenscope"

    def draw(self) -> Figure:
        """A new figure."""
        kernels, rows = self.kernels, self._rows()
        columns = len(kernels.labels)
        style = "" if self.style == "lenscope" else ", as the lecture draws it"
        figure = new_figure(1.35 * columns + 2, 5, f"{kernels.layer}: {kernels.title}{style}")
        figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.05, wspace=0, hspace=0)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes_row, (label, tiles, scale) in zip(grid, rows, strict=True):
            for axes, tile in zip(axes_row, tiles, strict=True):
                image = axes.imshow(tile, interpolation="nearest", **scale)
                bare(axes, frame=True)
            axes_row[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
            if self.style == "lecture":
                self._bar(figure, image, list(axes_row), "weight")
        for axes, label in zip(grid[0], kernels.labels, strict=True):
            axes.set_title(label, fontsize=9, fontweight="normal", loc="center")
        if self.style == "lenscope":
            self._bar(figure, image, grid.ravel().tolist(), "weight (one scale for the layer)")
        return figure

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

    def _bar(self, figure: Figure, image: AxesImage, axes: list[Any], label: str) -> None:
        bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=10 if self.style == "lecture" else 30, shrink=0.95)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8, color=GREY)
        bar.set_label(label)
