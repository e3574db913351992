from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lenscope.errors import RunError
from lenscope.runs.film import decode_film, describe_layout, encode_record, read_layout

if TYPE_CHECKING:
    from collections.abc import Callable

Kernels = dict[str, np.ndarray[Any, np.dtype[np.float32]]]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["tensors", "name", "shape"]) | st.text(), inner),
    max_leaves=8,
)


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
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(RunError, match="checksum"):
        decode_film(bytes(content), layout, "film.bin")


def refusal(look: Callable[[], object]) -> str:
    """What a RunError said, or nothing."""
    try:
        look()
    except RunError as error:
        return str(error)
    return ""


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_a_layout_or_a_run_error(text: bytes) -> None:
    said = refusal(lambda: decode_film(b"", read_layout(text, "film.json"), "film.bin"))
    assert "\n" not in said


@given(st.lists(st.lists(st.integers(-(2**70), 2**70), min_size=4, max_size=4), min_size=1, max_size=3))
def test_any_shapes_decode_or_are_refused(shapes: list[list[int]]) -> None:
    text = json.dumps({"tensors": [{"name": str(place), "shape": shape} for place, shape in enumerate(shapes)]})
    try:
        layout = read_layout(text.encode(), "film.json")
    except RunError:
        assert min(map(min, shapes)) < 1 or max(map(max, shapes)) > 50
    else:
        assert len(decode_film(b"", layout, "film.bin")) == 0
