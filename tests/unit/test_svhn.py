"""SVHN from MATLAB files like the published ones, and from files that are not."""

from __future__ import annotations

import hashlib
import io
import struct
import tracemalloc
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.io import savemat

from fixtures_data import random_images
from lenscope.data import catalogue, fetch, svhn
from lenscope.data.entry import DataFile, Opened
from lenscope.data.load import load
from lenscope.data.svhn import SvhnReader
from lenscope.errors import DataError, IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("train_32x32.mat", "test_32x32.mat")
IMAGES = random_images(12, 3, 32, 32)
X = np.asfortranarray(IMAGES.transpose(2, 3, 1, 0))
Y = np.array([[10], *([digit] for digit in range(1, 10)), [10], [3]], np.uint8)


def matlab(packed: bool = True, **variables: Any) -> bytes:
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=packed)
    return stream.getvalue()


GOOD = matlab(X=X, y=Y)


def read(content: bytes) -> Any:
    reader = SvhnReader(*(DataFile(name, gzipped=False) for name in NAMES))
    return reader.read(lambda file: Opened(content, file.name), 10)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with two files that the catalogue knows; an empty cache and working folder."""
    contents = (GOOD, matlab(X=X[..., :3], y=Y[:3]))
    hashes = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]
    known = (DataFile(name, content=(hash_,), gzipped=False) for name, hash_ in zip(NAMES, hashes, strict=True))
    entry = replace(catalogue.CATALOGUE["svhn"], reader=SvhnReader(*known))
    monkeypatch.setitem(catalogue.CATALOGUE, "svhn", entry)
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name, content in zip(NAMES, contents, strict=True):
        (tmp_path / "mine" / name).write_bytes(content)
    return tmp_path / "mine"


def test_images_stand_upright_and_10_is_the_digit_0(files: Path) -> None:
    splits = load("svhn", data_dir=files, download=False)
    assert np.array_equal(splits.train.images, IMAGES)
    assert splits.train.images.flags.c_contiguous
    assert splits.train.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 3]
    assert splits.train.labels.dtype == np.uint8
    assert splits.test is not None
    assert splits.test.images.shape == (3, 3, 32, 32)
    assert [check.state for check in fetch.verify("svhn", files)] == ["genuine", "genuine"]


def test_a_changed_file_is_not_opened(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / NAMES[1]).write_bytes(GOOD[:-1] + bytes([GOOD[-1] ^ 1]))
    monkeypatch.setattr(svhn, "read_matlab", lambda _: pytest.fail("was opened"))
    (files / NAMES[0]).write_bytes(GOOD[:-1])
    with pytest.raises(IntegrityError, match="SHA-256 is"):
        load("svhn", data_dir=files, download=False)
    assert [check.state for check in fetch.verify("svhn", files)] == ["wrong", "wrong"]


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.uint16])
@pytest.mark.parametrize("packed", [True, False])
def test_labels_of_any_number_type_packed_or_not(packed: bool, kind: type) -> None:
    train, test = read(matlab(packed, X=X, y=Y.astype(kind), z=np.ones(3)))
    assert np.array_equal(train.images, IMAGES)
    assert np.array_equal(test.labels, Y[:, 0] % 10)


def labelled(y: Any) -> bytes:
    return matlab(X=X, y=y)


PLAIN = matlab(packed=False, X=X, y=Y)


def changed(place: int, value: int) -> bytes:
    """An unpacked file with one byte changed; its first variable begins at 136."""
    return PLAIN[:place] + bytes([value]) + PLAIN[place + 1 :]


TWICE = zlib.compress(GOOD[128:])
SHAPES = "expected uint8 (32, 32, 3, N) and (N, 1)"
BAD = {
    "nothing": (b"", "it is not of MATLAB 5, little-endian"),
    "text": (b"<html>moved</html>" * 20, "it is not of MATLAB 5, little-endian"),
    "version 4": (struct.pack("<5i", 0, 1, 1, 0, 2) + b"X\0" + bytes(200), "it is not of MATLAB 5, little-endian"),
    "big-endian": (GOOD[:124] + b"\1\0MI" + GOOD[128:], "it is not of MATLAB 5, little-endian"),
    "version 7.3": (GOOD[:124] + b"\0\2IM" + b"\x89HDF\r\n\x1a\n", "it is of MATLAB 7.3, expected MATLAB 5"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(200), "it is of MATLAB 7.3, expected MATLAB 5"),
    "no variable": (GOOD[:128], "X or y is not in it"),
    "no y": (matlab(X=X), "X or y is not in it"),
    "no X": (matlab(y=Y), "X or y is not in it"),
    "X twice": (GOOD + matlab(X=X)[128:], "X is in it twice"),
    "many variables": (matlab(**{f"v{number}": 1 for number in range(30)}), "it has more than 19 variables"),
    "cells": (labelled(np.array([[1], ["a"]], object)), "y is of class 1, expected an array of real numbers"),
    "a struct": (labelled({"a": 1}), "y is of class 2, expected an array of real numbers"),
    "an object": (changed(144, 3), "X is of class 3, expected an array of real numbers"),
    "text as labels": (labelled("abc"), "y is of class 4, expected an array of real numbers"),
    "a sparse array": (changed(144, 5), "X is of class 5, expected an array of real numbers"),
    "a function": (changed(144, 16), "X is of class 16, expected an array of real numbers"),
    "an opaque object": (changed(144, 17), "X is of class 17, expected an array of real numbers"),
    "complex numbers": (changed(145, 8), "X is of class 9, expected an array of real numbers"),
    "unknown numbers": (changed(184, 88), "X is of class 9, expected an array of real numbers"),
    "wide numbers": (changed(184, 4), "X has 36864 bytes of uint16, its dimensions are (32, 32, 3, 12)"),
    "no flags": (changed(136, 5), "a variable in it has no flags, dimensions and name"),
    "a size below 0": (changed(163, 255), "its dimensions are (-16777184, 32, 3, 12)"),
    "two sizes below 0": (
        PLAIN[:160] + struct.pack("<ii", -32, -32) + PLAIN[168:],
        "its dimensions are (-32, -32, 3, 12)",
    ),
    "no dimension": (changed(156, 0), "a variable in it has no flags, dimensions and name"),
    "a long small element": (changed(178, 5), "a small element in it has 5 bytes"),
    "numbers as images": (matlab(X=X.astype(float), y=Y), f"X and y are float64 (32, 32, 3, 12) and (12, 1), {SHAPES}"),
    "other sizes": (matlab(X=X[:28], y=Y), f"X and y are uint8 (28, 32, 3, 12) and (12, 1), {SHAPES}"),
    "one image": (matlab(X=X[..., 0], y=Y[:3]), f"X and y are uint8 (32, 32, 3) and (3, 1), {SHAPES}"),
    "no image": (matlab(X=X[..., :0], y=Y[:0]), "X and y are uint8"),
    "fewer labels": (labelled(Y[:-1]), f"X and y are uint8 (32, 32, 3, 12) and (11, 1), {SHAPES}"),
    "labels in a row": (labelled(Y.T), f"X and y are uint8 (32, 32, 3, 12) and (1, 12), {SHAPES}"),
    "no number": (labelled(Y * np.nan), "y is not finite"),
    "packed twice": (GOOD[:128] + struct.pack("<II", 15, len(TWICE)) + TWICE, "an element of kind 15 in it is no"),
    "a stray element": (GOOD + struct.pack("<II", 6, 0), "an element of kind 6 in it is no variable"),
    "bytes left over": (GOOD + b"abc", "it is cut"),
    "broken packing": (GOOD[:136] + b"z" + GOOD[137:], "a variable in it is broken"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_not_svhns_is_refused_in_one_line(case: str) -> None:
    content, reason = BAD[case]
    with pytest.raises(DataError) as raised:
        read(content)
    message = str(raised.value)
    assert message.startswith("train_32x32.mat: not a file of SVHN: ")
    assert message.endswith("; get the file anew")
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize("label", [0, 11, 1.5, -1, 1e300])
def test_labels_that_svhn_does_not_have_are_refused(label: float) -> None:
    labels = Y.astype(float)
    labels[4] = label
    with pytest.raises(DataError, match=r"train_32x32.mat: y less 1: label -?\d+ of image 4 is outside 0 to 9"):
        read(labelled(labels))


def test_a_cut_file_is_refused_wherever_it_is_cut() -> None:
    for whole in (GOOD, PLAIN):
        for length in (50, 127, 128, 130, 140, 200, len(whole) // 2, len(whole) - 40, len(whole) - 1):
            with pytest.raises(DataError, match="not a file of SVHN"):
                read(whole[:length])
    ended = GOOD[:128] + struct.pack("<II", 15, 40) + GOOD[136:176]  # a variable whose packing breaks off
    with pytest.raises(DataError, match="a variable in it is cut"):
        read(ended)


def test_flipped_bits_are_refused_or_read_as_numbers() -> None:
    """scipy's loader ends the whole process on some of these."""
    places = [*range(128, 240), *range(len(PLAIN) - 80, len(PLAIN))]
    for place, bit in [(place, bit) for place in places for bit in range(8)]:
        try:
            train, _ = read(changed(place, PLAIN[place] ^ 1 << bit))
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        assert train.images.shape == IMAGES.shape
        assert train.labels.max() < 10


def test_a_bomb_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svhn, "MAX_BYTES", 2**20)
    packer = zlib.compressobj(9)
    zeros = packer.compress(struct.pack("<II", 14, 2**28)) + b"".join(packer.compress(bytes(2**20)) for _ in range(256))
    packed = zeros + packer.flush()
    bomb = GOOD[:128] + struct.pack("<II", 15, len(packed)) + packed
    for content in (bomb, GOOD + bomb[128:], matlab(z=1) + bomb[128:]):
        tracemalloc.start()
        with pytest.raises(DataError, match="it unpacks to more than 1048576 bytes"):
            read(content)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**22 + 4 * len(content)
