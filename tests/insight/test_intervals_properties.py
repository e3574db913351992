"""What holds of every Wilson interval."""

from __future__ import annotations

from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from lenscope.insight.intervals import Z95, wilson_interval

COUNTS = st.integers(1, 1_000_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(COUNTS)
def test_it_holds_the_share_and_lies_in_0_to_1(counts):
    right, total = counts
    low, high = wilson_interval(right, total)
    assert 0 <= low < high <= 1
    assert low - 1e-12 <= right / total <= high + 1e-12


@given(COUNTS, st.sampled_from([0.5, 1.0, Z95, 2.5758]))
def test_its_ends_solve_the_score_equation(counts, z):
    """Wilson's definition: at either end p, the share lies z standard errors of p away."""
    right, total = counts
    share = right / total
    for end in wilson_interval(right, total, z):
        assert isclose((share - end) ** 2, z * z * end * (1 - end) / total, rel_tol=1e-6, abs_tol=1e-12)
