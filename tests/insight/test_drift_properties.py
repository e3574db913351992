"""What holds of the frames that are chosen of any film, and of any drift."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lenscope.insight.drift import choose_frames
from lenscope.runs.files.film import Film

WEIGHTS = st.floats(-2, 2, width=16)
FILMS = st.integers(1, 40).flatmap(
    lambda count: hnp.arrays(np.float32, (count, 2, 3, 2, 2), elements=WEIGHTS).map(
        lambda frames: Film(np.arange(count), {"conv1": frames})
    )
)


@given(FILMS, st.integers(2, 45))
def test_first_and_last_are_among_the_frames_and_no_more_than_asked_for(film, most):
    frames = choose_frames(film, most)
    assert (frames[0], frames[-1]) == (0, len(film) - 1)
    assert len(frames) <= most
    assert (np.diff(frames) > 0).all()


@given(FILMS, st.integers(2, 45))
def test_each_wanted_place_on_the_path_has_a_frame_as_near_as_any_snapshot(film, most):
    rows = film.kernels["conv1"].reshape(len(film), -1).astype(float)
    path = [0.0]
    for before, after in pairwise(rows):
        path.append(path[-1] + float(np.sqrt(((after - before) ** 2).sum())))
    chosen = choose_frames(film, most)
    for place in np.linspace(0, path[-1], most):
        nearest = min(abs(place - at) for at in path)
        assert min(abs(place - path[frame]) for frame in chosen) <= nearest + 1e-4 * (1 + path[-1])
