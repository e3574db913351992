"""Metrics as columns, and as the CSV file of a run."""

from __future__ import annotations

import csv
import io
import math
from array import array
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from lenscope.runs.files.decoding import broken
from lenscope.training.events import EpochMetrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = tuple(field.name for field in fields(EpochMetrics))
HEADER = ",".join(COLUMNS) + "\n"
MAX_ROWS = 1_000_001  # the untrained network and the most epochs there can be


@dataclass(frozen=True, eq=False)
class Metrics:
    """One row per epoch, starting with the untrained network; a cell that does not apply is NaN.

    Losses are mean negative log-likelihoods per image in nats, accuracies are fractions in [0, 1]. Each column is
    float64 of shape (rows,), `epoch` is int64.
    """

    epoch: NDArray[np.int64]
    train_loss: NDArray[np.float64]
    train_accuracy: NDArray[np.float64]
    validation_loss: NDArray[np.float64]
    validation_accuracy: NDArray[np.float64]
    test_loss: NDArray[np.float64]
    test_accuracy: NDArray[np.float64]
    learning_rate: NDArray[np.float64]
    train_seconds: NDArray[np.float64]
    evaluation_seconds: NDArray[np.float64]
    images_per_second: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.epoch)

    @classmethod
    def of(cls, rows: list[EpochMetrics]) -> Metrics:
        """The rows as columns."""
        return cls.of_cells(np.array([astuple(row) for row in rows], dtype=np.float64))

    @classmethod
    def of_cells(cls, cells: NDArray[np.float64]) -> Metrics:
        """The cells of all rows as columns."""
        columns = cells.reshape(-1, len(COLUMNS)).T
        return cls(columns[0].astype(np.int64), *columns[1:])

    def rows(self) -> list[EpochMetrics]:
        """The columns as rows."""
        values = zip(*(getattr(self, name).tolist() for name in COLUMNS), strict=True)
        return [
            EpochMetrics(epoch, *(None if math.isnan(cell) else cell for cell in cells)) for epoch, *cells in values
        ]


def encode_row(row: EpochMetrics) -> bytes:
    """A row of `metrics.csv`; floats in the shortest form that is read back as the identical number."""
    return (",".join("" if value is None else repr(value) for value in astuple(row)) + "\n").encode()


def decode_metrics(content: bytes, source: str) -> Metrics:
    """The metrics in complete rows; an incomplete last row is ignored.

    Raises:
        RunError: another header, or a cell that is not a number.
    """
    header, end, rows = content[: content.rfind(b"\n") + 1].partition(b"\n")
    if end and header + end != HEADER.encode():
        columns = header[:80].decode("ascii", errors="replace")
        raise broken(source, f"got the columns {columns!r}, expected '{HEADER.strip()}'")
    if rows.count(b"\n") > MAX_ROWS:
        raise broken(source, f"more than {MAX_ROWS:,} rows")
    cells = array("d")  # Python's floats would take four times the memory
    try:
        for row in csv.reader(io.TextIOWrapper(io.BytesIO(rows), "ascii", errors="replace", newline="\n")):
            cells.extend(_numbers(row))
        return Metrics.of_cells(np.array(cells))
    except (ValueError, OverflowError, csv.Error):
        raise broken(source, "a cell is not a number") from None


def _numbers(row: list[str]) -> list[float]:
    if len(row) != len(COLUMNS) or not 0 <= (epoch := int(row[0])) < 2**53:
        raise ValueError(row)
    return [epoch, *(float(cell) if cell else math.nan for cell in row[1:])]
