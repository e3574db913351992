"""Loss and accuracy against epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lenscope.plots.chart import plot_chart
from lenscope.plots.display import Display, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lenscope.insight.curves import Curves
    from lenscope.insight.section import Chart


@dataclass(frozen=True, eq=False)
class CurvesDisplay(Display):
    """The charts of a run side by side; of an autoencoder the loss alone."""

    curves: Curves

    def draw(self) -> Figure:
        """A new figure."""
        charts = self.curves.charts
        figure = new_figure(5 * len(charts) + (len(charts) == 1), 4.4, self.curves.title)
        for axes, chart in zip(figure.subplots(1, len(charts), squeeze=False, sharex=True)[0], charts, strict=True):
            plot_chart(axes, chart if chart.name == "loss" else _without_untrained(chart))
            axes.set_title(chart.title.partition(" (")[0])
            if chart.name == "loss":
                axes.set_ylim(bottom=0)
        return figure


def _without_untrained(chart: Chart) -> Chart:
    """A chart of accuracies without epoch 0, near chance, where later ones follow."""
    lines = []
    for line in chart.lines:
        first = 1 if line.xs[0] == 0 and len(line.xs) > 1 else 0
        lines.append(replace(line, xs=line.xs[first:], ys=line.ys[first:]))
    return replace(chart, lines=tuple(lines))
