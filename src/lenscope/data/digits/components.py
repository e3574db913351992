"""The connected components of a picture's ink, labelled and measured.

Integer arithmetic throughout, so that `reports/js/components.js` has identical results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Component:
    """One connected component.

    Attributes:
        number: its label.
        top, bottom, left, right: its bounding box; `bottom` and `right` are exclusive.
        mass: the sum of its ink.
        core: the part of it outside the outermost eighths of the picture.
        peak: its strongest ink.
        rim: the number of its pixels on the picture's border.
        spans: whether it extends from one side of the picture to the opposite one.
    """

    number: int
    top: int
    bottom: int
    left: int
    right: int
    mass: int
    core: int
    peak: int
    rim: int
    spans: bool

    @property
    def size(self) -> int:
        """Its larger side, in pixels."""
        return max(self.bottom - self.top, self.right - self.left)

    def gap(self, other: Component) -> int:
        """Pixels between the two boxes, along the axis with the larger distance."""
        return max(
            self.top - other.bottom, other.top - self.bottom, self.left - other.right, other.left - self.right, 0
        )

    def encloses(self, other: Component) -> bool:
        """Whether the other component's box is inside this one's."""
        return (
            self.top < other.top and other.bottom < self.bottom and self.left < other.left and other.right < self.right
        )


def label_components(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Label the 8-connected components of a mask from 1, in reading order; 0 elsewhere.

    Runs of a row are joined with the runs of the row above that they touch (union-find by the lowest number).
    """
    height, width = mask.shape
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    roots = _joined(rows.tolist(), starts.tolist(), ends.tolist())
    numbers = np.unique(np.array(roots, dtype=np.int64), return_inverse=True)[1] + 1
    steps = np.zeros((height, width + 1), dtype=np.int64)
    steps[rows, starts] = numbers
    steps[rows, ends] -= numbers
    return steps.cumsum(1)[:, :-1]


def _joined(rows: list[int], starts: list[int], ends: list[int]) -> list[int]:
    """For each run, the lowest number of a run that it is connected to."""
    roots = list(range(len(rows)))

    def root(run: int) -> int:
        while roots[run] != run:
            roots[run] = roots[roots[run]]
            run = roots[run]
        return run

    above = 0
    for run, row in enumerate(rows):
        while rows[above] < row - 1 or (rows[above] == row - 1 and ends[above] < starts[run]):
            above += 1
        touching = above
        while rows[touching] == row - 1 and starts[touching] <= ends[run]:
            low, high = sorted((root(touching), root(run)))
            roots[high] = low
            touching += 1
    return [root(run) for run in range(len(rows))]


def measure_components(labels: NDArray[np.int64], ink: NDArray[np.int64]) -> list[Component]:
    """Box, ink and position of each component, in the order of their numbers."""
    count, (height, width) = int(labels.max(initial=0)) + 1, labels.shape
    rows, columns = np.nonzero(labels)
    numbers, values = labels[rows, columns], ink[rows, columns]
    mass, core, peak = (np.zeros(count, dtype=np.int64) for _ in range(3))
    np.add.at(mass, numbers, values)
    inside = (8 * rows >= height) & (8 * rows < 7 * height) & (8 * columns >= width) & (8 * columns < 7 * width)
    np.add.at(core, numbers[inside], values[inside])
    np.maximum.at(peak, numbers, values)
    sides = []
    for places in (rows, columns):
        first, last = np.full(count, np.iinfo(np.int64).max), np.zeros(count, dtype=np.int64)
        np.minimum.at(first, numbers, places)
        np.maximum.at(last, numbers, places + 1)
        sides += [first, last]
    edge = (rows == 0) | (columns == 0) | (rows == height - 1) | (columns == width - 1)
    rim = np.bincount(numbers[edge], minlength=count)
    spans = ((sides[0] == 0) & (sides[1] == height)) | ((sides[2] == 0) & (sides[3] == width))
    measures = (*sides, mass, core, peak, rim, spans)
    return [Component(number, *(measure[number].item() for measure in measures)) for number in range(1, count)]
