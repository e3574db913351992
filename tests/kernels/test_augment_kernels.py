"""The distortions in native code against the numpy reference, on every instruction set that runs here."""

from __future__ import annotations

import numpy as np
import pytest

from lenscope import native
from lenscope.config import Augmentation
from lenscope.data import augment as reference

if reason := native.reason():
    pytest.skip(reason, allow_module_level=True)

ALL = Augmentation(shift=2, rotation=15, scale=0.15, shear=15, elastic=1.2)
HOW = [
    ALL,
    Augmentation(shift=16),
    Augmentation(rotation=180),
    Augmentation(scale=0.9),
    Augmentation(shear=60),
    Augmentation(elastic=8, smoothness=1),
    Augmentation(elastic=8, smoothness=16),
    Augmentation(elastic=1.38),
    Augmentation(shift=16, rotation=180, scale=0.9, shear=60, elastic=8, smoothness=7.3),
]


@pytest.fixture(params=native.load().instruction_sets())
def augmented(request):
    def augment(images, indices, how, seed, epoch):
        settings = tuple(how.model_dump().values())
        return native.load().augment(images, np.array(indices), settings, seed, epoch, request.param)

    return augment


def noise(count, channels):
    return np.random.default_rng(count).integers(0, 256, (count, channels, 32, 32), dtype=np.uint8)


@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_pixels_are_within_one_grey_level_and_hardly_ever_off_by_it(augmented, how, channels):
    """Were a parameter off by 1e-5 of itself, ten times as many pixels of noise would be off by one."""
    images, indices, seed, epoch = noise(10, channels), [0, 1, 59_999, 2**40, *range(7, 13)], 2**63 - 1, 10**6
    expected = reference.augmented(images, indices, how, seed, epoch).astype(int)
    off = np.abs(augmented(images, indices, how, seed, epoch) - expected)
    assert off.max() <= 1
    assert off.mean() < 5e-4


def test_nothing_to_distort_is_the_image_itself(augmented):
    images = noise(5, 3)
    assert np.array_equal(augmented(images, range(5), Augmentation(), 1, 2), images)


def test_an_image_depends_on_its_index_not_on_its_batch_or_order(augmented):
    images, indices = noise(6, 1), [4, 0, 9, 3, 7, 1]
    together = augmented(images, indices, ALL, 3, 2)
    for place in (5, 2, 0):
        assert np.array_equal(augmented(images[place : place + 1], [indices[place]], ALL, 3, 2)[0], together[place])


def test_another_index_epoch_or_seed_is_another_distortion(augmented):
    images = np.repeat(noise(1, 1), 2, axis=0)
    first, other_index = augmented(images, [0, 1], ALL, 3, 2)
    others = [other_index, augmented(images, [0, 1], ALL, 4, 2)[0], augmented(images, [0, 1], ALL, 3, 3)[0]]
    assert all(not np.array_equal(first, other) for other in others)


def test_the_most_extreme_parameters_read_no_pixel_beyond_the_image(augmented):
    images = np.full((200, 1, 32, 32), 255, dtype=np.uint8)
    how = Augmentation(shift=16, rotation=180, scale=0.9, shear=60, elastic=8, smoothness=1)
    copies = augmented(images, range(200), how, 0, 1)
    expected = reference.augmented(images, range(200), how, 0, 1)
    assert np.abs(copies.astype(int) - expected).max() <= 1
