"""Loss and accuracy against epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from lenscope.plots.display import PARTS, Display, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lenscope.insight.curves import Curve, Curves

NAMES = {"train": "training (mean over the epoch)", "validation": "validation", "test": "test", "lecture": "Lecture 29"}
MARKERS = {"train": "o", "validation": "s", "test": "^"}  # so that grey prints tell them apart
LECTURE: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "fillstyle": "none",
    "markersize": 9,
    "markeredgewidth": 1.6,
}
MANY = 40  # epochs, from which on a marker each would hide the line


@dataclass(frozen=True, eq=False)
class CurvesDisplay(Display):
    """The two curves of a run side by side; a lecture's own points in grey where there are any.

    Of an autoencoder there is the loss alone.
    """

    curves: Curves

    def draw(self) -> Figure:
        """A new figure."""
        if self.curves.reconstructs:
            figure = new_figure(6, 4.4, self.curves.title)
            self.plot_loss(figure.subplots())
            return figure
        figure = new_figure(10, 4.4, self.curves.title)
        left, right = figure.subplots(1, 2, sharex=True)
        self.plot_loss(left)
        self.plot_accuracy(right)
        return figure

    def plot_loss(self, axes: Axes) -> None:
        """Draw the losses on existing axes."""
        error = {"title": "Mean squared error", "ylabel": "mean squared error a pixel (0 to 1)"}
        loss = {"title": "Loss", "ylabel": "negative log-likelihood (nats an image)"}
        axes.set(xlabel="epoch", **(error if self.curves.reconstructs else loss))
        _plot(axes, self.curves.loss)
        axes.set_ylim(bottom=0)
        _legend(axes)

    def plot_accuracy(self, axes: Axes) -> None:
        """Draw the accuracies on existing axes; epoch 0, near chance, is left out where there are later ones."""
        axes.set(title="Accuracy", xlabel="epoch", ylabel="images right (%)")
        _plot(axes, self.curves.accuracy, skip_untrained=True)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        _legend(axes)


def _plot(axes: Axes, curves: tuple[Curve, ...], *, skip_untrained: bool = False) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    for curve in curves:
        shown = curve.epochs > 0 if skip_untrained and len(curve.epochs) > 1 else curve.epochs >= 0
        style = LECTURE if curve.name == "lecture" else {"marker": MARKERS[curve.name] if shown.sum() <= MANY else ""}
        axes.plot(curve.epochs[shown], curve.values[shown], color=PARTS[curve.name], label=NAMES[curve.name], **style)


def _legend(axes: Axes) -> None:
    if axes.lines:
        axes.legend(loc="best")
