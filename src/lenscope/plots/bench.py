"""How long an epoch takes: who is compared, and how the batch size matters."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from lenscope.plots.display import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILION, Display, new_figure
from lenscope.plots.letters import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lenscope.bench.results import Benchmark, Row

COLOURS, MARKERS = (BLUE, ORANGE, GREEN, PURPLE), "os^D"  # of engines
LINES = ("-", "--", ":", "-.")  # of numbers of threads


@dataclass(frozen=True, eq=False)
class BenchDisplay(Display):
    """Seconds an epoch with the spread of the rounds, and against the batch size where there are several."""

    benchmark: Benchmark

    def draw(self) -> Figure:
        """A new figure."""
        rows = self.benchmark.of("training")
        sizes, lines = {row.batch_size for row in rows}, {(row.name, row.threads) for row in rows}
        machine = self.benchmark.machine
        title = f"The lecture's LeNet with Adam on {machine['processors']} processors, {machine['processor']}"
        places = max(6.0, len(self._compared()), 0.6 * len(lines))
        figure = new_figure(14 if len(sizes) > 1 else 8, 1.8 + 0.36 * places, title)
        if len(sizes) == 1:
            self.plot_contestants(figure.subplots())
            return figure
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        self.plot_contestants(left)
        self.plot_batch_sizes(right)
        return figure

    def plot_contestants(self, axes: Axes) -> None:
        """Draw a bar each on existing axes: the median, with a line from the least to the greatest."""
        rows = self._compared()
        places, medians = range(len(rows)), [row.median for row in rows]
        axes.barh(places, medians, color=[self._colour(row) for row in rows], height=0.62)
        for place, row in zip(places, rows, strict=True):
            axes.plot([min(row.seconds), max(row.seconds)], [place, place], color=INK, linewidth=1)
            axes.annotate(
                f"{row.median:.2f} s", (max(row.seconds), place), (4, 0), textcoords="offset points", va="center"
            )
        floor = next(filter(None, map(self.benchmark.floor, rows)), None)
        if floor is not None:
            axes.axvline(floor, color=VERMILION, linewidth=1.2, linestyle="--")
        told = "" if floor is None else f"; dashed: multiply-adds at the peak, {floor:.2f}"
        axes.set(
            title=f"An epoch, batches of {rows[0].batch_size}, {_threads(rows[0].threads)}",
            xlabel=f"seconds{told}",
            yticks=places,
            xlim=(0, 1.16 * max(max(row.seconds) for row in rows)),
        )
        axes.set_yticklabels([short(row.name, 32) for row in rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")

    def plot_batch_sizes(self, axes: Axes) -> None:
        """Draw a line for each engine and number of threads on existing axes; both scales are logarithmic."""
        rows = [row for row in self.benchmark.of("training") if row.kind == "engine"]
        threads = list(dict.fromkeys(row.threads for row in rows))
        for name, (number, count) in product(self._engines(), enumerate(threads)):
            own = [row for row in rows if (row.name, row.threads) == (name, count)]
            own.sort(key=lambda row: row.batch_size)
            axes.plot(
                [row.batch_size for row in own],
                [row.median for row in own],
                color=self._colour(own[0]),
                marker=MARKERS[self._engines().index(name) % 4],
                linestyle=LINES[number % 4],
                label=f"{name}, {_threads(count)}",
            )
        axes.set(title="Against the batch size", xlabel="images an update", ylabel="seconds an epoch")
        axes.set(xscale="log", yscale="log")
        axes.xaxis.set_major_locator(FixedLocator(sorted({row.batch_size for row in rows})))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))

    def _engines(self) -> list[str]:
        return list(dict.fromkeys(row.name for row in self.benchmark.rows if row.kind == "engine"))

    def _colour(self, row: Row) -> str:
        return GREY if row.kind == "peer" else COLOURS[self._engines().index(row.name) % 4]

    def _compared(self) -> list[Row]:
        """The rows that differ in nothing but the contestant."""
        rows = self.benchmark.of("training")
        return [row for row in rows if (row.threads, row.batch_size) == (rows[0].threads, rows[0].batch_size)]


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"
