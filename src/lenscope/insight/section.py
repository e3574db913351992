"""What a section of a page shows, as plain values: charts, tables, kernels through training, images and texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Format = Literal["number", "percent"]
Split = Literal["", "train", "validation", "test", "lecture"]


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: its name in the legend.
        xs: positions on the x axis; ascending.
        ys: the values; NaN where there is none.
        low, high: the bounds of a band around it; empty for none.
        points: drawn as rings and not as a line: published values.
        split: the images that it was measured on, which decide its colour; empty for a colour by its place.
    """

    name: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    points: bool = False
    split: Split = ""


@dataclass(frozen=True)
class Chart:
    """Lines over one x axis.

    Attributes:
        name: of its file, such as `accuracy`.
        title: above it.
        x_label, y_label: of the axes, with units.
        lines: from the back to the front.
        band: what the bands are, such as `95 % prediction interval`; empty where there are none.
        format: of the values: `percent` shows 0.5 as 50 %.
        log_x, log_y: logarithmic axes, which leave out values that are not positive.
        dodged: for few x positions: the values at each are drawn side by side, in the order of the lines, with whiskers
            for bands and no connecting lines.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    band: str = ""
    format: Format = "number"
    log_x: bool = False
    log_y: bool = False
    dodged: bool = False


@dataclass(frozen=True)
class Table:
    """A table of cells as they are shown; the first cell of a row names it.

    Attributes:
        caption: above it.
        header: one cell per column; empty for none.
        rows: the cells.
        words: whether the cells are words and not numbers.
        total: a last row; empty for none.
        summary: the title under which a page folds it; empty for a table that is always shown.
        folded: whether it is folded at first.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: bool = False
    total: tuple[str, ...] = ()
    summary: str = ""
    folded: bool = False


@dataclass(frozen=True, eq=False)
class LayerFilm:
    """The kernels of one layer of one run through training.

    Attributes:
        name: of the run.
        layer: such as `conv1`.
        epochs: of each frame; float64, shape (S,).
        frames: float32, shape (S, out, in, height, width).
    """

    name: str
    layer: str
    epochs: NDArray[np.float64]
    frames: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Pictures:
    """A row of images: their name, and uint8 of shape (N, C, H, W)."""

    name: str
    images: NDArray[np.uint8]


@dataclass(frozen=True)
class Listing:
    """A text to copy, such as a command or a file, under its name; without a name it is not folded."""

    name: str
    text: str


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes:
        anchor: its name in addresses.
        title: its heading.
        lead: what it shows and how that was measured, in a few sentences.
        charts: side by side.
        tables: one after another.
        films: kernels of several runs, one below the other.
        pictures: rows of images, the same images in each.
        listings: texts to copy.
        logarithmic: the charts that a switch shows in place of `charts`, in the same order; empty for no switch.
    """

    anchor: str
    title: str
    lead: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    films: tuple[LayerFilm, ...] = ()
    pictures: tuple[Pictures, ...] = ()
    listings: tuple[Listing, ...] = ()
    logarithmic: tuple[Chart, ...] = ()
