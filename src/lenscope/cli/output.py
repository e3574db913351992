"""The only place that prints: lines in which every character is printable."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from textwrap import wrap
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


WORDS = {"", "none", "all", "automatic"}  # that stand for no value in a column of numbers


def table(*rows: Sequence[str], right: bool = False) -> list[str]:
    """A header and rows of cells as aligned lines: columns of numbers to the right, of words to the left.

    Args:
        rows: the header and the rows.
        right: align all columns but the first to the right.
    """
    from rich.cells import cell_len

    cells = [[printable(cell) for cell in row] for row in rows]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    numeric = [all(cell in WORDS or cell[0] in "0123456789" for cell in column[1:]) for column in columns]
    if right:
        numeric = [False] + [True] * (len(columns) - 1)

    def aligned(cell: str, width: int, right: bool) -> str:  # noqa: FBT001
        space = " " * (width - cell_len(cell))
        return space + cell if right else cell + space

    return ["  ".join(map(aligned, row, widths, numeric)).rstrip() for row in cells]


def fitted(*rows: Sequence[str]) -> list[str]:
    """A table as blocks of columns that fit the terminal; each begins with the first column, of names.

    Names that are too long are cut in the middle; on a terminal, other cells are cut at the end.
    """
    from rich.cells import cell_len

    width = terminal_width()
    cells = [[_cut(printable(row[0]), width // 3, width // 6), *map(printable, row[1:])] for row in rows]
    if sys.stdout.isatty():
        rest = width - max(cell_len(row[0]) for row in cells) - 2
        cells = [[row[0], *(_cut(cell, rest) for cell in row[1:])] for row in cells]
    widths = [max(map(cell_len, column)) + 2 for column in zip(*cells, strict=True)]
    blocks = [[0]]
    for column in range(1, len(widths)):
        if len(blocks[-1]) > 1 and sum(widths[at] for at in [*blocks[-1], column]) - 2 > width:
            blocks.append([0])
        blocks[-1].append(column)
    lines = [["", *table(*([row[at] for at in block] for row in cells))] for block in blocks]
    return [line for block in lines for line in block][1:]


def wrapped(text: str) -> list[str]:
    """A sentence as lines that fit the terminal; all but the first are indented."""
    joined = printable(text).replace(" %", "\u00a0%")  # a number stays with its unit
    return [line.replace("\u00a0", " ") for line in wrap(joined, terminal_width(), subsequent_indent="  ")]


def terminal_width() -> int:
    """Columns of the terminal; 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def _cut(text: str, most: int, end: int = 0) -> str:
    """A text of at most `most` columns; where it is cut, the last `end` columns stay."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= most:
        return text
    return set_cell_size(text, most - end - 1) + "…" + set_cell_size(text[::-1], end)[::-1]


def program() -> str:
    """How this command is called, for messages that suggest a command: by its path where a shell would not find it."""
    name = sys.argv[0]
    return shlex.quote(name) if name.endswith(f"{os.sep}lenscope") and shutil.which("lenscope") != name else "lenscope"
