"""The hand-written pass against autograd over the plain layers: log-probabilities, every gradient, ties."""

import pytest
import torch
from torch.nn import functional as F

from lenscope.nets.catalogue import build
from lenscope.nets.lenet_pass import LeNetPass


def plain(network, images, labels, share):
    network.zero_grad()
    log_probabilities = network(images.to(next(network.parameters()).dtype) * (1 / 255))
    loss = share * F.nll_loss(log_probabilities, labels, reduction="sum")
    loss.backward()
    return log_probabilities.detach(), loss.item(), [parameter.grad.clone() for parameter in network.parameters()]


def quick(network, images, labels, share):
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    way = LeNetPass(network, len(images), gradients=True)
    log_probabilities = way.log_probabilities(images).clone()
    loss = way.add_gradients(labels, share)
    return log_probabilities, loss, [parameter.grad.clone() for parameter in network.parameters()]


def batch(count, channels, classes, levels=256):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, levels, (count, channels, 32, 32), generator=generator, dtype=torch.uint8)
    return images, torch.randint(0, classes, (count,), generator=generator)


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 47), (1, 2)])
def test_equal_to_autograd_in_float64(count, channels, classes):
    network = build("lenet", channels, classes, seed=count).double()
    data = batch(count, channels, classes)
    for got, expected in zip(quick(network, *data, 0.01), plain(network, *data, 0.01), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-13)


def test_equal_to_autograd_in_float32_on_real_images(mnist):
    images = torch.from_numpy(mnist.train.take(torch.arange(100).numpy()).resized(32).images)
    labels = torch.from_numpy(mnist.train.labels[:100]).long()
    network = build("lenet", 1, 10, seed=0)
    for got, expected in zip(quick(network, images, labels, 0.01), plain(network, images, labels, 0.01), strict=True):
        torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-7)


def test_the_first_of_equals_wins_and_dead_units_get_nothing():
    network = build("lenet", 1, 10, seed=3).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_((parameter * 20).round().clamp(-1, 1) if name.startswith("conv") else parameter)
    images, labels = batch(20, 1, 10, levels=2)
    images *= 255  # sums of whole numbers, so that windows are full of equals
    for got, expected in zip(quick(network, images, labels, 1.0), plain(network, images, labels, 1.0), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)


def test_gradients_are_added_to_what_is_there():
    network = build("lenet", 1, 10, seed=0).double()
    first, second = batch(4, 1, 10), batch(4, 1, 10, levels=99)
    expected = [a + b for a, b in zip(plain(network, *first, 0.125)[2], plain(network, *second, 0.125)[2], strict=True)]
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    way = LeNetPass(network, 4, gradients=True)
    for images, labels in (first, second):
        way.log_probabilities(images)
        way.add_gradients(labels, 0.125)
    torch.testing.assert_close([parameter.grad for parameter in network.parameters()], expected)


def test_weights_are_read_anew_each_time():
    network = build("lenet", 1, 10, seed=0)
    images, _ = batch(3, 1, 10)
    way = LeNetPass(network, 3, gradients=False)
    before = way.log_probabilities(images).clone()
    with torch.no_grad():
        network.conv1.weight.mul_(-1)
    after = way.log_probabilities(images)
    torch.testing.assert_close(after, network(images / 255).detach(), rtol=1e-5, atol=1e-6)
    assert not torch.equal(before, after)
