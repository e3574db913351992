from __future__ import annotations

import math

import numpy as np
import pytest

from lenscope.insight.drift import choose_frames, measure_drift
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.runs.files.film import Film


def film_of(*, steps, seed=0, **shapes):
    """A random walk of kernels of these shapes."""
    random = np.random.default_rng(seed)
    kernels = {
        name: random.normal(size=(len(steps), *shape)).cumsum(0).astype(np.float32) for name, shape in shapes.items()
    }
    return Film(np.array(steps), kernels)


def walk(path):
    """A film whose only layer starts at length 1 and goes so far at each snapshot, on a straight line."""
    frames = np.zeros((len(path), 1, 1, 1, 2))
    frames[..., 0], frames[..., 1] = 1, np.reshape(path, (-1, 1, 1, 1))
    return Film(np.arange(len(path)), {"conv1": frames.astype(np.float32)})


def length(values):
    return math.sqrt(sum(value * value for value in values.ravel().tolist()))


def check(drift, at, first, last, before, epochs):
    """One part of a layer against sums over its weights."""
    start, end = length(first), length(last)
    product = sum(a * b for a, b in zip(first.ravel().tolist(), last.ravel().tolist(), strict=True))
    assert drift.change[at] == pytest.approx(length(last.astype(float) - first) / start)
    assert drift.cosine[at] == pytest.approx(product / (start * end))
    assert drift.per_epoch[at] == pytest.approx(length(last.astype(float) - before) / start / epochs)


def test_the_movement_of_kernels_and_slices_is_that_of_a_loop():
    film = film_of(steps=[0, 3, 20, 26], conv1=(6, 1, 5, 5), conv2=(4, 3, 2, 3))
    layers = measure_drift(film, steps_per_epoch=4)
    assert list(layers) == ["conv1", "conv2"]
    for name, frames in film.kernels.items():
        out, inputs = frames.shape[1:3]
        for values, shape in [(layers[name].kernels, (out,)), (layers[name].slices, (out, inputs))]:
            for array in (values.change, values.cosine, values.per_epoch):
                assert (array.shape, array.dtype) == (shape, np.float64)
        for k in range(out):
            check(layers[name].kernels, k, frames[0, k], frames[-1, k], frames[-2, k], 6 / 4)
            for c in range(inputs):
                check(layers[name].slices, (k, c), frames[0, k, c], frames[-1, k, c], frames[-2, k, c], 6 / 4)


def test_a_single_snapshot_has_no_drift_per_epoch():
    layer = measure_drift(film_of(steps=[0], conv1=(6, 1, 5, 5)), 600)["conv1"]
    for drift, shape in [(layer.kernels, (6,)), (layer.slices, (6, 1))]:
        np.testing.assert_array_equal(drift.change, np.zeros(shape))
        np.testing.assert_allclose(drift.cosine, np.ones(shape))
        assert drift.per_epoch is None


def test_a_second_snapshot_of_the_last_step_is_skipped():
    film = film_of(steps=[0, 5, 9, 9], conv1=(2, 1, 3, 3))
    frames = film.kernels["conv1"]
    drift = measure_drift(film, steps_per_epoch=2)["conv1"].kernels
    check(drift, 1, frames[0, 1], frames[-1, 1], frames[1, 1], 4 / 2)


def test_what_starts_at_zero_has_no_relative_change_and_no_cosine():
    film = film_of(steps=[0, 1], conv1=(3, 2, 2, 2))
    frames = film.kernels["conv1"]
    frames[0, 0] = 0
    frames[:, 1, 1] = 0
    frames[1, 2, 0] = 0
    layer = measure_drift(film, 1)["conv1"]
    for values in (layer.kernels.change, layer.kernels.cosine, layer.kernels.per_epoch):
        assert np.isnan(values).tolist() == [True, False, False]
    missing = [[True, True], [False, True], [False, False]]
    assert np.isnan(layer.slices.change).tolist() == np.isnan(layer.slices.per_epoch).tolist() == missing
    assert np.isnan(layer.slices.cosine).tolist() == [
        [True, True],
        [False, True],
        [True, False],
    ]  # nor where it ends so
    assert layer.slices.change[2, 0] == pytest.approx(1)


def test_unconnected_slices_of_c3_are_missing():
    network = Network("lenet1998")
    kernels = network.convolutions(initial_weights(network, 0))
    film = Film(np.array([0, 1]), {name: np.stack([values, 2 * values]) for name, values in kernels.items()})
    layer = measure_drift(film, 1)["conv2"]
    assert np.isnan(layer.slices.change).sum() == 16 * 6 - 60
    np.testing.assert_allclose(layer.slices.change[~np.isnan(layer.slices.change)], 1)
    np.testing.assert_allclose(layer.kernels.change, 1)


# Frames


@pytest.mark.parametrize("count", [1, 60])
def test_a_short_film_is_shown_whole(count):
    frames = choose_frames(film_of(steps=range(count), conv1=(6, 1, 5, 5)))
    assert frames.tolist() == list(range(count))
    assert frames.dtype == np.int64


def test_layers_count_relative_to_their_start():
    """conv2, a thousand times as large, stands still in relation to itself while conv1 goes."""
    one = walk([*np.arange(0, 51.0), *np.full(50, 50.0)]).kernels["conv1"]
    two = walk([*np.zeros(51), *np.arange(1, 51.0)]).kernels["conv1"] * np.float32(1000)
    frames = choose_frames(Film(np.arange(101), {"conv1": one, "conv2": two}), most=5)
    assert frames.tolist() == [0, 25, 50, 75, 100]


@pytest.mark.parametrize(
    ("path", "expected"),
    [(np.zeros(100), [0, 99]), (np.r_[0, np.full(99, 5)], [0, 1, 99]), (np.r_[np.zeros(99), 5], [0, 98, 99])],
)
def test_where_nothing_moves_there_are_no_frames_but_the_first_and_the_last(path, expected):
    assert choose_frames(walk(path), most=7).tolist() == expected


def test_a_layer_that_starts_at_zero_counts_in_absolute_terms():
    frames = walk(np.arange(101.0)).kernels["conv1"]
    frames[..., 0] = 0
    assert choose_frames(Film(np.arange(101), {"conv1": frames}), most=5).tolist() == [0, 25, 50, 75, 100]
