from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from lenscope.config import TrainConfig
from lenscope.errors import UsageError
from lenscope.insight.kernels import compare_kernels, film_kernels, is_coloured
from lenscope.runs.files.film import Film


def test_conv1_is_a_row_of_its_six_kernels(tiny_run):
    kernels = compare_kernels(tiny_run)
    initial, trained = (tiny_run.weights(which)["conv1.weight"] for which in ("initial", "final"))
    assert kernels.layer == "conv1"
    assert kernels.title == "each kernel"
    assert kernels.labels == tuple(f"kernel {number}" for number in range(6))
    np.testing.assert_array_equal(kernels.initial, initial[:, 0])
    np.testing.assert_array_equal(kernels.trained, trained[:, 0])
    np.testing.assert_array_equal(kernels.difference, trained[:, 0] - initial[:, 0])
    assert np.abs(kernels.difference).max() > 0


@pytest.mark.parametrize("number", [0, 15])
def test_conv2_is_the_input_channels_of_one_kernel(tiny_run, number):
    kernels = compare_kernels(tiny_run, "conv2", number)
    assert kernels.title == f"kernel {number} of 16, its input channels"
    assert kernels.labels == tuple(f"channel {channel}" for channel in range(6))
    np.testing.assert_array_equal(kernels.initial, tiny_run.weights("initial")["conv2.weight"][number])
    np.testing.assert_array_equal(kernels.trained, tiny_run.weights()["conv2.weight"][number])


@pytest.mark.parametrize("largest", ["initial", "trained", "difference"])
def test_the_scale_is_the_largest_magnitude_of_the_whole_layer(largest):
    first = np.zeros((2, 3, 5, 5), np.float32)
    last = np.zeros((2, 3, 5, 5), np.float32)
    if largest == "initial":
        first[1, 2, 0, 0], last[1, 2, 0, 0] = -3, -1
    elif largest == "trained":
        first[1, 2, 0, 0], last[1, 2, 0, 0] = 1, 3
    else:
        first[1, 2, 0, 0], last[1, 2, 0, 0] = 1, -2
    film = Film(np.array([0, 9]), {"conv2": np.stack([first, last])})
    run = SimpleNamespace(film=film, config=TrainConfig(), data=SimpleNamespace(train_images=60))
    for kernel in (0, 1):
        assert compare_kernels(run, "conv2", kernel).scale == 3
        assert isinstance(compare_kernels(run, "conv2", kernel).scale, float)


def test_of_colour_images_conv1_is_its_kernels_with_three_parts(colour_run):
    kernels = compare_kernels(colour_run, "conv1")
    assert kernels.coloured
    assert kernels.labels == tuple(f"kernel {number}" for number in range(6))
    assert kernels.title == "each kernel, in colour and by channel"
    np.testing.assert_array_equal(kernels.trained, colour_run.weights()["conv1.weight"])
    assert kernels.match.scores.shape == (6, 3)
    assert kernels.templates.shape == (6, 3, 5, 5)
    assert np.abs(kernels.templates).max((2, 3)).tolist() == [[1, 1, 1]] * 6
    centred = kernels.trained - kernels.trained.mean((2, 3), keepdims=True)
    assert ((kernels.templates * centred).sum((2, 3)) > 0).all()  # each with its own part's sign


def test_the_film_of_colour_images_shows_the_same_kernels(colour_run):
    film = film_kernels(colour_run)
    assert film.frames.shape[1:] == (6, 3, 5, 5)
    np.testing.assert_array_equal(film.frames[-1], compare_kernels(colour_run).trained)


def test_a_later_layer_of_three_channels_is_not_in_colour(colour_run):
    assert not compare_kernels(colour_run, "conv2").coloured
    assert not is_coloured("conv2", 3)
    assert not is_coloured("conv1", 1)


def test_a_layer_that_is_not_there_is_named_with_those_that_are(tiny_run):
    with pytest.raises(UsageError, match=r"^unknown layer 'conv3'; did you mean 'conv\d'\? known: conv1, conv2$"):
        compare_kernels(tiny_run, "conv3")


@pytest.mark.parametrize(("layer", "number", "count"), [("conv1", 6, 6), ("conv2", 16, 16), ("conv2", -1, 16)])
def test_a_kernel_that_is_not_there_is_refused(tiny_run, layer, number, count):
    with pytest.raises(UsageError, match=f"^--kernel {number}: {layer} has {count} kernels, 0 to {count - 1}$"):
        compare_kernels(tiny_run, layer, number)
