"""MNIST in colour: the same bytes everywhere, digits that can be read, and colours that tell nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fixtures_data import random_images
from lenscope.data.formats.coloured import coloured
from lenscope.data.load import load

if TYPE_CHECKING:
    import pytest

    from lenscope.data.dataset import Splits


def test_it_is_made_of_mnist_and_the_same_bytes_everywhere(mnist: Splits) -> None:
    splits = load("coloured-mnist", download=False)
    assert splits.train.images.shape == (60_000, 3, 28, 28)
    assert splits.test is not None
    assert np.array_equal(splits.test.labels, mnist.test.labels)
    assert splits.classes == tuple("0123456789")
    assert splits.train.licence == "CC BY-SA 3.0 (derived from MNIST)"
    assert [part.sha256 for part in (splits.train, splits.test)] == [
        "a5adb1a4a79c4038048bacc75fda25f7a63d363720876d7fabf82b711512a27e",
        "8aca413dd18bdc5d0bddf7eafdb4406d4ef07a3973e15f2d897387c24bf72935",
    ]


def test_more_images_than_a_block_are_coloured_as_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = random_images(7, 1, 28, 28)
    whole = coloured(digits, 0)
    monkeypatch.setattr("lenscope.data.formats.coloured._BLOCK", 3)
    assert np.array_equal(coloured(digits, 0), whole)
