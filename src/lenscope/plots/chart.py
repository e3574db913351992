"""Line charts with bands: loss and accuracy of a run, and every chart of an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from lenscope.plots.display import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILION, Display, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lenscope.insight.section import Chart, Line, Split

# Colours and dashes in the order of the page's.
STYLES = tuple(
    zip(
        (BLUE, VERMILION, GREEN, PURPLE, ORANGE, GREY, "#5a4fcf", "#00798c"),
        ("-", (0, (4, 2)), ":", "-.", (0, (8, 2)), (0, (2, 1)), (0, (1, 3)), (0, (6, 2, 1, 2, 1, 2))),
        strict=True,
    )
)
# Colour and marker of the curves of a run; the markers tell them dodged in grey prints.
SPLITS: dict[Split, tuple[str, str]] = {
    "train": (VERMILION, "o"),
    "validation": (PURPLE, "s"),
    "test": (GREEN, "^"),
    "lecture": (GREY, "o"),
}
RINGS: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "fillstyle": "none",
    "markersize": 9,
    "markeredgewidth": 1.6,
}
MARKERS = "os^DvPX*"
APART = 9  # points between the values of one place
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
FEW, FEW_EPOCHS = 15, 40  # values of a line, up to which each has a marker


@dataclass(frozen=True, eq=False)
class ChartDisplay(Display):
    """One chart."""

    chart: Chart

    def draw(self) -> Figure:
        """A new figure."""
        figure = new_figure(8, 4.6, self.chart.title)
        plot_chart(figure.subplots(), self.chart)
        return figure


def plot_chart(axes: Axes, chart: Chart) -> None:
    """Draw a chart, without its title, on existing axes."""
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label + (" (%)" if chart.format == "percent" else ""))
    axes.set(xscale="log" if chart.log_x else "linear", yscale="log" if chart.log_y else "linear")
    for place, line in enumerate(chart.lines):
        if chart.dodged:
            _draw_apart(axes, line, place - (len(chart.lines) - 1) / 2, place)
        else:
            _draw(axes, line, *STYLES[place % len(STYLES)])
    if chart.dodged:
        axes.margins(x=0.12)
        axes.autoscale_view()
    _label_ticks(axes, chart)
    if chart.band and any(line.low for line in chart.lines):
        _add_band_key(axes, chart)
    if chart.lines:
        axes.legend(**(BESIDE if chart.dodged else {"loc": "best"}))


def _draw(axes: Axes, line: Line, colour: str, dashes: Any) -> None:
    few, marker = FEW, "o"
    if line.split:
        (colour, marker), dashes, few = SPLITS[line.split], "-", FEW_EPOCHS
    if line.points:
        axes.plot(line.xs, line.ys, color=colour if line.split else INK, label=line.name, zorder=3, **RINGS)
        return
    if line.low:
        axes.fill_between(line.xs, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
    marker = marker if np.isfinite(line.ys).sum() <= few else ""
    axes.plot(line.xs, line.ys, color=colour, linestyle=dashes, marker=marker, label=line.name)


def _draw_apart(axes: Axes, line: Line, step: float, place: int) -> None:
    aside = ScaledTranslation(step * APART / 72, 0, axes.figure.dpi_scale_trans)
    colour, marker = STYLES[place % len(STYLES)][0], MARKERS[place % len(MARKERS)]
    axes.plot(line.xs, line.ys, marker, color=colour, label=line.name, transform=axes.transData + aside)
    if line.low:
        axes.vlines(line.xs, line.low, line.high, color=colour, linewidth=2, transform=axes.transData + aside)
    axes.update_datalim([(x, y) for ys in (line.ys, line.low, line.high) for x, y in zip(line.xs, ys, strict=False)])


def _add_band_key(axes: Axes, chart: Chart) -> None:
    """What the bands are, as the last entry of the legend."""
    if chart.dodged:
        axes.plot([], [], color=GREY, linewidth=2, marker="|", linestyle="none", markersize=12, label=chart.band)
    else:
        axes.fill_between([], [], [], color=GREY, alpha=0.25, linewidth=0, label=chart.band)


def _label_ticks(axes: Axes, chart: Chart) -> None:
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    if chart.format == "percent":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        _end_at_all(axes, chart)
    elif chart.log_y:
        axes.yaxis.set_major_formatter(plain)
    if chart.log_y:
        axes.yaxis.set_minor_formatter(NullFormatter())
    if chart.dodged:
        axes.set_xticks(sorted({x for line in chart.lines for x in line.xs}), minor=False)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    elif chart.log_x:
        axes.xaxis.set_major_formatter(plain)
    elif all(float(x).is_integer() for line in chart.lines for x in line.xs):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def _end_at_all(axes: Axes, chart: Chart) -> None:
    """Fractions end at 1: the margin around the lines must not add a tick above 100 %."""
    shown = [y for line in chart.lines for ys in (line.ys, line.high) for y in ys if np.isfinite(y)]
    if shown and max(shown) <= 1 < axes.get_ylim()[1]:
        axes.set_ylim(top=1)
        for line in axes.lines:
            line.set(clip_on=False, in_layout=False)
