from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fixtures_data import random_images
from lenscope.data.checks import class_difference
from lenscope.data.dataset import Dataset, Splits
from lenscope.errors import DataError

IMAGES = random_images(6, 1, 28, 28)
FLOATS = (IMAGES / 255).astype(np.float32)
LABELS = np.arange(6) % 3
NAMES = ("a", "b", "c")
STRETCHED = r"\(\(images - images.min\(\)\) / \(images.max\(\) - images.min\(\)\) \* 255\)"


def with_nan() -> Any:
    images = FLOATS.copy()
    images[3, 0, 1, 1] = np.nan
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            FLOATS,
            r"images are float32 from 0 to 1, .*; pass \(images \* 255\)\.round\(\)\.astype\(numpy\.uint8\)$",
        ),
        (IMAGES.astype(float), r"images are float64 from 0 to 255, .*; pass images\.round\(\)\.astype\(numpy\.uint8\)"),
        (FLOATS * 2 - 1, rf"images are float32 from -1 to 1, .*; pass {STRETCHED}\.round\(\)\.astype\(numpy\.uint8\)"),
        (with_nan(), "images are float32 and some are not finite; expected uint8 from 0 to 255: replace them"),
        (IMAGES.astype(np.int64), r"images are int64 from 0 to 255, .*; pass images\.astype\(numpy\.uint8\)"),
        (IMAGES.astype(np.uint16) * 257, rf"images are uint16 from 0 to 65535, .*; pass {STRETCHED}"),
        (np.empty((0, 1, 2, 2), int), r"images have shape \(0, 1, 2, 2\): there are none"),
        (IMAGES > 127, r"images are bool, expected uint8; pass images\.astype\(numpy\.uint8\) \* 255"),
        (np.array([IMAGES[0], "x"], dtype=object), "images are object, expected uint8; pass one array of numbers"),
        (IMAGES.tolist(), r"images are of type list, expected a numpy array; pass them through numpy\.asarray"),
        (IMAGES[:, 0], r"images have shape \(6, 28, 28\), expected \(N, C, H, W\); pass images\[:, None\]"),
        (IMAGES.reshape(6, -1), r"images have shape \(6, 784\), .*; pass images\.reshape\(-1, channels, height, width"),
        (IMAGES[:0], r"images have shape \(0, 1, 28, 28\): there are none"),
        (IMAGES.transpose(0, 2, 3, 1), r"images have shape \(6, 28, 28, 1\), .*; pass images\.transpose\(0, 3, 1, 2\)"),
        (random_images(6, 4, 8, 8), r"images have shape \(6, 4, 8, 8\), 4 channels, expected 1 \(grey\) or 3"),
    ],
)
def test_images_that_are_not_bytes_are_one_line_that_says_what_to_pass(images: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^mine: {message}"):
        Dataset(images, LABELS, NAMES, "mine")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS + 0.5, r"labels are float64, expected whole numbers from 0; pass labels\.astype\(numpy\.int64\)"),
        (LABELS > 0, "labels are bool, expected whole numbers"),
        (np.array(NAMES * 2), "labels are <U1, expected whole numbers from 0"),
        (LABELS.tolist(), "labels are of type list"),
        (LABELS[:, None], r"labels have shape \(6, 1\), expected \(N,\); pass labels\[:, 0\]"),
        (np.eye(3, dtype=int)[LABELS], r"labels have shape \(6, 3\), .*; pass labels\.argmax\(axis=1\)"),
        (LABELS[:5], "5 labels for 6 images; expected as many of each"),
        (LABELS + 1, "label 3 of image 2 is outside 0 to 2"),
        (LABELS - 1, "label -1 of image 0 is outside 0 to 2"),
        (LABELS.astype(np.uint64) + np.uint64(2**63), "label 9223372036854775808 of image 0 is outside 0 to 2"),
    ],
)
def test_labels_that_are_not_classes_are_one_line_that_says_what_to_pass(labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^mine: {message}"):
        Dataset(IMAGES, labels, NAMES, "mine")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (3, "classes are '3', expected the name of each class"),
        ("abc", "classes are 'abc', expected the name of each class"),
        ({"a", "b", "c"}, r"classes are .*, expected the name of each class"),
        (("a", "b", "a"), "classes name 'a' twice, expected a different name for each class"),
        ([0, 1, 2], r"classes are not all text, .*; pass tuple\(map\(str, classes\)\)"),
    ],
)
def test_classes_are_names(classes: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^mine: {message}"):
        Dataset(IMAGES, LABELS, classes, "mine")


def test_a_name_is_text() -> None:
    with pytest.raises(DataError, match=r"^name: got NoneType, expected text"):
        Dataset(IMAGES, LABELS, NAMES, None)  # type: ignore[arg-type]
    assert Dataset(IMAGES, LABELS, np.array(NAMES), "mine").classes == NAMES  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint16, np.uint64, ">i4"])
def test_labels_of_any_whole_type_are_welcome(dtype: Any) -> None:
    data = Dataset(IMAGES, LABELS.astype(dtype), list(NAMES), "mine")  # type: ignore[arg-type]
    assert (data.labels.dtype, data.labels.tolist(), data.classes) == (np.int64, LABELS.tolist(), NAMES)
    assert Dataset(IMAGES, LABELS.astype(np.uint8), NAMES, "mine").labels.dtype == np.uint8


def test_parts_of_other_channels_or_classes_are_refused() -> None:
    train = Dataset(IMAGES, LABELS, NAMES, "mine")
    with pytest.raises(DataError, match="mine: test images have 3 channels, expected 1 as the training images have"):
        Splits(train, test=Dataset(random_images(6, 3, 28, 28), LABELS, NAMES, "mine"))
    with pytest.raises(
        DataError, match="mine: test classes differ from those of training: not expected 'd'; give both"
    ):
        Splits(train, test=Dataset(IMAGES, LABELS, (*NAMES, "d"), "mine"))


@pytest.mark.parametrize(
    ("got", "expected", "says"),
    [
        (("\u00e9t\u00e9", "tea"), ("e\u0301te\u0301", "tea"), ""),
        (("a", "b"), ("a", "c"), "missing 'c', not expected 'b'"),
        (("a",), ("a", "c"), "missing 'c'"),
        (("b", "a"), ("a", "b"), "in another order, beginning with 'b', 'a', expected 'a', 'b'"),
        ((), tuple("abcdefghijklm"), "missing 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j' and 3 more"),
        (("a\u202eb",), ("a",), "missing 'a', not expected 'a\\u202eb'"),
    ],
)
def test_what_differs_between_classes_is_named(got: tuple[str, ...], expected: tuple[str, ...], says: str) -> None:
    assert class_difference(got, expected) == says
