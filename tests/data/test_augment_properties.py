from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lenscope.config import Augmentation
from lenscope.data import augment as reference

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


@given(HOW, SEEDS, EPOCHS, INDICES)
def test_parameters_are_within_the_settings(how: Augmentation, seed: int, epoch: int, index: int) -> None:
    drawn = reference.draw_parameters(how, seed, epoch, index)
    largest = np.array([how.shift, how.shift, how.rotation, how.scale, how.shear], dtype=np.float32)
    assert drawn.dtype == np.float32
    assert (np.abs(drawn) <= largest).all()


@given(HOW)
def test_an_augmentation_as_text_is_read_back(how: Augmentation) -> None:
    assert Augmentation.parse(str(how)) == how
    assert Augmentation.parse(how.model_dump()) == how
