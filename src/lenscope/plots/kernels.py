"""A row of kernels: initial, trained, and what lies between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from lenscope.plots.display import DIVERGING, FAINT, GREY, Display, new_figure, put_image, to_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

    from lenscope.insight.kernels import Kernels

KernelStyle = Literal["lenscope", "lecture"]
COLUMN, ROW, GAP, BAR = 1.07, 1.16, 0.07, 0.1  # from tile to tile, to what stands beside it, and a scale's width
MATCH_GAP, LINES = 0.12, 0.5  # between a kernel and what it is compared with, and what two lines of words take
PART, PART_GAP = 0.3, 0.05  # the side of a channel's tile, three of which stand under a kernel in colour
CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class KernelsDisplay(Display):
    """Three rows of tiles, one weight a square; in our style a fourth, what the trained kernels resemble.

    A kernel of three colours is drawn in colour, and under it by channel. In colour grey is no weight, and a weight
    raises or lowers its colour: a kernel that only measures brightness has no hue.

    Args:
        kernels: what to draw.
        style: `lenscope`: trained minus initial, one zero-centred scale for the layer; `lecture`: grey, each row
            stretched from its least to its greatest weight, initial minus trained.
    """

    kernels: Kernels
    style: KernelStyle = "lenscope"

    def draw(self) -> Figure:
        """A new figure."""
        kernels = self.kernels
        columns = len(kernels.labels)
        style = "" if self.style == "lenscope" else ", as the lecture draws it"
        grey, coloured = (7.1, 7.75) if self.style == "lenscope" else (5, 6.3)
        height = coloured if kernels.coloured else grey
        figure = new_figure(1.35 * columns + 2, height, f"{kernels.layer}: {kernels.title}{style}")
        figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.07)
        self.plot(figure.subplots())
        return figure

    def plot(self, axes: Axes) -> None:
        """Draw tiles, names and colour scales on existing axes, where a tile is 1 wide and high."""
        axes.set_axis_off()
        right, bottom = COLUMN * (len(self.kernels.labels) - 1) + 0.5, -2 * self._pitch - self._depth
        for row, (name, tiles, scale) in enumerate(self._rows()):
            y = -self._pitch * row
            self._plot_name(axes, name, y)
            image = _plot_tiles(axes, tiles, y, scale)
            if self.style == "lecture":
                _plot_scale(axes, image, (right + 2 * GAP, y - self._depth, BAR, 0.5 + self._depth), "weight")
        for column, label in enumerate(self.kernels.labels):
            axes.text(COLUMN * column, 0.5 + GAP, label, fontsize=9, ha="center")
        if self.style == "lenscope":
            self._plot_scales(axes, image, right + 2 * GAP, bottom)
            bottom = self._plot_matches(axes)
        axes.set(xlim=(-0.5, right + 2 * GAP + BAR), ylim=(bottom, 0.5))

    @property
    def _depth(self) -> float:
        """How far a row reaches below the middle of its tiles."""
        return 0.5 + (PART_GAP + PART if self.kernels.coloured else 0)

    @property
    def _pitch(self) -> float:
        """From one row to the next."""
        return ROW + self._depth - 0.5 + (PART_GAP if self.kernels.coloured else 0)

    def _plot_name(self, axes: Axes, name: str, y: float) -> None:
        axes.text(-0.5 - GAP, y, name, ha="right", va="center")
        if self.kernels.coloured:
            words = "its red, green\nand blue part"
            axes.text(-0.5 - GAP, y - 0.5 - PART_GAP - PART / 2, words, ha="right", va="center", fontsize=8, color=GREY)

    def _plot_scales(self, axes: Axes, image: AxesImage, left: float, bottom: float) -> None:
        """Our scale beside all rows; of kernels in colour that of a part, and above it those of the colours."""
        if not self.kernels.coloured:
            _plot_scale(axes, image, (left, bottom, BAR, 0.5 - bottom), "weight (one scale for the layer)")
            return
        middle = (0.5 + bottom) / 2
        _plot_scale(axes, image, (left, bottom, BAR, middle - bottom - 2 * GAP), "weight of a part")
        _plot_colours(axes, self.kernels.scale, (left, middle + 2 * GAP, 2.4 * BAR, 0.5 - middle - 2 * GAP))

    def _plot_matches(self, axes: Axes) -> float:
        """Under each trained tile the first derivative that it resembles most, how much, and what chance gives."""
        y, match, part = -3 * self._pitch - MATCH_GAP, self.kernels.match, self.kernels.coloured
        side, size = (PART, 7) if part else (1, 9)
        y += (1 - side) / 2
        axes.text(-0.5 - GAP, y, "best first\nderivative", ha="right", va="center")
        scores, p_values = (values.reshape(len(match.scores), -1) for values in (match.scores, match.p_values))
        _plot_tiles(axes, self.kernels.templates, y, {"cmap": DIVERGING, "norm": Normalize(-1, 1)}, parts_at=y)
        axes.text(-0.5 - GAP, y - side / 2 - GAP, "score\np, by chance", fontsize=size, ha="right", va="top")
        for (column, place), score in np.ndenumerate(scores):
            words = "–" if np.isnan(score) else f"{score:.2f}\n{_p_value(float(p_values[column, place]), short=part)}"
            x = COLUMN * column + (_part_x(place) if part else 0)
            axes.text(x, y - side / 2 - GAP, words, fontsize=size, ha="center", va="top")
        return y - side / 2 - LINES

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


def _plot_tiles(
    axes: Axes, tiles: NDArray[np.float32], y: float, scale: dict[str, Any], parts_at: float | None = None
) -> AxesImage:
    """Draw a row of tiles, each in a faint frame, and return the last one.

    Tiles of three colours are drawn in colour at y and by channel below, or by channel alone where `parts_at` says.
    """
    for column, tile in enumerate(tiles):
        x = COLUMN * column
        if tile.ndim == 2:
            image = _plot_tile(axes, tile, (x, y), 1, scale)
            continue
        if parts_at is None:
            _plot_tile(axes, to_colours(tile, scale["norm"].vmin, scale["norm"].vmax), (x, y), 1, {})
        below = y - 0.5 - PART_GAP - PART / 2 if parts_at is None else parts_at
        for channel, part in enumerate(tile):
            image = _plot_tile(axes, part, (x + _part_x(channel), below), PART, scale)
    return image


def _plot_tile(
    axes: Axes, tile: NDArray[Any], middle: tuple[float, float], side: float, options: dict[str, Any]
) -> AxesImage:
    x, y = middle
    frame = Rectangle((x - side / 2, y - side / 2), side, side)
    frame.set(fill=False, edgecolor=FAINT, linewidth=0.8, clip_on=False)
    axes.add_patch(frame)
    return put_image(axes, tile, x, y, side, **options)


def _part_x(channel: int) -> float:
    """Where a channel's tile stands, from the middle of its kernel."""
    return (channel - 1) * (PART + PART_GAP)


