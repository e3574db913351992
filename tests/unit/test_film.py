from __future__ import annotations

import json
import math

import numpy as np
import pytest

from lenscope.errors import RunError
from lenscope.runs import film as film_file
from lenscope.runs.film import LARGEST, MAX_BYTES, decode_film, describe_layout, encode_record, read_layout

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


def test_two_snapshots_read_back_by_layer() -> None:
    later = {name: kernel + 1 for name, kernel in KERNELS.items()}
    film = decode_film(encode_record(0, KERNELS) + encode_record(5, later), LAYOUT, "film.bin")
    assert film.steps.tolist() == [0, 5]
    assert len(film) == 2
    for name, shape in LAYOUT.items():
        assert film.kernels[name].shape == (2, *shape)
        assert film.kernels[name].dtype == np.float32
        assert np.array_equal(film.kernels[name][0], KERNELS[name])
        assert np.array_equal(film.kernels[name][1], later[name])


def test_more_snapshots_than_a_run_can_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_file, "MAX_RECORDS", 2)
    assert len(decode_film(encode_record(0, KERNELS) * 2, LAYOUT, "film.bin")) == 2
    with pytest.raises(RunError, match=r"^film\.bin: more than 2 snapshots"):
        decode_film(encode_record(0, KERNELS) * 3, LAYOUT, "film.bin")


def test_an_empty_film_has_its_layers_and_no_snapshot() -> None:
    film = decode_film(b"", LAYOUT, "film.bin")
    assert len(film) == 0
    assert film.kernels["conv1"].shape == (0, 2, 1, 2, 3)


def test_every_flipped_byte_is_caught_with_the_record_it_is_in() -> None:
    content = encode_record(0, KERNELS) + encode_record(1, KERNELS)
    for place in range(len(content)):
        broken = bytearray(content)
        broken[place] ^= 0x10
        record = place // (len(content) // 2)
        with pytest.raises(RunError, match=rf"^film\.bin: the checksum of record {record} is wrong"):
            decode_film(bytes(broken), LAYOUT, "film.bin")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"tensors"',
        b"{}",
        b'{"tensors": 3}',
        b'{"tensors": [3]}',
        b'{"tensors": [{}]}',
        b"\xff",
        b'{"tensors": ' + b"[" * 100_000,
        b'{"tensors": [{"name": "a", "shape": [1, 1, 1, ' + b"9" * 5000 + b"]}]}",
        b'{"tensors": [{"name": "a", "shape": [1, 1, 1, 1e999]}]}',
        b'{"tensors": [{"name": "a", "shape": [1, 1, 1, NaN]}]}',
        film_json(3),
        film_json(None),
        film_json([[1], 1, 1, 1]),
    ],
    ids=lambda text: text[:30].decode(errors="replace"),
)
def test_what_is_no_description_is_refused(text: bytes) -> None:
    with pytest.raises(RunError, match=r"^film\.json: not a film's description"):
        read_layout(text, "film.json")


def test_a_description_longer_than_layers_need_is_not_parsed() -> None:
    with pytest.raises(RunError, match=r"^film\.json: more than 1048576 bytes for the shapes of kernels"):
        read_layout(film_json([1, 1, 1, 1]) + b" " * MAX_BYTES, "film.json")


@pytest.mark.parametrize(
    "shapes",
    [
        ([],),
        ([5, 5],),
        ([1] * 5,),
        ([1] * 100_000,),
        ([0, 1, 5, 5],),
        ([-1, 1, 5, 5],),
        ([-1, -1, 5, 5],),
        ([10**300] * 4,),
        ([2**62, 2**62, 5, 5],),
        ([LARGEST, 1, 1, 1], [1, 1, 1, 1]),
        ([2**16, 2**16, 1, 1],),
    ],
    ids=str,
)
def test_shapes_that_no_kernels_have_are_refused_before_they_take_memory(shapes: tuple[list[int], ...]) -> None:
    with pytest.raises(RunError, match=r"^film\.json: shapes that no kernels have"):
        read_layout(film_json(*shapes), "film.json")


def test_the_largest_layout_that_is_allowed_decodes() -> None:
    layout = read_layout(film_json([LARGEST, 1, 1, 1]), "film.json")
    assert sum(map(math.prod, layout.values())) == LARGEST
    assert len(decode_film(b"\0" * 100, layout, "film.bin")) == 0
