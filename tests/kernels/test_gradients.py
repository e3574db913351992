"""The native forward pass and every parameter's gradient against plain PyTorch in float64."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from lenscope import native
from native_reference import (
    SETS,
    Case,
    clear_images,
    random_network,
    relative_error,
    solve,
    trainer,
    unflat,
)

BOUND = 2e-5
BATCHES = (1, 2, 3, 7, 16, 17, 50, 100, 101, pytest.param(1000, marks=pytest.mark.slow))


@cache
def random_case(batch: int, channels: int, classes: int) -> Case:
    """Labels of the lower half of the classes, or images' gradients cancel: those of two classes summed to 0.5 %."""
    network = random_network(channels, classes)
    labels = np.random.default_rng(1).integers(0, classes, batch) // 2
    return solve(network, clear_images(network, batch), labels, classes)


@cache
def whole_number_case() -> Case:
    """Weights of −1, 0 and 1, images of 0 and 255 (which scale to 1 exactly): convolutions without rounding, with ties.

    The second pool sees sums of whole numbers too, and a dead channel and an empty image are among them.
    """
    network = random_network(1, 10)
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for layer in (network.conv1, network.conv2):
            layer.weight.copy_(torch.randint(-1, 2, layer.weight.shape, generator=rng).float())
            layer.bias.copy_(torch.randint(-1, 2, layer.bias.shape, generator=rng).float())
        network.conv2.weight[4], network.conv2.bias[4] = 0, -1
        network.fc1.weight.mul_(0.05)
    images = (np.random.default_rng(2).integers(0, 4, (20, 1, 32, 32)) == 0).astype(np.uint8) * 255
    images[7] = 0
    images[8] = 255
    return solve(network, images, np.arange(20) % 10, 10)


def check(case: Case, isa: str, threads: int = 2) -> None:
    loss, gradient = trainer(case, isa, threads=threads).gradient(case.weights, np.arange(len(case.labels)), 1)
    assert loss == pytest.approx(case.loss, rel=1e-6)
    network = random_network(case.images.shape[1], case.classes)
    for name, got in unflat(gradient, network).items():
        assert relative_error(got, case.gradient[name]) <= BOUND, name
    log_probabilities = native.load().evaluate(case.images, case.weights, case.classes, threads, isa)
    assert relative_error(log_probabilities, case.log_probabilities) <= BOUND


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("classes", [2, 10, 47])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch", BATCHES)
def test_gradients_are_pytorchs_in_float64(batch: int, channels: int, classes: int, isa: str) -> None:
    check(random_case(batch, channels, classes), isa)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("classes", [1, 16, 1000])
def test_other_numbers_of_classes(classes: int, isa: str) -> None:
    check(random_case(9, 1, classes), isa) if classes > 1 else check_single_class(isa)


def check_single_class(isa: str) -> None:
    case = random_case(9, 1, 1)
    loss, gradient = trainer(case, isa).gradient(case.weights, np.arange(9), 1)
    assert loss == 0
    assert not gradient.any()


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_of_equals_wins_and_the_dead_stay_dead(isa: str, threads: int) -> None:
    check(whole_number_case(), isa, threads)


def test_the_case_of_whole_numbers_has_ties_and_dead_units() -> None:
    case = whole_number_case()
    assert not case.gradient["conv2.weight"][4].any()  # the dead channel
    network = random_network(1, 10)
    weights = unflat(case.weights, network)
    maps = torch.conv2d(
        torch.from_numpy(case.images).float() / 255,
        torch.from_numpy(weights["conv1.weight"]).reshape(6, 1, 5, 5),
        torch.from_numpy(weights["conv1.bias"]),
    )
    windows = torch.nn.functional.unfold(maps.flatten(0, 1)[:, None], 2, stride=2)
    best = windows.max(1).values
    tied = ((windows == best[:, None]).sum(1) > 1) & (best > 0)
    assert tied.float().mean() > 0.1
    assert (maps == maps.round()).all()
