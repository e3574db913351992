"""The autoencoder's own pass does what autograd does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lenscope.config import Autoencoding
from lenscope.nets.autoencoder_pass import AutoencoderPass
from lenscope.nets.catalogue import build
from lenscope.training.reconstruction import penalty

SPARSE = Autoencoding(kl=0.3, target=0.1, l1=0.2)


def images_of(channels: int, count: int) -> torch.Tensor:
    drawn = np.random.default_rng(channels).integers(0, 256, (count, channels, 32, 32), dtype=np.uint8)
    return torch.from_numpy(drawn)


def prepared(channels: int) -> torch.nn.Module:
    network = build("autoencoder", channels, 10, 3).double()
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return network


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("how", [Autoencoding(), SPARSE], ids=str)
def test_loss_and_gradients_are_autograds(channels, count, noisy, how) -> None:
    network, images = prepared(channels), images_of(channels, count)
    given = images.double() / 255
    seen = given * (torch.arange(given.numel()).view_as(given) % 3 > 0) if noisy else given
    code = network.encode(seen, 0)
    errors = (network.decode(code, 0) - given).square().flatten(1).mean(1)
    loss = 0.25 * (errors + penalty(code, how)).sum()
    loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    network.zero_grad(set_to_none=False)
    way = AutoencoderPass(network, count, gradients=True)
    for times in (1, 2):  # it adds, and keeps nothing of what was before
        got = way.add_gradients(images, seen if noisy else None, lambda code: penalty(code, how), 0.25)
        assert got == pytest.approx(loss.item(), rel=1e-12)
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(parameter.grad, times * expected[name], rtol=1e-9, atol=1e-12)


def test_errors_are_those_of_the_plain_network_and_weights_are_read_anew() -> None:
    network, images = prepared(1), images_of(1, 5)
    way = AutoencoderPass(network, 5, gradients=False)
    for _ in range(2):
        given = images.double() / 255
        expected = (network(given) - given).square().flatten(1).mean(1)
        torch.testing.assert_close(way.errors(images), expected.detach())
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01)
