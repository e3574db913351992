from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lenscope.data.idx import DTYPES, decode_idx, encode_idx, read_idx, unpack, write_idx
from lenscope.errors import DataError

NAMES = sorted(np.dtype(name).name for name in DTYPES.values())
ARRAYS = st.sampled_from(NAMES).flatmap(
    lambda name: npst.arrays(name, npst.array_shapes(min_dims=1, max_dims=4, max_side=4))
)
BYTES = npst.arrays(np.uint8, npst.array_shapes(min_dims=1, max_dims=4, max_side=4))


@settings(max_examples=60, deadline=None)
@given(array=ARRAYS, packed=st.booleans())
def test_writing_then_reading_is_the_identity(array: np.ndarray[Any, Any], packed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.gz" if packed else "x")
        write_idx(path, array)
        back = read_idx(path, dtypes=NAMES)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@settings(max_examples=40, deadline=None)
@given(array=BYTES, packed=st.booleans(), more=st.binary(min_size=1, max_size=9))
def test_trailing_bytes_are_refused(array: np.ndarray[Any, Any], packed: bool, more: bytes) -> None:
    content = encode_idx(array)
    raw = gzip.compress(content) if packed else content
    for broken in (raw + more, gzip.compress(content + more)):
        with pytest.raises(DataError):
            decode_idx(unpack(broken, "x"), "x")


@settings(max_examples=15, deadline=None)
@given(array=BYTES, packed=st.booleans())
def test_every_truncation_is_refused(array: np.ndarray[Any, Any], packed: bool) -> None:
    content = encode_idx(array)
    raw = gzip.compress(content) if packed else content
    for length in range(len(raw)):
        with pytest.raises(DataError):
            decode_idx(unpack(raw[:length], "x"), "x")


def test_every_other_value_of_every_header_byte_is_refused() -> None:
    content = encode_idx(np.arange(6, dtype=np.uint8).reshape(1, 2, 3))
    for position in range(16):
        for value in set(range(256)) - {content[position]}:
            changed = content[:position] + bytes([value]) + content[position + 1 :]
            with pytest.raises(DataError):
                decode_idx(changed, "x")


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=64) | st.binary(max_size=60).map(lambda tail: b"\0\0\x08\1" + tail))
def test_any_bytes_give_an_array_or_a_data_error(raw: bytes) -> None:
    for candidate in (raw, gzip.compress(raw), b"\x1f\x8b" + raw):
        assert "\n" not in complaint_about(candidate)


def complaint_about(raw: bytes) -> str:
    try:
        decode_idx(unpack(raw, "x"), "x")
    except DataError as error:
        return str(error)
    return ""
