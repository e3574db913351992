from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from fixtures_data import encode_idx
from lenscope.data.checks import check_labels
from lenscope.data.formats import idx
from lenscope.data.formats.idx import check_images, decode_idx, read_idx
from lenscope.errors import DataError

BUNDLED = Path(idx.__file__).parents[1] / "bundled"


def test_the_real_labels_of_mnist_are_read() -> None:
    labels = read_idx(BUNDLED / "t10k-labels-idx1-ubyte.gz", ndim=1)
    assert labels.tolist()[:10] == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_the_real_images_of_mnist_have_their_published_hash() -> None:
    images = read_idx(BUNDLED / "t10k-images-idx3-ubyte.gz", ndim=3)
    content = struct.pack(">IIII", 0x803, 10_000, 28, 28) + images.tobytes()
    assert hashlib.sha256(content).hexdigest().startswith("0fa7898d5092")


def test_gzip_is_detected_by_content_and_not_by_name(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    (tmp_path / "plain.gz").write_bytes(encode_idx(array))
    (tmp_path / "packed").write_bytes(gzip.compress(encode_idx(array)))
    assert read_idx(tmp_path / "plain.gz").tolist() == read_idx(tmp_path / "packed").tolist() == array.tolist()


def test_numbers_of_several_bytes_are_big_endian_in_the_file_and_native_in_memory() -> None:
    content = bytes([0, 0, 0x0C, 1, 0, 0, 0, 2, 0, 0, 1, 0, 255, 255, 255, 255])
    numbers = decode_idx(content, "x", dtypes=("int32",))
    assert numbers.tolist() == [256, -1]
    assert numbers.dtype == np.dtype("=i4")
    assert numbers.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too short"),
        (b"\0\0\x08", "too short"),
        (b"\1\0\x08\1\0\0\0\1\0", "not IDX: it begins with 01000801"),
        (b"\0\0\x07\1\0\0\0\1\0", "not IDX"),
        (b"\0\0\x08\0", "0 dimensions"),
        (b"\0\0\x08\5" + b"\0\0\0\1" * 5 + b"\0", "5 dimensions, expected 1 to 4"),
        (b"\0\0\x08\2\0\0\0\1\0\0", "end within its header"),
        (b"\0\0\x08\1\0\0\0\0", "empty"),
        (b"\0\0\x08\1\0\0\0\2\0", "truncated: 9 bytes, its header states 10"),
        (b"\0\0\x08\1\0\0\0\1\0\0", "trailing bytes: 10 bytes, its header states 9"),
        (b"\0\0\x08\2" + b"\xff" * 8, "expected at most 1099511627776"),
        (b"\0\0\x0c\1\0\0\0\1\0\0\0\0", "elements are int32, expected uint8"),
    ],
)
def test_a_fault_is_reported_in_one_line(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        decode_idx(content, "some-file")
    assert str(raised.value).startswith("some-file: ")
    assert "\n" not in str(raised.value)


def test_another_number_of_dimensions_is_refused() -> None:
    with pytest.raises(DataError, match=r"1 dimensions \(3,\), expected 3"):
        decode_idx(encode_idx(np.ones(3, dtype=np.uint8)), "x", ndim=3)


def test_a_missing_file_a_folder_and_a_long_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_idx(tmp_path / "none")
    assert idx.read_head(tmp_path / "none") == b""
    with pytest.raises(DataError, match="not a regular file"):
        read_idx(tmp_path)
    monkeypatch.setattr(idx, "MAX_BYTES", 10)
    (tmp_path / "long").write_bytes(bytes(100))
    with pytest.raises(DataError, match="more than 10 bytes"):
        read_idx(tmp_path / "long")


def test_labels_given_as_images_and_images_given_as_labels_are_reported() -> None:
    images, labels = np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.uint8)
    check_images(images, "i")
    check_labels(labels, images, 1, "l")
    with pytest.raises(DataError, match=r"i: .*is it a file of labels\?"):
        check_images(labels, "i")
    with pytest.raises(DataError, match=r"l: .*is it a file of images\?"):
        check_labels(images, images, 10, "l")


def test_counts_that_differ_and_labels_out_of_range_are_reported() -> None:
    images = np.zeros((3, 2, 2), np.uint8)
    with pytest.raises(DataError, match="l: 2 labels for 3 images"):
        check_labels(np.zeros(2, np.uint8), images, 10, "l")
    with pytest.raises(DataError, match="l: label 10 of image 1 is outside 0 to 9"):
        check_labels(np.array([9, 10, 11]), images, 10, "l")
    with pytest.raises(DataError, match="label -1 of image 2"):
        check_labels(np.array([9, 0, -1]), images, 10, "l")
