"""Rows of text cells: written as CSV, read again, filtered, and converted to numbers."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.errors import RunError
from lenscope.storage import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MOST = 512 << 20  # characters of a table; 10,000 runs of ten epochs have 10 million


@dataclass(frozen=True)
class Rows:
    """Rows of cells by the names of their columns; a cell without a value is empty."""

    cells: tuple[dict[str, str], ...]

    def __len__(self) -> int:
        return len(self.cells)

    def where(self, **wanted: object) -> Rows:
        """The rows that have these cells."""
        cells = {name: cell(value) for name, value in wanted.items()}
        return Rows(tuple(row for row in self.cells if all(row[name] == value for name, value in cells.items())))

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column as numbers, NaN where a cell is empty; float64, shape (rows,)."""
        return np.array([float(row[column] or "nan") for row in self.cells])

    def names(self, column: str) -> list[str]:
        """The distinct cells of a column, in the order of their first rows."""
        return list(dict.fromkeys(row[column] for row in self.cells))


def collect(rows: Iterable[Mapping[str, object]]) -> Rows:
    """Rows of values as cells; a column that a row lacks is empty."""
    cells = [{name: cell(value) for name, value in row.items()} for row in rows]
    empty = dict.fromkeys((name for row in cells for name in row), "")
    return Rows(tuple(empty | row for row in cells))


def cell(value: object) -> str:
    """A value as a cell: numbers with all digits that reading needs, None and NaN empty.

    >>> cell(0.1), cell(3), cell(None)
    ('0.1', '3', '')
    """
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def value_of(cell: str) -> str | float | None:
    """The value of a cell, as far as its text shows it.

    >>> value_of("0.1"), value_of("3"), value_of("adam"), value_of("")
    (0.1, 3, 'adam', None)
    """
    if not cell:
        return None
    for kind in (int, float):
        with suppress(ValueError):
            return kind(cell)
    return cell


def write_rows(path: Path, rows: Rows) -> None:
    """Write rows as CSV, completely or not at all; raises StorageError."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows.cells[0]) if rows.cells else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows.cells)
    write_file(path, file.getvalue().encode())


def read_rows(path: Path) -> Rows:
    """The rows of a CSV file; raises RunError where it is not one."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read(MOST + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise RunError(f"{path}: cannot be read: {reason}; expected a table of results") from None
    if len(text) > MOST:
        raise RunError(f"{path}: more than {MOST:,} characters; expected a table of results")
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise RunError(f"{path}: not CSV: {error}; run the experiment again") from None
    if any(None in row or None in row.values() for row in rows):
        raise RunError(f"{path}: rows of different lengths; run the experiment again")
    return Rows(tuple(rows))
