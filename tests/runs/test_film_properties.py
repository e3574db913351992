from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lenscope.errors import RunError
from lenscope.runs.files.film import decode_film, describe_layout, encode_record, read_layout

Kernels = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


@st.composite
def films(draw: st.DrawFn) -> list[tuple[int, Kernels]]:
    """Snapshots of up to three layers of kernels, any float32 in them."""
    shapes = draw(
        st.dictionaries(
            st.text(min_size=1), hnp.array_shapes(min_dims=4, max_dims=4, max_side=3), min_size=1, max_size=3
        )
    )
    kernels = st.tuples(*(hnp.arrays(np.float32, shape) for shape in shapes.values()))
    snapshots = draw(st.lists(st.tuples(st.integers(0, 2**63 - 1), kernels), min_size=1, max_size=3))
    return [(step, dict(zip(shapes, arrays, strict=True))) for step, arrays in snapshots]


@given(films(), st.data())
def test_whole_records_read_back_bit_for_bit_wherever_the_file_is_cut(
    snapshots: list[tuple[int, Kernels]], data: st.DataObject
) -> None:
    layout = read_layout(describe_layout(snapshots[0][1]), "film.json")
    content = b"".join(encode_record(step, kernels) for step, kernels in snapshots)
    end = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    film = decode_film(content[:end], layout, "film.bin")
    whole = end // (len(content) // len(snapshots))
    assert film.steps.tolist() == [step for step, _ in snapshots[:whole]]
    assert list(film.kernels) == list(snapshots[0][1])
    for number, (_, kernels) in enumerate(snapshots[:whole]):
        for name, kernel in kernels.items():
            assert film.kernels[name][number].shape == kernel.shape
            assert film.kernels[name][number].tobytes() == kernel.tobytes()


@given(films(), st.data())
def test_every_flipped_bit_is_caught(snapshots: list[tuple[int, Kernels]], data: st.DataObject) -> None:
    layout = read_layout(describe_layout(snapshots[0][1]), "film.json")
    content = bytearray(b"".join(encode_record(step, kernels) for step, kernels in snapshots))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    record = place // (len(content) // len(snapshots))
    with pytest.raises(RunError, match=rf"^film\.bin: the checksum of record {record} is wrong"):
        decode_film(bytes(content), layout, "film.bin")
