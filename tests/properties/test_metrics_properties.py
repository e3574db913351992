from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from lenscope.errors import RunError
from lenscope.runs.metrics import COLUMNS, HEADER, Metrics, decode_metrics, encode_row
from lenscope.training.events import EpochMetrics

if TYPE_CHECKING:
    from collections.abc import Callable

CELLS = st.none() | st.floats(allow_nan=False)
ROWS = st.lists(
    st.builds(lambda epoch, cells: EpochMetrics(epoch, *cells), st.integers(0, 10**6), st.tuples(*[CELLS] * 10)),
    max_size=5,
)
HEAD = HEADER.encode()


@given(ROWS)
def test_encoding_then_decoding_is_the_identity(rows: list[EpochMetrics]) -> None:
    content = HEAD + b"".join(map(encode_row, rows))
    got = decode_metrics(content, "m").rows()
    assert repr(got) == repr(rows)  # also of -0.0
    assert HEAD + b"".join(map(encode_row, got)) == content
    assert repr(Metrics.of(rows).rows()) == repr(rows)


@given(ROWS, st.data())
def test_every_truncation_leaves_the_whole_rows(rows: list[EpochMetrics], data: st.DataObject) -> None:
    content = HEAD + b"".join(map(encode_row, rows))
    cut = content[: data.draw(st.integers(0, len(content)))]
    assert decode_metrics(cut, "m").rows() == rows[: max(0, cut.count(b"\n") - 1)]


def refusal(look: Callable[[], object]) -> str:
    """What a RunError said, or nothing."""
    try:
        look()
    except RunError as error:
        return str(error)
    return ""


@given(st.integers(0, len(HEAD) - 1), st.integers(1, 255))
def test_every_changed_byte_of_the_header_is_refused(place: int, change: int) -> None:
    broken = bytearray(HEAD + b"0" + b"," * (len(COLUMNS) - 1) + b"\n")
    broken[place] ^= change
    said = refusal(lambda: decode_metrics(bytes(broken), "m"))
    assert said.startswith("m: got the columns")
    assert said.isprintable()


@given(st.binary() | st.text("0123456789,.-+eEnaif\"'\r\n \0_").map(str.encode))
def test_any_bytes_give_rows_or_a_run_error(content: bytes) -> None:
    for text in (content, HEAD + content, HEAD + content + b"\n"):
        assert refusal(partial(decode_metrics, text, "m")).isprintable()
