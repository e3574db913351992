from __future__ import annotations

import numpy as np
import pytest

from lenscope.errors import RunError
from lenscope.runs.files.metrics import COLUMNS, HEADER, MAX_ROWS, Metrics, decode_metrics, encode_row
from lenscope.training.events import EpochMetrics

ROWS = [
    EpochMetrics(0, test_loss=2.3, test_accuracy=0.1),
    EpochMetrics(1, 0.1 + 0.2, 0.5, 5e-324, 1.0, 1e308, 0.0, 1e-4),
]
CONTENT = HEADER.encode() + b"".join(map(encode_row, ROWS))


def test_the_header_is_the_one_in_the_design() -> None:
    assert HEADER == (
        "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,test_loss,test_accuracy,"
        "learning_rate,train_seconds,evaluation_seconds,images_per_second\n"
    )


def test_a_row_is_the_shortest_decimals_and_empty_where_nothing_applies() -> None:
    assert encode_row(ROWS[1]) == b"1,0.30000000000000004,0.5,5e-324,1.0,1e+308,0.0,0.0001,,,\n"


def test_rows_read_back() -> None:
    metrics = decode_metrics(CONTENT, "metrics.csv")
    assert metrics.rows() == ROWS
    assert metrics.epoch.tolist() == [0, 1]
    assert metrics.epoch.dtype == np.int64
    assert np.isnan(metrics.train_loss[0])
    assert len(metrics) == 2


@pytest.mark.parametrize("content", [b"", b"epoch,train", HEADER.encode()])
def test_no_whole_row_is_no_row(content: bytes) -> None:
    metrics = decode_metrics(content, "metrics.csv")
    assert len(metrics) == 0
    assert all(getattr(metrics, name).shape == (0,) for name in COLUMNS)
    assert Metrics.of([]).rows() == []


@pytest.mark.parametrize("header", ["\x1b[2J\n", HEADER.replace("loss", "los"), "x" * 10_000 + "\n"])
def test_another_header_is_refused_in_one_line(header: str) -> None:
    with pytest.raises(RunError, match=r"^metrics\.csv: got the columns '") as caught:
        decode_metrics(header.encode(), "metrics.csv")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "row",
    [
        "1" + "," * 9,
        "1.0" + "," * 10,
        "-1" + "," * 10,
        "1,x" + "," * 9,
        "9" * 5000 + "," * 10,
        "1," + "9" * 200_000 + "," * 9,
    ],
    ids=range(6),
)
def test_a_row_that_holds_no_numbers_is_refused(row: str) -> None:
    with pytest.raises(RunError, match=r"^metrics\.csv: a cell is not a number"):
        decode_metrics(CONTENT + row.encode() + b"\n", "metrics.csv")


def test_more_rows_than_there_can_be_are_refused() -> None:
    with pytest.raises(RunError, match="x: more than 1,000,001 rows"):
        decode_metrics(HEADER.encode() + b"\n" * (MAX_ROWS + 1), "x")
