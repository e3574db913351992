"""Where a network is wrong: the confusion matrix, and the most confident mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LogNorm

from lenscope.plots.display import INK, VERMILLION, Display, bare, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lenscope.data.dataset import Dataset
    from lenscope.insight.mistakes import Evaluation

COLUMNS, ROWS = 6, 4


@dataclass(frozen=True, eq=False)
class ConfusionDisplay(Display):
    """Counts of label against answer; mistakes are shaded on a logarithmic scale, what is right is left white."""

    evaluation: Evaluation

    def draw(self) -> Figure:
        """A new figure."""
        count = len(self.evaluation.classes)
        size = min(14.0, max(5.2, 0.52 * count + 1.5))
        figure = new_figure(size + 0.6, size)
        self.plot(figure.subplots())
        return figure

    def plot(self, axes: Axes) -> None:
        """Draw the matrix on existing axes."""
        evaluation = self.evaluation
        matrix, classes = evaluation.confusion, evaluation.classes
        wrong = np.where(np.eye(len(classes), dtype=bool) | (matrix == 0), np.nan, matrix)
        top = max(10.0, float(np.nanmax(wrong, initial=1.0)))
        axes.imshow(wrong, cmap="Oranges", norm=LogNorm(0.7, 6 * top), interpolation="nearest")
        right, total = evaluation.right, len(evaluation.labels)
        axes.set_title(f"{evaluation.dataset}: {right:,} of {total:,} right, {total - right:,} wrong")
        axes.set(xlabel="answer", ylabel="label", xticks=range(len(classes)), yticks=range(len(classes)))
        long = max(map(len, classes)) > 3 or len(classes) > 20
        axes.set_xticklabels(classes, rotation=90 if long else 0)
        axes.set_yticklabels(classes)
        axes.grid(visible=False)
        for (row, column), number in np.ndenumerate(matrix):
            if number and len(classes) <= 30:
                weight = "bold" if row == column else "normal"
                axes.text(column, row, f"{number}", ha="center", va="center", fontsize=8, fontweight=weight, color=INK)


@dataclass(frozen=True, eq=False)
class MistakesDisplay(Display):
    """The most confident mistakes: each image with its label, the answer, and the answer's probability."""

    evaluation: Evaluation
    dataset: Dataset

    def draw(self) -> Figure:
        """A new figure."""
        worst = self.evaluation.worst(COLUMNS * ROWS)
        rows = max(1, -(-len(worst) // COLUMNS))
        figure = new_figure(1.6 * COLUMNS, 1.95 * rows + 0.6)
        title = "The most confident mistakes" if len(worst) else "No mistakes"
        figure.suptitle(f"{self.evaluation.dataset}: {title}", x=0.01, ha="left", fontsize=12, fontweight="bold")
        for place, axes in enumerate(figure.subplots(rows, COLUMNS, squeeze=False).ravel()):
            bare(axes)
            if place < len(worst):
                self._plot_one(axes, int(worst[place]))
        return figure

    def _plot_one(self, axes: Axes, index: int) -> None:
        evaluation = self.evaluation
        pixels = self.dataset.images[index].transpose(1, 2, 0)
        axes.imshow(pixels, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        label, answer = (evaluation.classes[of[index]] for of in (evaluation.labels, evaluation.predicted))
        axes.set_title(f"{_short(label)} called {_short(answer)}", fontsize=9.5, loc="center", color=VERMILLION)
        axes.set_xlabel(f"p = {evaluation.confidence[index]:.3f}, no. {index}", fontsize=8)


def _short(name: str) -> str:
    return name if len(name) <= 11 else name[:10] + "…"
