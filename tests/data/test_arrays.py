"""Arrays as data: forms that are taken give equal bytes, and the rest is one line that says what to pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lenscope
from fixtures_data import random_images
from lenscope.data import arrays, mapped
from lenscope.data.arrays import as_images, load_arrays
from lenscope.errors import DataError

IMAGES = random_images(6, 28, 28)
COLOUR = random_images(6, 28, 28, 3)
LABELS = np.arange(6) % 3


class Column:
    """A column of pandas, as far as numpy sees one."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        column = np.empty(len(self), object)
        column[:] = self.values
        return column


FORMS: dict[str, Any] = {
    "bytes": lambda images: images,
    "float16": lambda images: (images / 255).astype(np.float16),
    "float32": lambda images: images.astype(np.float32) / 255,
    "float64": lambda images: images / 255,
    "big-endian": lambda images: (images / 255).astype(">f4"),
    "whole floats": lambda images: images.astype(np.float64),
    "int64": lambda images: images.astype(np.int64),
    "uint16": lambda images: images.astype(np.uint16),
    "tensor": torch.tensor,
    "scaled tensor": lambda images: (torch.tensor(images) / 255).requires_grad_(),
    "strided": lambda images: np.repeat(images, 2, 0)[::2],
    "list of arrays": list,
    "list of tensors": lambda images: [torch.tensor(image) for image in images],
    "nested lists": lambda images: images.tolist(),
    "column of arrays": lambda images: Column(list(images)),
}
LAYOUTS: dict[str, Any] = {
    "N, C, H, W": lambda images: images,
    "N, H, W, C": lambda images: images.transpose(0, 2, 3, 1),
    "N, H, W": lambda images: images[:, 0],
}


@given(st.sampled_from(sorted(FORMS)), st.sampled_from(sorted(LAYOUTS)), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_every_form_and_layout_gives_the_same_bytes(form: str, layout: str, count: int, seed: int) -> None:
    channels = 1 if layout == "N, H, W" else 1 + 2 * (seed % 2)
    images = random_images(count, channels, 5, 6, seed=seed)
    images[0, 0, 0] = np.arange(6) * 51  # so that the range is 0 to 255
    found, notes = as_images(FORMS[form](LAYOUTS[layout](images)))
    assert np.array_equal(found, images)
    assert (found.dtype, found.flags.c_contiguous) == (np.uint8, True)
    assert any("taken as N, H, W, C" in note for note in notes) == (layout == "N, H, W, C")


def test_bytes_in_the_layout_of_a_data_set_are_not_copied() -> None:
    images = random_images(6, 3, 28, 28)
    assert as_images(images)[0] is images
    assert np.shares_memory(as_images(IMAGES)[0], IMAGES)


@pytest.mark.parametrize(
    ("images", "note"),
    [
        (COLOUR, "images (N, 28, 28, 3) are taken as N, H, W, C"),
        (IMAGES / 255, "images are float64 from 0 to 1, and are multiplied by 255 and rounded"),
        (
            IMAGES % 17 / np.float32(1),
            "images are float32, whole numbers from 0 to 16, and are taken as bytes (255 is ",
        ),
        (IMAGES > 127, "images are bool; True is taken as 255 (white), False as 0"),
        (IMAGES[:, :20], "the images are 28×20 pixels and are squeezed to a square; --fit pad or --fit crop keeps"),
    ],
)
def test_what_was_converted_is_said_once(images: Any, note: str) -> None:
    [said] = lenscope.load(((images, LABELS), (images[:3], LABELS[:3]))).notes
    assert said.startswith(note)


def test_true_is_white() -> None:
    assert np.array_equal(np.unique(as_images(IMAGES > 127)[0]), [0, 255])


def test_pairs_are_training_validation_and_test() -> None:
    one, two, three = (IMAGES, LABELS), (IMAGES[:4], LABELS[:4]), (IMAGES[:3], LABELS[:3])
    alone, as_keras, all_three = load_arrays(one), load_arrays([one, two]), load_arrays((one, two, three))
    assert (len(alone.train), alone.validation, alone.test) == (6, None, None)
    assert as_keras.validation is None
    assert len(as_keras.test or ()) == 4
    assert [len(all_three.validation or ()), len(all_three.test or ())] == [4, 3]
    assert repr(all_three.validation) == "<Dataset arrays validation: 4 images, 1×28×28, 3 classes>"


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (LABELS.astype(np.uint8), "012", LABELS),
        (torch.tensor(LABELS), "012", LABELS),
        (LABELS[:, None], "012", LABELS),
        ([torch.tensor(0), *LABELS[1:]], "012", LABELS),
        (list("bacbac"), "abc", [1, 0, 2, 1, 0, 2]),
        (np.array(["10", "9", "9", "9", "10", "9"]), ("9", "10"), [1, 0, 0, 0, 1, 0]),
        (Column([*"bacbac"]), "abc", [1, 0, 2, 1, 0, 2]),
        (Column([*LABELS]), "012", LABELS),
    ],
)
def test_labels_are_whole_numbers_or_text(labels: Any, classes: Any, numbers: Any) -> None:
    found = load_arrays((IMAGES, labels))
    assert found.classes == tuple(classes)
    assert found.train.labels.tolist() == list(numbers)
    assert not found.notes


