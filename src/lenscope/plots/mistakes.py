"""Where a network is wrong: the confusion matrix, and the most confident mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import ListedColormap, LogNorm

from lenscope.plots.display import FAINT, INK, VERMILION, Display, new_figure, put_image, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lenscope.data.dataset import Dataset
    from lenscope.insight.mistakes import Evaluation

COLUMNS, ROWS = 6, 4
SIDE, CELL = 0.9, 1.34  # of an image and from row to row, where 1 is from column to column
MANY = 30  # classes, from which on a colour scale replaces the numbers


@dataclass(frozen=True, eq=False)
class ConfusionDisplay(Display):
    """Counts of label against answer; mistakes are shaded on a logarithmic scale, what is right is light grey."""

    evaluation: Evaluation

    def draw(self) -> Figure:
        """A new figure."""
        evaluation = self.evaluation
        size = min(14.0, max(5.2, 0.52 * len(evaluation.classes) + 1.5))
        right, total = evaluation.right, len(evaluation.labels)
        title = f"{evaluation.shown}: {right:,} of {total:,} right, {total - right:,} wrong"
        figure = new_figure(size + (1 if len(evaluation.classes) > MANY else 0), size + 0.3, title)
        self.plot(figure.subplots())
        return figure

    def plot(self, axes: Axes) -> None:
        """Draw the matrix on existing axes."""
        matrix, diagonal = self.evaluation.confusion, np.eye(len(self.evaluation.classes), dtype=bool)
        wrong = np.where(diagonal | (matrix == 0), np.nan, matrix)
        axes.imshow(np.where(diagonal, 1.0, np.nan), cmap=ListedColormap([FAINT]), interpolation="nearest")
        # The most frequent mistake takes six tenths of the scale, so that dark numbers are legible on it.
        top = 0.7 * (max(10.0, float(np.nanmax(wrong, initial=1.0))) / 0.7) ** (1 / 0.6)
        shades = axes.imshow(wrong, cmap="Oranges", norm=LogNorm(0.7, top), interpolation="nearest")
        self._name_classes(axes)
        if len(matrix) > MANY:
            beside = axes.inset_axes((1.03, 0.25, 0.02, 0.5))
            bar = axes.get_figure().colorbar(shades, cax=beside, format="{x:g}")  # type: ignore[union-attr]
            bar.set_label("wrong answers (images)")
            return
        size = 10 if len(matrix) <= 12 else 8
        centred: dict[str, Any] = {"ha": "center", "va": "center", "in_layout": False}  # within the axes in any case
        for (row, column), number in np.ndenumerate(matrix):
            if number:
                weight = "bold" if row == column else "normal"
                axes.text(column, row, f"{number}", fontsize=size, fontweight=weight, color=INK, **centred)

    def _name_classes(self, axes: Axes) -> None:
        names = [short(name, 22) for name in self.evaluation.classes]
        cell = min(12 / len(names), 0.52)  # inches, about
        turned = max(map(len, names)) * 0.1 > cell
        axes.set(xlabel="answer", ylabel="label", xticks=range(len(names)), yticks=range(len(names)))
        axes.set_xticklabels(names, rotation=90 if turned else 0)
        axes.set_yticklabels(names)
        axes.tick_params(labelsize=min(10, 60 * cell))
        axes.grid(visible=False)


@dataclass(frozen=True, eq=False)
class MistakesDisplay(Display):
    """The most confident mistakes: each image with its label, the answer, and the answer's probability."""

    evaluation: Evaluation
    dataset: Dataset

    def draw(self) -> Figure:
        """A new figure."""
        worst = self.evaluation.worst(COLUMNS * ROWS)
        if not len(worst):
            return new_figure(4.8, 0.5, f"{self.evaluation.shown}: no mistakes")
        columns = min(COLUMNS, max(3, len(worst)))
        rows = -(-len(worst) // columns)
        figure = new_figure(1.6 * columns, 2.15 * rows + 0.5, f"{self.evaluation.shown}: the most confident mistakes")
        axes = figure.subplots()
        axes.set_axis_off()
        for place, index in enumerate(worst.tolist()):
            self._plot_one(axes, index, place % columns, -CELL * (place // columns))
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(0.6 - CELL * rows, 0.7))
        return figure

    def _plot_one(self, axes: Axes, index: int, x: float, y: float) -> None:
        evaluation = self.evaluation
        put_image(axes, self.dataset.images[index].transpose(1, 2, 0), x, y, SIDE, cmap="gray_r", vmin=0, vmax=255)
        label, answer = (short(evaluation.classes[of[index]], 10) for of in (evaluation.labels, evaluation.predicted))
        between = " " if len(label + answer) <= 8 else "\n"
        centred: dict[str, Any] = {"ha": "center", "in_layout": False}
        title, below = f"{label}{between}called {answer}", f"p = {evaluation.confidence[index]:.3f}, no. {index}"
        axes.text(x, y + 0.5, title, fontsize=9.5, fontweight="bold", color=VERMILION, **centred)
        axes.text(x, y - 0.5, below, fontsize=8, va="top", **centred)
