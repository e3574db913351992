"""Intervals and tests of means against scipy, and how often they err."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lenscope.insight.intervals import holm, paired_difference, prediction_interval, student_probability

EXPERIMENTS, PAIRS = 200, 20
MOST_FALSE_ALARMS = 17  # of 200 trials at 5 % no more with a probability of 98.8 %: stats.binom.cdf(17, 200, 0.05)
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


def test_a_prediction_interval_holds_the_next_value_95_times_of_100():
    drawn = np.random.default_rng(0).normal(size=(2000, 11))
    held = [low <= row[-1] <= high for row in drawn for low, high in [prediction_interval(row[:-1].tolist())]]
    assert abs(np.mean(held) - 0.95) < 0.015  # three standard errors


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_definition(p_values):
    adjusted = holm(p_values)
    ordered = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(ordered):
        expected = max(min(1, (len(p_values) - place) * p_values[ordered[place]]) for place in range(rank + 1))
        assert adjusted[index] == pytest.approx(expected)


def simulate(effect: float, comparisons: int) -> list[list[float]]:
    """Holm's p-values of experiments of 20 pairs a comparison, whose differences have a standard deviation of 1."""
    rng = np.random.default_rng(20)
    found = []
    for _ in range(EXPERIMENTS):
        gaps = rng.normal(effect, 1, (comparisons, PAIRS))
        found.append(holm([paired_difference(row.tolist(), [0.0] * PAIRS).p_value for row in gaps]))
    return found


@pytest.mark.parametrize("comparisons", [1, pytest.param(18, marks=pytest.mark.slow)])
def test_a_planted_null_is_found_no_oftener_than_one_time_in_twenty(comparisons):
    assert sum(min(p_values) < 0.05 for p_values in simulate(0.0, comparisons)) <= MOST_FALSE_ALARMS


@pytest.mark.parametrize("comparisons", [1, pytest.param(18, marks=pytest.mark.slow)])
def test_a_planted_effect_of_one_and_a_half_standard_deviations_is_found(comparisons):
    found = [p_value < 0.05 for p_values in simulate(1.5, comparisons) for p_value in p_values]
    assert np.mean(found) > 0.95
