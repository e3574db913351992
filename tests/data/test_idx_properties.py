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

from fixtures_data import encode_idx, write_idx
from lenscope.data.formats.idx import DTYPES, decode_idx, read_idx, unpack
from lenscope.errors import DataError

NAMES = sorted(np.dtype(name).name for name in DTYPES.values())
ARRAYS = st.sampled_from(NAMES).flatmap(
    lambda name: npst.arrays(name, npst.array_shapes(min_dims=1, max_dims=4, max_side=4))
)
BYTES = npst.arrays(np.uint8, npst.array_shapes(min_dims=1, max_dims=4, max_side=4))


@settings(max_examples=40, deadline=None)
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