def test_numbers_without_images_are_said_and_stay_classes() -> None:
    found = load_arrays((IMAGES, LABELS * 2))
    assert found.classes == tuple("01234")
    assert found.notes == ("no training image has label 1, 3; the classes are 0 to 4",)
    [note] = load_arrays((IMAGES, LABELS * 20)).notes
    assert note == "no training image has label 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 28 more; the classes are 0 to 40"


def test_classes_that_are_given_are_what_labels_count() -> None:
    animals = ("cat", "dog", "emu")
    assert load_arrays((IMAGES, [0, 1] * 3), animals).classes == animals
    assert load_arrays((IMAGES, ["emu", "cat"] * 3), animals).train.labels.tolist() == [2, 0] * 3


WHAT = r"expected a name, a folder, \(images, labels\), or such pairs for train, \[validation,\] test$"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (IMAGES, f"data: got ndarray, {WHAT}"),
        (None, f"data: got NoneType, {WHAT}"),
        ((IMAGES,), f"data: got 1 value, {WHAT}"),
        ((IMAGES, LABELS, IMAGES), f"data: got 3 values, {WHAT}"),
        ((IMAGES, "labels"), f"data: got 2 values, {WHAT}"),
        (((IMAGES, LABELS), (IMAGES, LABELS + 1)), "arrays: test: label 3 of image 2 is outside 0 to 2"),
        (((IMAGES, list("abcabc")), (IMAGES, list("abdabd"))), "labels: got 'd', which is not a class of "),
        ((IMAGES, LABELS[:5]), "arrays: train: 5 labels for 6 images"),
        ((IMAGES, LABELS - 1), "arrays: train: label -1 of image 0 is outside 0 to 1"),
        ((IMAGES, LABELS - 9), "arrays: train: label -9 of image 0 is outside 0 to 0"),
        ((IMAGES, LABELS + 99_998), "arrays: train labels up to 100000, expected 0 to 99999; pass numpy.unique"),
        ((IMAGES, [2**70] * 6), "arrays: train labels: got 1180591620717411303424, expected 0 to 99999"),
        (((IMAGES, ["3", "7"] * 3), (IMAGES, LABELS)), r"and so are the classes, 3, 7; pass labels\.astype"),
        ((IMAGES, LABELS / 2), r"arrays: train labels are float64, .*; pass labels\.astype\(numpy\.int64\)"),
        ((IMAGES, np.eye(3)[LABELS]), r"arrays: train labels have shape \(6, 3\), .*; pass labels\.argmax\(axis=1\)"),
        ((IMAGES, LABELS > 0), "arrays: train labels are bool, expected whole numbers"),
        ((IMAGES, ["a", 1] * 3), "arrays: train labels are int and str, expected whole numbers or text"),
        ((IMAGES, Column(["a", None] * 3)), "arrays: train labels are NoneType and str, .*; is one of them missing"),
        ((IMAGES, Column([None] * 6)), "arrays: train labels are object, expected whole numbers from 0"),
        (([IMAGES[0], IMAGES[1, :9]], [0, 1]), "cannot be read as one array: .*, of images of one"),
        ((torch.tensor(IMAGES).bfloat16(), LABELS), "cannot be read as one array: .*BFloat16; pass"),
        (({1: 2}, LABELS), r"have shape \(\), expected \(N, C, H, W\)"),
        ((IMAGES.reshape(6, -1), LABELS), r"have shape \(6, 784\), .*; pass images\.reshape"),
        ((COLOUR.repeat(2, 3)[..., :4], LABELS), r"4 channels \(RGBA\), .*; pass images\[\.\.\., :3\]"),
        ((random_images(6, 4, 28, 28), LABELS), r"4 channels \(RGBA\), .*; pass images\[:, :3\]"),
        ((random_images(6, 3, 28, 3), LABELS), r"may be \(N, C, H, W\) or \(N, H, W, C\); pass lenscope\.Splits"),
        ((IMAGES / 127.5 - 1, LABELS), r"are float64 from -1 to 1, .*images\.min\(\)"),
        ((IMAGES + 0.5, LABELS), "are float64 from 0.5 to 255.5, expected uint8"),
        ((np.where(IMAGES > 9, IMAGES, np.nan), LABELS), "are float64 and some are not finite"),
        ((IMAGES.astype(int) - 1, LABELS), "are int64 from -1 to 254, expected uint8"),
        (((IMAGES > 9).astype(int), LABELS), r"pass \(images \* 255\)\.astype.* images\.astype\(numpy\.uint8\)"),
        ((IMAGES.astype(complex), LABELS), "are complex128, expected uint8; pass one array"),
    ],
)  # fmt: skip
def test_everything_else_is_one_line_that_says_what_to_pass(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        lenscope.load(data)
    assert "\n" not in str(refused.value)


def test_large_arrays_are_converted_block_by_block_into_a_mapped_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_BLOCK_BYTES", 2 * 8 * 28 * 28)
    monkeypatch.setattr(mapped, "LARGE_BYTES", 1_000)
    images, _ = as_images(IMAGES / 255)
    assert np.array_equal(images[:, 0], IMAGES)
    assert not images.flags.writeable
