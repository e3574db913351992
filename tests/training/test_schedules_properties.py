"""The learning rate is a function of the step alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenscope.training.schedules import learning_rates

SCHEDULES = ("constant", "cosine", "onecycle")


@given(st.sampled_from(SCHEDULES), st.floats(1e-8, 10), st.integers(1, 300), st.data())
def test_any_split_gives_the_same_rates(schedule, peak, total, data):
    middle = data.draw(st.integers(0, total))
    whole = learning_rates(schedule, peak, total, 0, total)
    parts = learning_rates(schedule, peak, total, 0, middle), learning_rates(schedule, peak, total, middle, total)
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert whole.dtype == np.float64


@given(st.sampled_from(SCHEDULES), st.floats(1e-8, 10), st.integers(1, 300))
def test_rates_are_finite_never_negative_and_at_most_the_peak(schedule, peak, total):
    rates = learning_rates(schedule, peak, total, 0, total)
    assert len(rates) == total
    assert np.isfinite(rates).all()
    assert (rates >= 0).all()
    assert (rates <= peak * (1 + 1e-12)).all()


@pytest.mark.parametrize("total", range(1, 7))
def test_a_onecycle_of_up_to_three_steps_is_constant(total):
    rates = learning_rates("onecycle", 0.5, total, 0, total)
    assert (len(set(rates)) == 1) == (total <= 3)
    assert rates[0] == 0.5 or total > 3


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(st.integers(0, 50))
def test_no_steps_give_no_rates(schedule, start):
    assert learning_rates(schedule, 0.1, 50, start, start).shape == (0,)
