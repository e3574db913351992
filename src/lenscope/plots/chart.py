"""Lines against something, with bands: every chart of an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from lenscope.plots.display import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILION, Display, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lenscope.insight.findings import Chart, Line

# Colours and dashes in the order of the page's.
STYLES = tuple(
    zip(
        (BLUE, VERMILION, GREEN, PURPLE, ORANGE, GREY, "#5a4fcf", "#00798c"),
        ("-", (0, (4, 2)), ":", "-.", (0, (8, 2)), (0, (2, 1)), (0, (1, 3)), (0, (6, 2, 1, 2, 1, 2))),
        strict=True,
    )
)
RINGS: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "fillstyle": "none",
    "markersize": 9,
    "markeredgewidth": 1.6,
}
FEW = 15  # values of a line, up to which each has a mark


@dataclass(frozen=True, eq=False)
class ChartDisplay(Display):
    """A chart of an experiment."""

    chart: Chart

    def draw(self) -> Figure:
        """A new figure."""
        figure = new_figure(8, 4.6, self.chart.title)
        self.plot(figure.subplots())
        return figure

    def plot(self, axes: Axes) -> None:
        """Draw it on existing axes."""
        chart = self.chart
        axes.set(xlabel=chart.x_label, ylabel=chart.y_label + (" (%)" if chart.format == "percent" else ""))
        axes.set(xscale="log" if chart.log_x else "linear", yscale="log" if chart.log_y else "linear")
        for place, line in enumerate(chart.lines):
            _draw(axes, line, *STYLES[place % len(STYLES)])
        _label_ticks(axes, chart)
        if chart.band and any(line.low for line in chart.lines):
            axes.fill_between([], [], [], color=GREY, alpha=0.25, linewidth=0, label=chart.band)
        if chart.lines:
            axes.legend(loc="best")


def _draw(axes: Axes, line: Line, colour: str, dashes: Any) -> None:
    if line.points:
        axes.plot(line.xs, line.ys, color=INK, label=line.name, zorder=3, **RINGS)
        return
    if line.low:
        axes.fill_between(line.xs, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
    marker = "o" if np.isfinite(line.ys).sum() <= FEW else ""
    axes.plot(line.xs, line.ys, color=colour, linestyle=dashes, marker=marker, label=line.name)


def _label_ticks(axes: Axes, chart: Chart) -> None:
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    if chart.format == "percent":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    elif chart.log_y:
        axes.yaxis.set_major_formatter(plain)
    if chart.log_y:
        axes.yaxis.set_minor_formatter(NullFormatter())
    if chart.log_x:
        axes.xaxis.set_major_formatter(plain)
    elif all(float(x).is_integer() for line in chart.lines for x in line.xs):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
