"""A row of kernels: initial, trained, and their difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.markers import TICKRIGHT
from matplotlib.ticker import Locator, MaxNLocator

from lenscope.plots.display import DIVERGING, FAINT, GREY, Display, new_figure, put_tiles, to_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lenscope.insight.kernels import Kernels

KernelStyle = Literal["lenscope", "lecture"]
COLUMN, ROW, GAP, BAR = 1.07, 1.16, 0.07, 0.1  # from tile to tile, from row to row, beside a tile, and a scale's width
MATCH_GAP, LINES = 0.12, 0.5  # above the row of matches, and the height of two lines of text
PART, PART_GAP = 0.3, 0.05  # the side of a channel's tile, three of which are below a kernel in colour
TICKS: dict[str, Any] = {"marker": TICKRIGHT, "markersize": 3.5, "markeredgewidth": 0.8, "clip_on": False}
BESIDE: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False}
CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class KernelsDisplay(Display):
    """Three rows of tiles, one square per weight; in our style a fourth, the best matches of the trained kernels.

    A kernel of three colours is drawn in colour, and below by channel. In colour, grey is 0, and a weight raises or
    lowers its colour: a kernel that only measures brightness has no hue.

    Args:
        kernels: what to draw.
        style: `lenscope`: trained minus initial, one zero-centred scale for the layer; `lecture`: grey, each row
            scaled from its smallest to its largest weight, initial minus trained.
    """

    kernels: Kernels
    style: KernelStyle = "lenscope"

    def draw(self) -> Figure:
        """A new figure."""
        kernels = self.kernels
        columns = len(kernels.labels)
        style = "" if self.style == "lenscope" else ", as in the lecture"
        grey, coloured = (7.1, 7.75) if self.style == "lenscope" else (5, 6.3)
        height = coloured if kernels.coloured else grey
        figure = new_figure(1.35 * columns + 2, height, f"{kernels.layer}: {kernels.title}{style}")
        figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.14)
        axes = figure.subplots()
        axes.set_axis_off()
        right, bottom = COLUMN * (columns - 1) + 0.5, -2 * self._pitch - self._depth
        for row, (name, tiles, scale) in enumerate(self._rows()):
            y = -self._pitch * row
            self._plot_name(axes, name, y)
            _plot_tiles(axes, tiles, y, scale)
            if self.style == "lecture":
                _plot_scale(axes, scale, (right + 2 * GAP, y - self._depth, BAR, 0.5 + self._depth), "Weight")
        for column, label in enumerate(self.kernels.labels):
            axes.text(COLUMN * column, 0.5 + GAP, label, fontsize=9, ha="center")
        if self.style == "lenscope":
            self._plot_scales(axes, scale, right + 2 * GAP, bottom)
            bottom = self._plot_matches(axes)
        axes.set(xlim=(-0.5, right + 2 * GAP + BAR), ylim=(bottom, 0.5))
        return figure

    @property
    def _depth(self) -> float:
        """The extent of a row below the centre of its tiles."""
        return 0.5 + (PART_GAP + PART if self.kernels.coloured else 0)

    @property
    def _pitch(self) -> float:
        """The distance from one row to the next."""
        return ROW + self._depth - 0.5 + (PART_GAP if self.kernels.coloured else 0)

    def _plot_name(self, axes: Axes, name: str, y: float) -> None:
        axes.text(-0.5 - GAP, y, name, ha="right", va="center")
        if self.kernels.coloured:
            words = "red, green\nand blue"
            axes.text(-0.5 - GAP, y - 0.5 - PART_GAP - PART / 2, words, ha="right", va="center", fontsize=8, color=GREY)

    def _plot_scales(self, axes: Axes, scale: dict[str, Any], left: float, bottom: float) -> None:
        """The scale beside all rows; for kernels in colour that of a channel, and above it those of the colours."""
        if not self.kernels.coloured:
            _plot_scale(axes, scale, (left, bottom, BAR, 0.5 - bottom), "Weight (one scale for the layer)")
            return
        middle = (0.5 + bottom) / 2
        _plot_scale(axes, scale, (left, bottom, BAR, middle - bottom - 2 * GAP), "Weight by channel")
        _plot_colours(axes, self.kernels.scale, (left, middle + 2 * GAP, 2.4 * BAR, 0.5 - middle - 2 * GAP))

    def _plot_matches(self, axes: Axes) -> float:
        """Below each trained tile its best match among first derivatives, with score and p-value."""
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
        kernels, rows = self.kernels, {"initial": self.kernels.initial, "trained": self.kernels.trained}
        if self.style == "lecture":
            rows["initial\n− trained"] = -kernels.difference
            return [(name, it, {"cmap": "gray", "norm": Normalize(it.min(), it.max())}) for name, it in rows.items()]
        rows["trained\n− initial"] = kernels.difference
        scale = {"cmap": DIVERGING, "norm": Normalize(-kernels.scale, kernels.scale)}
        return [(name, tiles, scale) for name, tiles in rows.items()]


def _plot_tiles(
    axes: Axes, tiles: NDArray[np.float32], y: float, scale: dict[str, Any], parts_at: float | None = None
) -> None:
    """Draw a row of tiles, each in a faint frame.

    Tiles of three colours are drawn in colour at y and by channel below, or by channel alone where `parts_at` says.
    """
    if tiles.ndim == 3:
        _plot_framed(axes, tiles, (0, y), 1, scale)
        return
    if parts_at is None:
        _plot_framed(axes, to_colours(tiles, scale["norm"].vmin, scale["norm"].vmax), (0, y), 1, {})
    below = y - 0.5 - PART_GAP - PART / 2 if parts_at is None else parts_at
    for channel in range(3):
        _plot_framed(axes, tiles[:, channel], (_part_x(channel), below), PART, scale)


def _plot_framed(
    axes: Axes, tiles: NDArray[Any], first: tuple[float, float], side: float, options: dict[str, Any]
) -> None:
    put_tiles(axes, tiles, first, COLUMN, side, **options)
    left, bottom = (middle - side / 2 for middle in first)
    across = [(left + COLUMN * column, side) for column in range(len(tiles))]
    axes.broken_barh(across, (bottom, side), facecolor="none", edgecolor=FAINT, linewidth=0.8, clip_on=False)


def _part_x(channel: int) -> float:
    """The position of a channel's tile, from the centre of its kernel."""
    return (channel - 1) * (PART + PART_GAP)


