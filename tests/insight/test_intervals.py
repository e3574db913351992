"""Intervals and tests of means and shares against scipy and known values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lenscope.insight.intervals import (
    holm,
    paired_difference,
    prediction_interval,
    student_probability,
    wilson_interval,
)

VALUES = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


@given(VALUES, st.integers(0, 2**32))
def test_a_paired_difference_is_scipys(values, seed):
    others = np.random.default_rng(seed).normal(size=len(values)).tolist()
    got = paired_difference(values, others)
    expected = stats.ttest_rel(values, others)
    assert got.mean == pytest.approx(np.mean(np.subtract(values, others)), abs=1e-12)
    assert got.p_value == pytest.approx(expected.pvalue, abs=1e-9)
    ours, theirs = (np.subtract(bounds, got.mean) for bounds in (got.interval, expected.confidence_interval()))
    assert ours == pytest.approx(theirs, rel=1e-7, abs=1e-9)  # a bound itself may be a small rest of large numbers
    assert got.n == len(values)


def test_equal_pairs_have_no_difference_and_one_pair_no_interval():
    assert paired_difference([1.0, 2.0], [1.0, 2.0]).p_value == 1
    assert paired_difference([1.0, 2.0], [0.0, 1.0]).p_value == 0
    alone = paired_difference([1.0], [0.5])
    assert (alone.mean, alone.p_value, alone.interval) == (0.5, 1.0, (-np.inf, np.inf))


@pytest.mark.parametrize("freedom", [1, 2, 5, 19, 200])
def test_students_distribution_is_scipys(freedom):
    for t in (0.0, 0.1, 1.0, 2.5, 10.0):
        assert student_probability(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-9)


@given(VALUES)
def test_a_prediction_interval_is_that_of_the_textbook(values):
    spread = np.std(values, ddof=1) * np.sqrt(1 + 1 / len(values))
    half = stats.t.ppf(0.975, len(values) - 1) * spread
    middle = np.mean(values)
    assert prediction_interval(values) == pytest.approx((middle - half, middle + half), rel=1e-7, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_definition(p_values):
    adjusted = holm(p_values)
    ordered = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(ordered):
        expected = max(min(1, (len(p_values) - place) * p_values[ordered[place]]) for place in range(rank + 1))
        assert adjusted[index] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (5, 10, 0.2366, 0.7634), (9749, 10_000, 0.9716, 0.9778)],
)
def test_known_values(right, total, low, high):
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)


def test_of_no_trials_nothing_is_known():
    assert wilson_interval(0, 0) == (0, 1)
