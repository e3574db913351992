from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lenscope.runs.files.metrics import HEADER, Metrics, decode_metrics, encode_row
from lenscope.training.events import EpochMetrics

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
