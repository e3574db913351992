from __future__ import annotations

import json
import math

import numpy as np
import pytest

from lenscope.errors import RunError
from lenscope.runs.files.film import LARGEST, MAX_RECORDS, decode_film, describe_layout, encode_record, read_layout

KERNELS = {
    "conv1": np.arange(12, dtype=np.float32).reshape(2, 1, 2, 3),
    "conv2": np.array([np.pi, -0.0], dtype=np.float32).reshape(1, 2, 1, 1),
}
LAYOUT = {"conv1": (2, 1, 2, 3), "conv2": (1, 2, 1, 1)}


def film_json(*shapes: object) -> bytes:
    return json.dumps(
        {"tensors": [{"name": f"conv{place}", "shape": shape} for place, shape in enumerate(shapes)]}
    ).encode()


def test_the_layout_reads_back() -> None:
    assert read_layout(describe_layout(KERNELS), "film.json") == LAYOUT


def test_a_record_is_the_step_the_values_and_their_crc_all_little_endian() -> None:
    record = encode_record(258, {"conv1": np.array([[[[1.0]]]], dtype=np.float32)})
    assert record.hex(" ", -4) == "02010000 00000000 0000803f 463285db"


def test_an_empty_film_has_its_layers_and_no_snapshot() -> None:
    film = decode_film(b"", LAYOUT, "film.bin")
    assert len(film) == 0
    assert film.kernels["conv1"].shape == (0, 2, 1, 2, 3)


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b'{"tensors": 3}',
        b'{"tensors": [{}]}',
        b"\xff",
        b'{"tensors": ' + b"[" * 100_000,
        b'{"tensors": [{"name": "a", "shape": [1, 1, 1, ' + b"9" * 5000 + b"]}]}",
        b'{"tensors": [{"name": "a", "shape": [1, 1, 1, 1e999]}]}',
        film_json([[1], 1, 1, 1]),
    ],
    ids=lambda text: text[:30].decode(errors="replace"),
)
def test_an_invalid_description_is_refused(text: bytes) -> None:
    with pytest.raises(RunError, match=r"^film\.json: not a film's layout"):
        read_layout(text, "film.json")


@pytest.mark.parametrize(
    "shapes",
    [([5, 5],), ([1] * 5,), ([0, 1, 5, 5],), ([-1, -1, 5, 5],), ([2**62, 2**62, 5, 5],), ([LARGEST, 1, 1, 1], [1] * 4)],
    ids=str,
)
def test_shapes_that_no_kernels_have_are_refused_before_they_take_memory(shapes: tuple[list[int], ...]) -> None:
    with pytest.raises(RunError, match=r"^film\.json: invalid shapes of kernels"):
        read_layout(film_json(*shapes), "film.json")


def test_the_largest_layout_that_is_allowed_decodes() -> None:
    layout = read_layout(film_json([LARGEST, 1, 1, 1]), "film.json")
    assert sum(map(math.prod, layout.values())) == LARGEST
    assert len(decode_film(b"\0" * 100, layout, "film.bin")) == 0


def test_more_snapshots_than_there_can_be_are_refused() -> None:
    with pytest.raises(RunError, match="more than 1,000,100 snapshots"):
        decode_film(bytes(12 * (MAX_RECORDS + 1)), {}, "film.bin")
