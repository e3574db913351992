"""What an autoencoder gets and what it gives back, in rows of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.plots.display import Display, new_figure, put_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lenscope.insight.findings import Pictures
    from lenscope.insight.reconstructions import Reconstructions

COLUMN, ROW, SIDE = 1.0, 1.0, 0.92


@dataclass(frozen=True, eq=False)
class ReconstructionsDisplay(Display):
    """Rows of images: the input, the corrupted input where training had noise on it, and the reconstruction.

    Pixels are grey from 0 to 1 as in the other pictures, ink dark; below each is its mean squared error a pixel.
    """

    reconstructions: Reconstructions

    def draw(self) -> Figure:
        """A new figure."""
        found, rows = self.reconstructions, self._rows()
        clean = "" if found.corruption == "none" else ", without the noise"
        title = f"{found.shown}: reconstruction error {found.error:z.4f} a pixel (mean of {len(found.errors):,}{clean})"
        figure = new_figure(1.05 * len(found.given) + 1.6, 1.05 * len(rows) + 0.8, title)
        self.plot(figure.subplots())
        return figure

    def plot(self, axes: Axes) -> None:
        """Draw the rows on existing axes, where an image is 1 wide and high with its gap."""
        rows = self._rows()
        _put_rows(axes, rows)
        bottom = -ROW * len(rows) + 0.45
        axes.text(-0.6, bottom, "its error", fontsize=9, ha="right", va="top")
        for column, error in enumerate(self.reconstructions.own_errors):
            axes.text(COLUMN * column, bottom, f"{error:z.4f}", fontsize=9, ha="center", va="top")
        axes.set(xlim=(-0.5, COLUMN * len(self.reconstructions.given) - 0.5), ylim=(bottom - 0.3, 0.5))

    def _rows(self) -> list[tuple[str, NDArray[np.float32]]]:
        found = self.reconstructions
        seen = [] if found.corruption == "none" else [(f"with {found.corruption}".replace(",", "\n"), found.seen)]
        cut = [(name, np.clip(images, 0, 1)) for name, images in seen]
        return [("input", found.given), *cut, ("reconstruction", found.returned)]


@dataclass(frozen=True, eq=False)
class PicturesDisplay(Display):
    """Rows of images, each with its name: the same ones, as several networks give them back."""

    title: str
    pictures: Sequence[Pictures]

    def draw(self) -> Figure:
        """A new figure."""
        most = max(len(row.images) for row in self.pictures)
        figure = new_figure(1.05 * most + 1.6, 1.05 * len(self.pictures) + 0.5, self.title)
        self.plot(figure.subplots())
        return figure

    def plot(self, axes: Axes) -> None:
        """Draw the rows on existing axes, where an image is 1 wide and high with its gap."""
        _put_rows(axes, [(row.name, (row.images / 255).astype(np.float32)) for row in self.pictures])
        most = max(len(row.images) for row in self.pictures)
        axes.set(xlim=(-0.5, COLUMN * most - 0.5), ylim=(-ROW * len(self.pictures) + 0.45, 0.5))


def _put_rows(axes: Axes, rows: Sequence[tuple[str, NDArray[np.float32]]]) -> None:
    """Images of shape (N, C, H, W) with values from 0 to 1, a row each, with its name before it."""
    axes.set_axis_off()
    for row, (name, images) in enumerate(rows):
        axes.text(-0.6, -ROW * row, name, ha="right", va="center")
        for column, image in enumerate(images):
            pixels: dict[str, Any] = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
            put_image(axes, image.transpose(1, 2, 0), COLUMN * column, -ROW * row, SIDE, **pixels)
