from __future__ import annotations

import numpy as np
import pytest

from lenscope.data.formats.npy import read_npy
from lenscope.errors import DataError


@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 7), (2, 3, 5, 7), (300, 1, 2, 2)])
def test_an_array_of_bytes_is_read_as_numpy_saved_it(shape, tmp_path):
    saved = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.save(tmp_path / "a.npy", saved)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), saved)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 2), np.float32), np.zeros(4, np.uint8), np.zeros((0, 2, 2), np.uint8), np.array([[{}]]),
        np.zeros((1, 1, 1, 1, 2), np.uint8), np.asfortranarray(np.zeros((2, 2), np.uint8)),
    ],
)  # fmt: skip
def test_any_other_array_is_refused(value, tmp_path):
    np.save(tmp_path / "a.npy", value)
    with pytest.raises(DataError, match=r"a\.npy: expected images as bytes; save "):
        read_npy(tmp_path / "a.npy")


def test_a_file_that_is_short_or_missing_is_named(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((4, 4), np.uint8))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"a\.npy: shorter than an array of shape \(4, 4\); copy it again"):
        read_npy(path)
    with pytest.raises(DataError, match=r"b\.npy: cannot be read: No such file or directory"):
        read_npy(tmp_path / "b.npy")


def test_a_shape_beyond_the_file_is_not_allocated(tmp_path):
    path = tmp_path / "a.npy"
    shape = b"(999999999, 999999999, 999999999, 999999999)"
    path.write_bytes(
        b"\x93NUMPY\1\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + b", }  \n" + b"0" * 99
    )
    with pytest.raises(DataError, match="shorter than an array of shape"):
        read_npy(path)
