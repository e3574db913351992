from __future__ import annotations

import pytest

from lenscope.insight.intervals import wilson_interval


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (5, 10, 0.2366, 0.7634), (9749, 10_000, 0.9716, 0.9778)],
)
def test_known_values(right, total, low, high):
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)


def test_of_no_trials_nothing_is_known():
    assert wilson_interval(0, 0) == (0, 1)


def test_a_higher_level_is_wider():
    usual, sure = wilson_interval(5, 10), wilson_interval(5, 10, z=2.5758)
    assert sure.low < usual.low
    assert sure.high > usual.high
