"""The mistakes of a network: the confusion matrix, and the most confident mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, LogNorm

from lenscope.plots.display import FAINT, GREEN, INK, VERMILION, Display, new_figure, put_image
from lenscope.plots.letters import short_each

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from lenscope.data.dataset import Dataset
    from lenscope.insight.mistakes import Evaluation

COLUMNS, ROWS = 6, 4
SIDE, CELL = 0.9, 1.34  # of an image and from row to row, where 1 is from column to column
MANY = 30  # classes, from which on a colour scale replaces the numbers
GREY_RIGHT = ListedColormap([FAINT])
RIGHT = LinearSegmentedColormap.from_list("right", ["#f3f3f3", GREEN])
NAME = 22  # letters of a class at an axis


@dataclass(frozen=True, eq=False)
class ConfusionDisplay(Display):
    """Counts of label against prediction; mistakes are shaded on a logarithmic scale, the diagonal is light grey.

    Above 30 classes colours replace the counts, and the diagonal is shaded by the recall of the class.
    """

    evaluation: Evaluation

    def draw(self) -> Figure:
        """A new figure."""
        right, total = self.evaluation.right, len(self.evaluation.labels)
        title = f"{self.evaluation.shown}: {total - right:,} of {total:,} wrong"
        side = _side(len(self.evaluation.classes))
        names = max(map(len, self._names())) * _letter_points(len(self.evaluation.classes)) * 0.6 / 72
        beside = 0.05 * side + 0.9 if len(self.evaluation.classes) > MANY else 0
        figure = new_figure(side + beside + max(0.0, names - 0.8), side + max(0.0, names - 0.8) + 0.3, title)
        axes = figure.subplots()
        matrix, diagonal = self.evaluation.confusion, np.eye(len(self.evaluation.classes), dtype=bool)
        many, edges = len(matrix) > MANY, np.arange(len(matrix) + 1) - 0.5
        # A mesh of few cells takes a tenth of the time of an image; of a million cells an image takes a tenth.
        paint = partial(axes.imshow, interpolation="nearest") if many else partial(axes.pcolormesh, edges, edges)
        share = np.where(diagonal, 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), np.nan)
        found = paint(share, cmap=RIGHT if many else GREY_RIGHT, vmin=0, vmax=100)
        wrong = np.where(diagonal | (matrix == 0), np.nan, matrix)
        # The most frequent mistake takes six tenths of the scale, so that dark numbers are legible on it.
        top = 0.7 * (max(10.0, float(np.nanmax(wrong, initial=1.0))) / 0.7) ** (1 / 0.6)
        shades = paint(wrong, cmap="Oranges", norm=LogNorm(0.7, top))
        axes.set(aspect="equal", xlim=edges[[0, -1]], ylim=edges[[-1, 0]])
        self._name_classes(axes)
        if many:
            _add_scale(axes, shades, 0.55, "Wrong predictions (images)")
            _add_scale(axes, found, 0.05, "Recall (%)")
            return figure
        size = 10 if len(matrix) <= 12 else 8
        centred: dict[str, Any] = {"ha": "center", "va": "center", "in_layout": False}  # within the axes in any case
        for (row, column), number in np.ndenumerate(matrix):
            if number:
                weight = "bold" if row == column else "normal"
                axes.text(column, row, f"{number}", fontsize=size, fontweight=weight, color=INK, **centred)
        return figure

    def _names(self) -> list[str]:
        return short_each(self.evaluation.classes, NAME)

    def _name_classes(self, axes: Axes) -> None:
        """The classes along both axes; where there is not room for all, every n-th name."""
        names, size = self._names(), _letter_points(len(self.evaluation.classes))
        cell = min(_side(len(names)) / len(names), 0.52)
        every = -(-int(size * 1.25) // max(1, int(72 * cell)))
        places = range(0, len(names), every)
        turned = max(map(len, names)) * 0.1 > cell * every
        axes.set(xlabel="Prediction", ylabel="Label", xticks=places, yticks=places)
        axes.set_xticklabels(names[::every], rotation=90 if turned else 0)
        axes.set_yticklabels(names[::every])
        axes.tick_params(labelsize=size)
        axes.grid(visible=False)


def _side(classes: int) -> float:
    """Inches of the matrix with its margins: 0.52 per class up to 14, then 0.2 per class, at most 22."""
    return min(22.0, max(5.2, min(14.0, 0.52 * classes + 1.5), 0.2 * classes + 2))


def _letter_points(classes: int) -> float:
    return min(10.0, max(6.0, 60 * _side(classes) / classes))


def _add_scale(axes: Axes, shades: ScalarMappable, bottom: float, words: str) -> None:
    beside = axes.inset_axes((1.03, bottom, 0.02, 0.4))
    bar = axes.get_figure().colorbar(shades, cax=beside, format="{x:g}")  # type: ignore[union-attr]
    bar.set_label(words)


@dataclass(frozen=True, eq=False)
class MistakesDisplay(Display):
    """The most confident mistakes: each image with its label, the prediction and its probability."""

    evaluation: Evaluation
    dataset: Dataset

    def draw(self) -> Figure:
        """A new figure."""
        worst = self.evaluation.worst(COLUMNS * ROWS)
        if not len(worst):
            return new_figure(4.8, 0.5, f"{self.evaluation.shown}: no mistakes")
        columns = min(COLUMNS, max(3, len(worst)))
        rows = -(-len(worst) // columns)
        title = f"{self.evaluation.shown}: the most confident mistakes (label → prediction)"
        figure = new_figure(1.6 * columns, 2.15 * rows + 0.5, title)
        axes = figure.subplots()
        axes.set_axis_off()
        for place, index in enumerate(worst.tolist()):
            self._plot_one(axes, index, place % columns, -CELL * (place // columns))
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(0.6 - CELL * rows, 0.7))
        return figure

    def _plot_one(self, axes: Axes, index: int, x: float, y: float) -> None:
        evaluation = self.evaluation
        put_image(axes, self.dataset.images[index].transpose(1, 2, 0), x, y, SIDE, cmap="gray_r", vmin=0, vmax=255)
        names = short_each(evaluation.classes, 10)
        label, answer = (names[of[index]] for of in (evaluation.labels, evaluation.predicted))
        between = " " if len(label + answer) <= 8 else "\n"
        centred: dict[str, Any] = {"ha": "center", "in_layout": False}
        title, below = f"{label}{between}→ {answer}", f"p = {evaluation.confidence[index]:.3f}, no. {index}"
        axes.text(x, y + 0.5, title, fontsize=9.5, fontweight="bold", color=VERMILION, **centred)
        axes.text(x, y - 0.5, below, fontsize=8, va="top", **centred)
