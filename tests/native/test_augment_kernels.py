"""The distortions in native code against the numpy reference, on every instruction set that runs here."""

from __future__ import annotations

import numpy as np
import pytest

from lenscope import native
from lenscope.config import Augmentation
from lenscope.data import augment as reference
from native_reference import SETS

ALL = Augmentation(shift=2, rotation=15, scale=0.15, shear=15, elastic=1.2)
HOW = [
    ALL,
    Augmentation(elastic=8, smoothness=1),
    Augmentation(elastic=8, smoothness=16),
    Augmentation(elastic=1.38),
    Augmentation(shift=16, rotation=180, scale=0.9, shear=60),
    Augmentation(shift=16, rotation=180, scale=0.9, shear=60, elastic=8, smoothness=7.3),
]


def augment(isa, images, indices, how, seed, epoch):
    return native.load().augment(images, np.array(indices), tuple(how.model_dump().values()), seed, epoch, isa)


def noise(count, channels):
    return np.random.default_rng(count).integers(0, 256, (count, channels, 32, 32), dtype=np.uint8)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("how", HOW, ids=str)
def test_pixels_are_within_one_grey_level_and_hardly_ever_off_by_it(isa, how):
    """If a parameter were off by 1e-5 of itself, ten times as many pixels of noise would be off by one."""
    images, indices, seed, epoch = noise(20, 3), [0, 1, 59_999, 2**40, *range(7, 23)], 2**63 - 1, 10**6
    expected = reference.augmented(images, indices, how, seed, epoch).astype(int)
    off = np.abs(augment(isa, images, indices, how, seed, epoch) - expected)
    assert off.max() <= 1
    assert off.mean() < 5e-4


@pytest.mark.parametrize("isa", SETS)
def test_an_image_depends_on_its_index_not_on_its_batch_or_order(isa):
    images, indices = noise(6, 1), [4, 0, 9, 3, 7, 1]
    together = augment(isa, images, indices, ALL, 3, 2)
    for place in (5, 2, 0):
        alone = augment(isa, images[place : place + 1], [indices[place]], ALL, 3, 2)
        assert np.array_equal(alone[0], together[place])
