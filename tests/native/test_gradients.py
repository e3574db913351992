"""The native forward pass and every parameter's gradient against plain PyTorch in float64."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from engines import never
from native_reference import (
    SETS,
    Case,
    clear_images,
    evaluate,
    random_network,
    relative_error,
    solve,
    trainer,
    unflat,
)

BOUND = 2e-5
SHAPES = [  # (images, channels, classes): blocks of 8 and shards of 12 with every kind of rest, padded and full rows
    (1, 1, 2),
    (7, 3, 47),
    (16, 2, 16),
    (17, 1, 10),
    (50, 1, 47),
    (101, 3, 10),
    (9, 1, 1000),
    (300, 1, 10),  # 48 shards
    (1000, 1, 10),  # and two micro-batches
]


@cache
def random_case(images: int, channels: int, classes: int) -> Case:
    """Labels of the lower half of the classes: with all labels the images' gradients cancel (two classes: to 0.5 %)."""
    network = random_network(channels, classes)
    labels = np.random.default_rng(1).integers(0, classes, images) // 2
    return solve(network, clear_images(network, images), labels, classes)


def gradient_of(case: Case, isa: str, threads: int = 2) -> tuple[float, np.ndarray]:
    """The loss and the gradient of all images: a step at a rate that makes the weights' rounding small."""
    rate, weights, count = 2.0**12, case.weights.copy(), len(case.labels)
    own = trainer(case, isa, threads=threads, optimizer="sgd")
    [loss] = own.run(weights, np.arange(count), np.array([count]), np.array([rate]), 1, never)
    return loss, (case.weights.astype(np.float64) - weights) / rate


def check(case: Case, isa: str, threads: int = 2) -> None:
    loss, gradient = gradient_of(case, isa, threads)
    assert loss == pytest.approx(case.loss, rel=1e-6)
    network = random_network(case.images.shape[1], case.classes)
    for name, got in unflat(gradient, network).items():
        assert relative_error(got, case.gradient[name]) <= BOUND, name
    assert relative_error(evaluate(case, isa, threads), case.log_probabilities) <= BOUND


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_are_pytorchs_in_float64(shape: tuple[int, int, int], isa: str) -> None:
    check(random_case(*shape), isa)


@pytest.mark.parametrize("isa", SETS)
def test_a_single_class_has_no_loss_and_no_gradient(isa: str) -> None:
    case = random_case(9, 1, 1)
    loss, gradient = gradient_of(case, isa)
    assert loss == 0
    assert not gradient.any()


@pytest.mark.parametrize("isa", SETS)
def test_the_first_of_equals_wins_and_dead_units_have_no_gradient(isa: str) -> None:
    """Weights of −1, 0 and 1, pixels of 0 and 1: convolutions without rounding, whose pools have ties."""
    network = random_network(1, 10)
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for layer in (network.conv1, network.conv2):
            layer.weight.copy_(torch.randint(-1, 2, layer.weight.shape, generator=rng).float())
            layer.bias.copy_(torch.randint(-1, 2, layer.bias.shape, generator=rng).float())
        network.conv2.weight[4], network.conv2.bias[4] = 0, -1  # a dead channel
        network.fc1.weight.mul_(0.05)
    images = (np.random.default_rng(2).integers(0, 4, (20, 1, 32, 32)) == 0).astype(np.uint8) * 255
    images[7], images[8] = 0, 255
    case = solve(network, images, np.arange(20) % 10, 10)
    assert not case.gradient["conv2.weight"][4].any()
    with torch.no_grad():
        maps = network.conv1(torch.from_numpy(images) / 255)
    windows = torch.nn.functional.unfold(maps.flatten(0, 1)[:, None], 2, stride=2)
    best = windows.max(1).values
    assert (((windows == best[:, None]).sum(1) > 1) & (best > 0)).float().mean() > 0.1
    check(case, isa, threads=3)
