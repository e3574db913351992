"""The distortions: their definition by hand-checked cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lenscope.config import Augmentation
from lenscope.data import augment as reference
from lenscope.randomness import Purpose, random_words

ALL = Augmentation(shift=2, rotation=15, scale=0.15, shear=15, elastic=1.2)


@pytest.fixture
def distorted_by(monkeypatch):
    """Copies of an image (H, W) by given parameters, in place of random ones."""

    def distort(image, shift_x=0.0, shift_y=0.0, rotation=0.0, scale=0.0, shear=0.0):
        parameters = np.array([shift_x, shift_y, rotation, scale, shear], dtype=np.float32)
        monkeypatch.setattr(reference, "draw_parameters", lambda *_: parameters)
        return reference.augmented(image[None, None], [0], Augmentation(shift=1), 0, 1)[0, 0]

    return distort


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def spot(x, y, size=5):
    image = np.zeros((size, size), dtype=np.uint8)
    image[y, x] = 200
    return image


def test_parameters_are_the_upper_24_bits_of_five_words_times_the_settings():
    words = random_words(5, Purpose.AUGMENT, 3, 5, index=78).tolist()
    uniforms = [(word >> 40) / 2**23 - 1 for word in words]
    largest = [2, 2, 15, float(np.float32(0.15)), 15]
    expected = np.array([u * value for u, value in zip(uniforms, largest, strict=True)]).astype(np.float32)
    assert reference.draw_parameters(ALL, 5, 3, 77).tolist() == expected.tolist()


def test_these_parameters_and_this_field_stay_for_ever():
    assert reference.draw_parameters(ALL, 0, 1, 0).tolist() == PARAMETERS
    field = reference.elastic_field(ALL, 0, 1, 0, (32, 32))
    assert field[:, 10, 20].tolist() == pytest.approx(FIELD, rel=1e-12)


def test_nothing_to_distort_is_the_image_itself():
    images = noise(4, 3, 32, 32)
    assert np.array_equal(reference.augmented(images, range(4), Augmentation(smoothness=2), 0, 1), images)


def test_a_shift_by_whole_pixels_moves_them_and_brings_in_zeros(distorted_by):
    image = noise(32, 32)
    moved = np.zeros_like(image)
    moved[:-3, 2:] = image[3:, :-2]
    assert np.array_equal(distorted_by(image, shift_x=2, shift_y=-3), moved)


def test_a_positive_rotation_is_clockwise(distorted_by):
    image = noise(32, 32)
    assert np.array_equal(distorted_by(image, rotation=90), np.rot90(image, -1))


def test_a_shear_moves_rows_by_their_height_over_the_centre(distorted_by):
    image = noise(5, 5)
    sheared = np.zeros_like(image)
    for y in range(5):
        for x in range(5):
            if 0 <= x - (y - 2) < 5:
                sheared[y, x] = image[y, x - (y - 2)]
    assert np.array_equal(distorted_by(image, shear=45), sheared)


def test_a_scale_of_one_is_twice_as_large(distorted_by):
    image = noise(5, 5)
    assert np.array_equal(distorted_by(image, scale=1)[::2, ::2], image[1:4, 1:4])


def test_shear_comes_before_rotation_and_rotation_before_shift(distorted_by):
    # Two above the centre; sheared: two to the left, too; turned clockwise by 90°: right of the centre and above it.
    assert np.array_equal(distorted_by(spot(2, 0), shift_y=1, rotation=90, shear=45), spot(4, 1))


def test_places_of_oblong_images_turn_about_their_centre(distorted_by):
    image = noise(4, 8)
    turned = np.zeros_like(image)
    turned[:, 2:6] = np.rot90(image[:, 2:6], -1)
    assert np.array_equal(distorted_by(image, rotation=90), turned)


def test_a_place_between_pixels_is_their_weighted_mean_rounded_and_outside_is_zero():
    channel = np.array([[0, 100], [200, 41]], dtype=np.uint8)
    x = np.array([0.5, 0.25, -0.5, 1.0, -1.0, 99.0, 1.75])
    y = np.array([0.5, 0.0, 1.0, 0.5, 0.0, -99.0, 1.75])
    halves_up = math.floor((100 + 41) / 2 + 0.5)
    got = reference.bilinear(channel[None, None], x[None], y[None])
    assert got[0, 0].tolist() == [85, 25, 100, halves_up, 0, 0, 3]


def test_an_image_depends_on_its_index_not_on_its_batch_or_order():
    images, indices = noise(6, 1, 32, 32), [4, 0, 9, 3, 7, 1]
    together = reference.augmented(images, indices, ALL, 3, 2)
    for place in (5, 2, 0):
        assert np.array_equal(
            reference.augmented(images[place : place + 1], [indices[place]], ALL, 3, 2)[0], together[place]
        )


def test_another_index_epoch_or_seed_is_another_distortion():
    images = np.repeat(noise(1, 1, 32, 32), 2, axis=0)
    first, other_index = reference.augmented(images, [0, 1], ALL, 3, 2)
    others = [
        other_index,
        reference.augmented(images, [0, 1], ALL, 4, 2)[0],
        reference.augmented(images, [0, 1], ALL, 3, 3)[0],
    ]
    assert all(not np.array_equal(first, other) for other in others)


def test_channels_share_one_geometry():
    images = noise(2, 1, 32, 32)
    three = reference.augmented(np.repeat(images, 3, axis=1), [3, 4], ALL, 0, 1)
    assert np.array_equal(three, np.repeat(reference.augmented(images, [3, 4], ALL, 0, 1), 3, axis=1))


@pytest.mark.parametrize("smoothness", [1, 2.5, 4])
def test_elastic_is_the_root_mean_square_displacement_far_from_the_borders(smoothness, monkeypatch):
    """By what one byte of noise adds to the field: the sum of the squares is the variance of a pixel."""

    def field(byte):
        words = np.zeros((8 + 2 * 64 * 64 // 8) * 8, dtype=np.uint8)
        words[64 + 64 * 32 + 32] = byte
        monkeypatch.setattr(reference, "random_words", lambda *_: words.view("<u8"))
        return reference.elastic_field(Augmentation(elastic=3, smoothness=smoothness), 0, 1, 0, (64, 64))

    added = field(1) - field(0)
    variance = np.square(added[0]).sum() * np.var(np.arange(256))
    assert math.sqrt(variance) == pytest.approx(3, rel=2e-4)
    assert np.unravel_index(added[0].argmax(), (64, 64)) == (32, 32)
    assert added[0, 32, 32 + 2] / added[0, 32, 32] == pytest.approx(math.exp(-2 / smoothness**2))
    assert not added[1].any()


def test_fields_of_many_images_have_that_displacement_and_no_drift():
    fields = np.stack([reference.elastic_field(ALL, 0, 1, index, (32, 32)) for index in range(300)])[:, :, 12:20, 12:20]
    assert np.sqrt(np.square(fields).mean(axis=(0, 2, 3))) == pytest.approx(1.2, rel=0.1)
    assert fields.mean(axis=(0, 2, 3)) == pytest.approx(0, abs=0.15)


PARAMETERS = [1.607795238494873, -0.419236421585083, 7.6531524658203125, -0.07051824778318405, 14.466889381408691]
FIELD = [-0.19488341101948736, 1.4554763186411401]
