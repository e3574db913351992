"""What holds of every kernel's score."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lenscope.insight.operators import FAMILIES, bank, best_match

WEIGHTS = st.floats(-1, 1, width=32)
KERNELS = st.sampled_from([(2, 2), (3, 5), (5, 5), (7, 4)]).flatmap(
    lambda shape: hnp.arrays(np.float64, shape, elements=WEIGHTS)
)
FAMILY = st.sampled_from(FAMILIES)


@settings(max_examples=30)
@given(KERNELS, FAMILY)
def test_scores_and_p_values_lie_in_0_to_1_and_are_missing_for_constants_alone(kernel, family):
    match = best_match(kernel, family)
    if np.ptp(kernel) == 0:
        assert np.isnan(match.scores)
        assert np.isnan(match.p_values)
    elif np.ptp(kernel) > 1e-6:
        assert 0 <= match.scores <= 1
        assert 1e-4 <= match.p_values <= 1


@settings(max_examples=40)
@given(KERNELS, FAMILY, st.floats(1e-6, 1e6), st.floats(-10, 10), st.sampled_from([-1, 1]))
def test_neither_scale_nor_offset_change_the_score(kernel, family, scale, offset, sign):
    assume(np.ptp(kernel) > 1e-3)
    plain, other = best_match(kernel, family), best_match(sign * scale * (kernel + offset), family)
    assert abs(plain.scores - other.scores) < 1e-9
    templates = bank(*kernel.shape, family).templates
    pictures = [templates[match.templates] * match.signs for match in (plain, other)]
    centred = kernel - kernel.mean()
    own, others = ((centred * picture).sum() / np.linalg.norm(centred) for picture in pictures)
    assert abs(own - plain.scores) < 1e-9  # the picture has the kernel's sign
    assert abs(others - sign * plain.scores) < 1e-9  # and turns with it, whichever of equals it is
