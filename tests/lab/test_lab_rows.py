"""Tables of results: what is written is read again, and other files are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenscope.errors import RunError
from lenscope.lab.tables.rows import Rows, collect, read_rows, write_rows

NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.none()
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=20)


@settings(max_examples=30)
@given(st.lists(st.fixed_dictionaries({"name": TEXT, "loss": NUMBERS, "seed": st.integers(0, 10**9)}), min_size=1))
def test_written_rows_are_read_again(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "results.csv"
    write_rows(path, collect(rows))
    back = read_rows(path)
    assert back == collect(rows)
    expected = [math.nan if row["loss"] is None else row["loss"] for row in rows]
    np.testing.assert_array_equal(back.numbers("loss"), expected)


def test_rows_are_filtered_by_their_cells():
    rows = collect({"seed": seed, "rate": rate, "loss": seed + rate} for seed in (1, 0) for rate in (0.1, 1.0))
    assert rows.names("seed") == ["1", "0"]
    assert rows.where(seed=0).numbers("loss").tolist() == [0.1, 1.0]
    assert rows.where(seed=0, rate=1.0).numbers("loss").tolist() == [1.0]
    assert len(rows.where(seed=2)) == 0
    assert not rows.where(seed=2)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a,b\n1\n", "rows of different lengths"),
        (b"a,b\n1,2,3\n", "rows of different lengths"),
        (b'a,b\n"1,2\n', "not CSV"),
        (b"a,b\n\xff,2\n", "not UTF-8"),
    ],
)
def test_other_files_are_refused(tmp_path, content, problem):
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(RunError, match=problem):
        read_rows(path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(RunError, match=r"results\.csv: cannot be read"):
        read_rows(tmp_path / "results.csv")


def test_no_rows_are_an_empty_table(tmp_path):
    write_rows(tmp_path / "a.csv", Rows(()))
    assert len(read_rows(tmp_path / "a.csv")) == 0