def _p_value(p: float, *, short: bool) -> str:
    """A p-value in words, without its 0 where there is little room."""
    words = "< 0.001" if p < 0.001 else f"{p:.3f}"
    return words.replace(" 0", "").removeprefix("0") if short else words


def _plot_scale(axes: Axes, image: AxesImage, place: tuple[float, float, float, float], name: str) -> None:
    """Draw an image's colour scale at a place (left, bottom, width, height) in the units of these axes."""
    bar = image.get_figure().colorbar(image, cax=axes.inset_axes(place, transform=axes.transData))  # type: ignore[union-attr]
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, color=GREY)
    bar.set_label(name)


def _plot_colours(axes: Axes, scale: float, place: tuple[float, float, float, float]) -> None:
    """Draw what a weight of each channel does to the colour of a kernel, from −scale to scale."""
    bars = axes.inset_axes(place, transform=axes.transData)
    weights = np.linspace(scale, -scale, 101, dtype=np.float32)
    each = np.einsum("h,cw->chw", weights, np.eye(3, dtype=np.float32))
    bars.imshow(to_colours(each, -scale, scale), extent=(0, 3, -scale, scale), aspect="auto", interpolation="nearest")
    bars.set(xticks=(0.5, 1.5, 2.5), xticklabels=[name[0].upper() for name in CHANNELS])
    bars.tick_params(labelsize=8, color=GREY, bottom=False, pad=2)
    bars.yaxis.tick_right()
    bars.yaxis.set_label_position("right")
    bars.set_ylabel("weight in colour (0 is grey)")
    bars.grid(visible=False)
    bars.spines[:].set_visible(False)
