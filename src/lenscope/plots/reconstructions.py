"""Rows of images: inputs and reconstructions of an autoencoder, and reconstructions by several networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.plots.display import Display, new_figure, put_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lenscope.insight.reconstructions import Reconstructions
    from lenscope.insight.section import Pictures

    Rows = Sequence[tuple[str, NDArray[np.float32]]]

SIDE, INCHES = 0.92, 1.05  # of an image, where 1 is an image with its gap; of an image with its gap


@dataclass(frozen=True, eq=False)
class ReconstructionsDisplay(Display):
    """Rows of images: the input, the input with noise where training added any, and the reconstruction.

    Pixels are grey from 0 to 1, ink dark; below each image is its mean squared error per pixel.
    """

    reconstructions: Reconstructions

    def draw(self) -> Figure:
        """A new figure."""
        found, noisy = self.reconstructions, self.reconstructions.corruption != "none"
        clean = ", without the noise" if noisy else ""
        title = (
            f"{found.shown}: reconstruction error {found.error:z.4f} per pixel (mean of {len(found.errors):,}{clean})"
        )
        words = f"with {found.corruption}".replace(",", "\n")
        seen = [(words, np.clip(found.seen, 0, 1))] if noisy else []
        rows = [("input", found.given), *seen, ("reconstruction", found.returned)]
        return _draw_rows(title, rows, [f"{error:z.4f}" for error in found.own_errors])


@dataclass(frozen=True, eq=False)
class PicturesDisplay(Display):
    """Rows of images, each with its name: reconstructions of the same images by several networks."""

    title: str
    pictures: Sequence[Pictures]

    def draw(self) -> Figure:
        """A new figure."""
        return _draw_rows(self.title, [(row.name, (row.images / 255).astype(np.float32)) for row in self.pictures])


def _draw_rows(title: str, rows: Rows, errors: Sequence[str] = ()) -> Figure:
    """Rows of images of shape (N, C, H, W), values 0 to 1, each with its name on the left, and errors below them."""
    columns, below = max(len(images) for _, images in rows), 0.3 if errors else 0.0
    figure = new_figure(INCHES * columns + 1.6, INCHES * len(rows) + 0.5 + below, title)
    axes, bottom = figure.subplots(), 0.45 - len(rows)
    axes.set_axis_off()
    for row, (name, images) in enumerate(rows):
        axes.text(-0.6, -row, name, ha="right", va="center")
        for column, image in enumerate(images):
            put_image(axes, image.transpose(1, 2, 0), column, -row, SIDE, cmap="gray_r", vmin=0, vmax=1)
    if errors:
        axes.text(-0.6, bottom, "error", fontsize=9, ha="right", va="top")
    for column, error in enumerate(errors):
        axes.text(column, bottom, error, fontsize=9, ha="center", va="top")
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(bottom - below, 0.5))
    return figure
