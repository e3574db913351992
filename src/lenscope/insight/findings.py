"""What came of an experiment, ready to draw: sentences, charts, tables and kernels, all of it plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Format = Literal["number", "percent"]


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: what it shows.
        xs: where; ascending.
        ys: the values there; NaN where there is none.
        low, high: the bounds of a band about it; empty for none.
        points: drawn as rings and not as a line: what somebody else has published.
    """

    name: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    points: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines against something.

    Attributes:
        name: of its file, such as `accuracy`.
        title: above it.
        x_label, y_label: of the axes, with units.
        lines: from the back to the front.
        band: what the bands are, such as `95 % prediction interval`; empty where there are none.
        format: of the values: `percent` shows 0.5 as 50 %.
        log_x, log_y: logarithmic axes, which leave out what is not above zero.
        apart: for few places: the values of each are drawn beside one another, in the order of the lines, with whiskers
            for bands and nothing between the places.
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
    apart: bool = False


@dataclass(frozen=True)
class Table:
    """A caption, a header and rows of cells as they are shown; `words` where these are no numbers."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: bool = False


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
class Section:
    """A part of the page.

    Attributes:
        anchor: its name in addresses.
        title: its heading.
        lead: what it shows and how it was measured, in a few sentences.
        charts, tables: what it shows.
        films: kernels of several runs, to be laid under one another.
        pictures: rows of images, the same ones in each.
    """

    anchor: str
    title: str
    lead: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    films: tuple[LayerFilm, ...] = ()
    pictures: tuple[Pictures, ...] = ()


@dataclass(frozen=True)
class Findings:
    """What came of an experiment.

    Attributes:
        title: its name for readers.
        question: what was asked, and how.
        conclusions: what can be defended, a sentence each, with figure, interval and n.
        sections: what that rests on.
    """

    title: str
    question: str
    conclusions: tuple[str, ...]
    sections: tuple[Section, ...]

    @property
    def is_empty(self) -> bool:
        """Whether no run came to its end, so that nothing was found."""
        return not self.sections