def _p_value(p: float, *, short: bool) -> str:
    """A p-value as text, without its leading 0 where space is short."""
    words = "< 0.001" if p < 0.001 else f"{p:.3f}"
    return words.replace(" 0", "").removeprefix("0") if short else words


def _plot_scale(axes: Axes, scale: dict[str, Any], place: tuple[float, float, float, float], name: str) -> None:
    """Draw a colour scale at a place (left, bottom, width, height) in the units of these axes."""
    left, bottom, width, height = place
    low, high = Locator().nonsingular(scale["norm"].vmin, scale["norm"].vmax)
    values = np.linspace(low, high, 256)[:, None]
    axes.pcolormesh([left, left + width], np.linspace(bottom, bottom + height, 257), values, **scale)
    _plot_ticks(axes, low, high, place, name)


def _plot_colours(axes: Axes, scale: float, place: tuple[float, float, float, float]) -> None:
    """Draw the colour of a weight of each channel, from −scale to scale."""
    left, bottom, width, height = place
    weights = np.linspace(-scale, scale, 101, dtype=np.float32)
    each = to_colours(np.einsum("h,cw->chw", weights, np.eye(3, dtype=np.float32)), -scale, scale)
    across = np.linspace(left, left + width, 4)
    axes.pcolormesh(across, np.linspace(bottom, bottom + height, 102), each, clip_on=False)
    for x, name in zip(across, CHANNELS, strict=False):
        axes.annotate(name[0].upper(), (x + width / 6, bottom), (0, -3), va="top", ha="center", fontsize=8, **BESIDE)
    _plot_ticks(axes, *Locator().nonsingular(-scale, scale), place, "Weight in colour (0 is grey)")


def _plot_ticks(axes: Axes, low: float, high: float, place: tuple[float, float, float, float], name: str) -> None:
    """Draw numbers from low to high along the right side of a scale, and its name.

    A colour scale of matplotlib's is an Axes, which takes 12 ms (cloud CPU, 2026-11).
    """
    left, bottom, width, height = place
    steps = MaxNLocator(max(1, min(9, int(5 * height))), steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    ticks = {bottom + height * (value - low) / (high - low): value for value in steps if low <= value <= high}
    words = [f"{value:.4g}".replace("-", "−") for value in ticks.values()]
    right = left + width
    axes.plot([right] * len(ticks), list(ticks), color=GREY, linestyle="none", **TICKS)
    for word, y in zip(words, ticks, strict=True):
        axes.annotate(word, (right, y), (6, 0), va="center", fontsize=8, **BESIDE)
    aside = 9 + 5.2 * max(map(len, words))
    axes.annotate(name, (right, bottom + height / 2), (aside, 0), va="center", rotation=90, **BESIDE)
