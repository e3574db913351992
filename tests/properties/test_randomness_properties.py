from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lenscope.randomness import Purpose, random_order, random_uniforms, random_words

SEEDS = st.integers(0, 2**64 - 1)
PURPOSES = st.sampled_from(Purpose)
EPOCHS = st.integers(0, 2**64 - 1)
COUNTS = st.integers(0, 300)


@given(SEEDS, PURPOSES, EPOCHS, COUNTS, COUNTS)
def test_a_shorter_draw_is_the_beginning_of_a_longer_one(
    seed: int, purpose: Purpose, epoch: int, short: int, more: int
) -> None:
    words = random_words(seed, purpose, epoch, short + more)
    assert words.dtype == np.uint64
    assert words.shape == (short + more,)
    assert np.array_equal(random_words(seed, purpose, epoch, short), words[:short])


@given(st.tuples(SEEDS, PURPOSES, EPOCHS), st.tuples(SEEDS, PURPOSES, EPOCHS))
def test_two_streams_are_equal_only_if_seed_purpose_and_epoch_are(
    one: tuple[int, Purpose, int], other: tuple[int, Purpose, int]
) -> None:
    assert np.array_equal(random_words(*one, 4), random_words(*other, 4)) == (one == other)


@given(SEEDS, PURPOSES, EPOCHS, COUNTS)
def test_uniforms_are_multiples_of_2_to_the_minus_53_in_the_half_open_interval(
    seed: int, purpose: Purpose, epoch: int, count: int
) -> None:
    uniforms = random_uniforms(seed, purpose, epoch, count)
    assert ((uniforms >= 0) & (uniforms < 1)).all()
    assert np.array_equal(uniforms * 2**53 % 1, np.zeros(count))


@given(SEEDS, PURPOSES, EPOCHS, COUNTS)
def test_an_order_is_a_permutation_that_sorts_the_words(seed: int, purpose: Purpose, epoch: int, count: int) -> None:
    order = random_order(seed, purpose, epoch, count)
    words = random_words(seed, purpose, epoch, count).tolist()
    assert order.dtype == np.int64
    assert order.tolist() == sorted(range(count), key=words.__getitem__)
