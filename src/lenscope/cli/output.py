"""The only place that prints: lines in which every character is printable."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lenscope.text import printable, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_line(*lines: str) -> None:
    """Print a result to stdout; a line feed inside a line, as in a name, is escaped."""
    for line in lines:
        print(printable(line))  # noqa: T201


def print_note(text: str) -> None:
    """Print a line of progress or prose to stderr."""
    print(printable(text), file=sys.stderr)  # noqa: T201


def print_json(value: object) -> None:
    """Print one JSON document to stdout."""
    print_line(*to_json(value, getattr(sys.stdout, "encoding", None) or "utf-8").split("\n"))


def table(*rows: Sequence[str]) -> list[str]:
    """A header and rows of cells as aligned lines: columns of numbers to the right, of words to the left."""
    from rich.cells import cell_len

    cells = [[printable(cell) for cell in row] for row in rows]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    numeric = [all(not cell or cell[0] in "0123456789" for cell in column[1:]) for column in columns]

    def aligned(cell: str, width: int, right: bool) -> str:  # noqa: FBT001
        space = " " * (width - cell_len(cell))
        return space + cell if right else cell + space

    return ["  ".join(map(aligned, row, widths, numeric)).rstrip() for row in cells]
