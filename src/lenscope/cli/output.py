"""The only place that prints: one line a call or several, in which every character is printable."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lenscope.text import printable, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_line(*lines: str) -> None:
    """Print a result to stdout, a line each: a line feed in a name begins no other."""
    for line in lines:
        print(printable(line))  # noqa: T201


def print_note(text: str) -> None:
    """Print a line of progress or prose to stderr."""
    print(printable(text), file=sys.stderr)  # noqa: T201


def print_json(value: object) -> None:
    """Print one JSON document to stdout."""
    print_line(*to_json(value, getattr(sys.stdout, "encoding", None) or "utf-8").split("\n"))


def percent(share: float) -> str:
    """A fraction as a percentage with two decimals.

    >>> percent(0.97494)
    '97.49 %'
    """
    return f"{100 * share:.2f} %"


def percent_range(interval: tuple[float, float]) -> str:
    """An interval of fractions as percentages.

    >>> percent_range((0.9716, 0.97779))
    '97.16 to 97.78 %'
    """
    return f"{100 * interval[0]:.2f} to {percent(interval[1])}"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print a header and rows of cells to stdout, aligned: columns of numbers to the right, of words to the left."""
    from rich.cells import cell_len

    rows = [[printable(cell) for cell in row] for row in rows]
    columns = list(zip(*rows, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    numeric = [all(not cell or cell[0] in "0123456789" for cell in column[1:]) for column in columns]
    for row in rows:
        spaced = [(cell, " " * (width - cell_len(cell))) for cell, width in zip(row, widths, strict=True)]
        cells = zip(spaced, numeric, strict=True)
        print_line("  ".join(space + cell if right else cell + space for (cell, space), right in cells).rstrip())
