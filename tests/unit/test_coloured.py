"""MNIST in colour: the same bytes everywhere, digits that can be read, and colours that tell nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fixtures_data import random_images
from lenscope.data.coloured import HIGHEST, LOWEST, NOISE, SPREAD, coloured
from lenscope.data.load import load

if TYPE_CHECKING:
    from lenscope.data.dataset import Splits


@pytest.fixture(scope="module")
def test_part(mnist: Splits) -> np.ndarray:
    return coloured(mnist.test.images, 1)


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


def test_an_images_colours_depend_on_its_place_alone(mnist: Splits, test_part: np.ndarray) -> None:
    black = np.zeros((6, 1, 28, 28), np.uint8)
    ground = coloured(black, 1)
    for place, digit in enumerate(mnist.test.images[:6, 0]):
        bare = digit == 0
        assert np.array_equal(test_part[place][:, bare], ground[place][:, bare])
    assert not np.array_equal(coloured(black, 0), ground)
    assert not np.array_equal(ground[0], ground[1])


def test_more_images_than_a_block_are_coloured_as_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = random_images(7, 1, 28, 28)
    whole = coloured(digits, 0)
    monkeypatch.setattr("lenscope.data.coloured._BLOCK", 3)
    assert np.array_equal(coloured(digits, 0), whole)


def test_ink_of_full_strength_has_one_colour_far_from_its_ground_in_every_channel() -> None:
    """Half black, half white: what is left and right of the middle is the ground and the tint alone."""
    halves = np.zeros((500, 1, 28, 28), np.uint8)
    halves[..., 14:] = 255
    images = coloured(halves, 0).astype(int)
    ground, ink = images[..., :14], images[..., 14:]
    assert (ink == ink[..., :1, :1]).all()
    assert (np.abs(ground - ground.mean((2, 3), keepdims=True)) < 2 * NOISE).all()
    apart = np.abs(ink[..., 0, 0] - ground.mean((2, 3)))
    assert apart.min() > 128 - SPREAD - NOISE
    assert LOWEST - NOISE <= ground.min() < LOWEST
    assert HIGHEST < ground.max() <= HIGHEST + NOISE
    brighter = (ink[..., 0, 0] > ground.mean((2, 3))).mean(0)
    assert ((brighter > 0.4) & (brighter < 0.6)).all()


def test_colour_does_not_tell_the_class(mnist: Splits, test_part: np.ndarray) -> None:
    """Named by the class whose mean colour is nearest, images are right as often as by chance."""
    border = np.ones((28, 28), bool)
    border[4:-4, 4:-4] = False  # no digit reaches it
    for colours in (test_part[..., border].mean(2), test_part.max((2, 3)), test_part.min((2, 3))):
        half, labels = len(colours) // 2, mnist.test.labels
        means = np.stack([colours[:half][labels[:half] == label].mean(0) for label in range(10)])
        nearest = np.square(colours[half:, None] - means).sum(2).argmin(1)
        assert np.mean(nearest == labels[half:]) < 0.125


def test_half_ink_is_half_of_each() -> None:
    levels = np.array([0, 1, 64, 128, 254, 255], np.uint8)
    digits = np.broadcast_to(levels[:, None, None, None], (6, 1, 28, 28))
    ends = [coloured(np.full((6, 1, 28, 28), level, np.uint8), 0).astype(float) for level in (0, 255)]
    share = ((levels + (levels >> 7).astype(int)) / 256)[:, None, None, None]
    expected = ends[0] * (1 - share) + ends[1] * share
    assert np.abs(coloured(digits, 0) - expected).max() <= 0.5
