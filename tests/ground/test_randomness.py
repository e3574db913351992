from __future__ import annotations

import itertools

import numpy as np
import pytest

from lenscope.randomness import Purpose, random_order, random_uniforms, random_words

WORD = 2**64 - 1


def philox_block(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4×64, 10 rounds, with Python's integers: the definition, apart from numpy's code."""
    a, b, c, d = counter
    low_key, high_key = key
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (right >> 64) ^ b ^ low_key, right & WORD, (left >> 64) ^ d ^ high_key, left & WORD
        low_key, high_key = (low_key + 0x9E3779B97F4A7C15) & WORD, (high_key + 0xBB67AE8584CAA73B) & WORD
    return [a, b, c, d]


def test_the_definition_here_is_the_published_one() -> None:
    """Known answers of the authors' Random123 for philox4x64-10: zeros and all ones."""
    zeros = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    ones = [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0]
    assert philox_block([0, 0, 0, 0], [0, 0]) == zeros
    assert philox_block([WORD] * 4, [WORD] * 2) == ones


@pytest.mark.parametrize(
    ("seed", "purpose", "epoch", "index"),
    [(0, Purpose.WEIGHTS, 0, 0), (1, Purpose.NOISE, 7, 5), (2**64 - 1, Purpose.AUGMENT, 2**40, WORD)],
)
def test_word_i_is_word_i_mod_4_of_the_block_1_plus_i_div_4(
    seed: int, purpose: Purpose, epoch: int, index: int
) -> None:
    blocks = (philox_block([1 + number, epoch, index, 0], [seed, int(purpose)]) for number in range(3))
    assert random_words(seed, purpose, epoch, 11, index).tolist() == list(itertools.chain.from_iterable(blocks))[:11]


def test_the_index_is_0_where_none_is_given() -> None:
    assert np.array_equal(random_words(1, Purpose.ORDER, 2, 9), random_words(1, Purpose.ORDER, 2, 9, index=0))
    assert not np.isin(random_words(1, Purpose.ORDER, 2, 9, index=1), random_words(1, Purpose.ORDER, 2, 9)).any()


def test_streams_of_other_seeds_purposes_and_epochs_share_no_word() -> None:
    streams = [random_words(seed, purpose, epoch, 50) for seed in (0, 1) for purpose in Purpose for epoch in (0, 1)]
    assert len(np.unique(streams)) == len(streams) * 50


def test_these_words_uniforms_and_orders_stay_for_ever() -> None:
    assert random_words(0, Purpose.WEIGHTS, 0, 3).tolist() == WORDS
    assert random_uniforms(3, Purpose.AUGMENT, 2, 2).tolist() == UNIFORMS
    order = random_order(1, Purpose.ORDER, 1, 10)
    assert (order.dtype, order.tolist()) == (np.int64, ORDER)


@pytest.mark.parametrize("word", [0, 1, 2**11, WORD])
def test_a_uniform_is_the_upper_53_bits_and_below_1(monkeypatch: pytest.MonkeyPatch, word: int) -> None:
    monkeypatch.setattr("lenscope.randomness.random_words", lambda *_: np.array([word], dtype=np.uint64))
    uniforms = random_uniforms(0, Purpose.WEIGHTS, 0, 1)
    assert uniforms.dtype == np.float64
    assert uniforms[0] == (word >> 11) / 2**53
    assert 0 <= uniforms[0] < 1


def test_equal_words_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lenscope.randomness.random_words", lambda *_: np.array([5, 1] * 50, dtype=np.uint64))
    assert random_order(0, Purpose.ORDER, 0, 100).tolist() == [*range(1, 100, 2), *range(0, 100, 2)]


def test_purposes_keep_their_numbers() -> None:
    assert {purpose.name: int(purpose) for purpose in Purpose} == {
        "WEIGHTS": 1, "ORDER": 2, "SPLIT": 3, "AUGMENT": 4, "CODES": 5, "RANDOM_KERNELS": 6,
        "COLOURS": 7, "SUBSET": 8, "NOISE": 9,
    }  # fmt: skip


WORDS = [15003734204198539638, 13859618513508960101, 12389738016430293093]
UNIFORMS = [0.06253692675104439, 0.7673400901662464]
ORDER = [3, 4, 6, 7, 0, 8, 5, 9, 2, 1]
