from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lenscope.config import Augmentation
from lenscope.data import augment as reference
from lenscope.pytorch import augment as torch_augment

HOW = st.builds(
    Augmentation,
    shift=st.floats(0, 16),
    rotation=st.floats(0, 180),
    scale=st.floats(0, 0.9),
    shear=st.floats(0, 60),
    elastic=st.floats(0, 8),
    smoothness=st.floats(1, 16),
)
SEEDS, EPOCHS, INDICES = st.integers(0, 2**63 - 1), st.integers(0, 10**6), st.integers(0, 2**40)
SIDES = st.integers(1, 12)


@settings(max_examples=60)
@given(HOW, SEEDS, EPOCHS, INDICES, SIDES, SIDES, st.integers(1, 3))
def test_torch_is_within_one_grey_level_of_the_reference(
    how: Augmentation, seed: int, epoch: int, index: int, height: int, width: int, channels: int
) -> None:
    images = np.random.default_rng(index).integers(0, 256, (1, channels, height, width), dtype=np.uint8)
    expected = reference.augmented(images, [index], how, seed, epoch)
    got = torch_augment.augmented(torch.from_numpy(images), torch.tensor([index]), how, seed, epoch).numpy()
    assert (got.dtype, got.shape) == (np.uint8, images.shape)
    assert np.abs(got.astype(int) - expected).max() <= 1


@given(HOW, SEEDS, EPOCHS, INDICES)
def test_parameters_are_the_same_numbers_within_the_settings(
    how: Augmentation, seed: int, epoch: int, index: int
) -> None:
    drawn = reference.draw_parameters(how, seed, epoch, index)
    largest = np.array([how.shift, how.shift, how.rotation, how.scale, how.shear], dtype=np.float32)
    assert drawn.dtype == np.float32
    assert (np.abs(drawn) <= largest).all()
    assert torch_augment.draw_parameters(how, seed, epoch, torch.tensor([index]))[0].tolist() == drawn.tolist()


@given(st.integers(-12, 12), st.integers(-12, 12))
def test_a_shift_by_whole_pixels_is_exact(right: int, down: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (10, 10), dtype=np.uint8)
    places = reference.places(np.array([[right, down, 0, 0, 0]], dtype=np.float32), (10, 10))
    padded = np.pad(image, 12)
    shifted = reference.bilinear(image[None, None], places[:, 0], places[:, 1])[0, 0]
    assert np.array_equal(shifted, padded[12 - down : 22 - down, 12 - right : 22 - right])


@given(HOW)
def test_an_augmentation_as_text_is_read_back(how: Augmentation) -> None:
    assert Augmentation.parse(str(how)) == how
    assert Augmentation.parse(how.model_dump()) == how
