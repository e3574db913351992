"""The plain PyTorch LeNet that tests compare the native kernels with, and inputs without nearly tied pools."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from lenscope import native
from lenscope.nets.layers import Network
from lenscope.pytorch.nets.module import TableModule

SETS = native.load().instruction_sets()


@dataclass(frozen=True)
class Case:
    """Images with labels, a network's weights, and the results of PyTorch in float64."""

    images: np.ndarray  # uint8 (N, C, 32, 32)
    labels: np.ndarray  # int64 (N,)
    classes: int
    weights: np.ndarray  # float32, flat
    log_probabilities: np.ndarray
    loss: float
    gradient: dict[str, np.ndarray]


def flat(network: torch.nn.Module) -> np.ndarray:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).float().numpy()


def unflat(values: np.ndarray, network: torch.nn.Module) -> dict[str, np.ndarray]:
    sizes = [parameter.numel() for parameter in network.parameters()]
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return {name: part for (name, _), part in zip(network.named_parameters(), parts, strict=True)}


def random_network(channels: int, classes: int, seed: int = 0) -> TableModule:
    torch.manual_seed(seed)
    return TableModule(Network("lenet", channels, classes))


def clear_images(network: TableModule, count: int, seed: int = 0) -> np.ndarray:
    """Random images whose pools have a clear maximum, not nearly 0, so that float32 and float64 choose the same."""
    rng = np.random.default_rng(seed)
    kept: list[np.ndarray] = []
    while sum(map(len, kept)) < count:
        images = rng.integers(0, 256, (count, network.conv1.in_channels, 32, 32), dtype=np.uint8)
        kept.append(images[_clear(network.double(), images)])
    network.float()
    return np.concatenate(kept)[:count]


@torch.no_grad()
def _clear(network: TableModule, images: np.ndarray) -> np.ndarray:
    first = network.conv1(torch.from_numpy(images).double() / 255)
    second = network.conv2(F.max_pool2d(F.relu(first), 2))
    return (_gap(first) & _gap(second)).numpy()


def _gap(maps: torch.Tensor, least: float = 1e-5) -> torch.Tensor:
    windows = F.unfold(maps.flatten(0, 1)[:, None], 2, stride=2).transpose(1, 2)
    best = windows.sort(dim=2).values
    clear = ((best[..., 3] - best[..., 2] > least) | (best[..., 3] < -least)) & (best[..., 3].abs() > least)
    return clear.flatten(1).all(1).reshape(len(maps), -1).all(1)


def solve(network: TableModule, images: np.ndarray, labels: np.ndarray, classes: int) -> Case:
    """Outputs, loss and gradient of the float32 weights, computed in float64."""
    weights = flat(network)
    double = TableModule(Network("lenet", network.conv1.in_channels, classes)).double()
    double.load_state_dict({name: tensor.double() for name, tensor in network.state_dict().items()})
    log_probabilities = double(torch.from_numpy(images).double() / 255)
    loss = F.nll_loss(log_probabilities, torch.from_numpy(labels))
    loss.backward()
    gradient = {name: parameter.grad.numpy() for name, parameter in double.named_parameters()}
    return Case(images, labels, classes, weights, log_probabilities.detach().numpy(), loss.item(), gradient)


def trainer(case: Case, isa: str, *, threads: int = 2, optimizer: str = "adam", **settings: float):
    return native.load().Trainer(
        case.images,
        case.labels,
        case.classes,
        **{"momentum": 0.9, "weight_decay": 0.0, "seed": 0, "augmentation": (0, 0, 0, 0, 0, 4)} | settings,
        optimizer=optimizer,
        threads=threads,
        isa=isa,
    )


def evaluate(case: Case, isa: str, threads: int) -> np.ndarray:
    return native.load().evaluate(case.images, case.weights, case.classes, threads, isa)


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """The largest error, relative to the largest expected value."""
    return float(np.abs(got.ravel() - expected.ravel()).max() / np.abs(expected).max())
