"""PyTorch as others use it: the lecture's script, and the quickest plain way that we know of."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from lenscope.bench.task import RATE, Contestant, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lenscope.data.dataset import Dataset

TRIAL = 10  # steps of each way, twice, before the quickest is chosen
PART = 1_000  # images at a time in evaluation


class LectureNet(nn.Module):
    """The network as the lecture's notebook has it, in today's PyTorch; the same arithmetic as our `LeNet`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5)
        self.pool1 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.pool2 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (N, 10) of images in [0, 1], (N, 1, 32, 32)."""
        x = self.pool1(F.relu(self.conv1(x)))
        x = self.pool2(F.relu(self.conv2(x)))
        return self.classify(x)

    def classify(self, x: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of conv2's pooled maps."""
        x = F.relu(self.fc1(x.reshape(-1, 400)))
        x = F.relu(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)


class PooledFirstNet(LectureNet):
    """The same values with a quarter of the ReLUs: the greatest of four is taken before what is below zero goes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (N, 10) of images in [0, 1], (N, 1, 32, 32)."""
        x = F.relu(self.pool1(self.conv1(x)))
        x = F.relu(self.pool2(self.conv2(x)))
        return self.classify(x)


class PicturesOneByOne(TorchDataset[tuple[torch.Tensor, int]]):
    """Images as torchvision gives them with Resize(32) and ToTensor: through Pillow, each one each time."""

    def __init__(self, data: Dataset) -> None:
        self._images = [Image.fromarray(image) for image in data.images[:, 0]]
        self._labels = data.labels.tolist()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        resized = self._images[index].resize((32, 32), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(resized, copy=True))[None]
        return pixels.to(torch.float32).div(255), self._labels[index]


def lecture(task: Task, workers: int) -> Contestant:
    """The lecture's loop over a DataLoader with so many worker processes."""
    pictures = PicturesOneByOne(task.train)
    with _as_many_workers_as_asked():
        loader = DataLoader(pictures, batch_size=task.batch_size, shuffle=True, num_workers=workers)
    network = LectureNet()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    criterion = nn.NLLLoss()

    def epoch() -> float:
        running = 0.0
        with _as_many_workers_as_asked():
            batches = iter(loader)
        for inputs, labels in batches:
            optimizer.zero_grad()
            loss = criterion(network(inputs), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
        return running / len(loader)

    return Contestant(epoch)


def eager(task: Task) -> Contestant:
    """All bytes in memory, a fused Adam, and of four ways to lay out the network the one that is quickest here."""
    torch.set_num_threads(task.threads)
    network, channels_last = min(_WAYS, key=lambda way: _trial(task, *way))
    trained = network()
    note = f"{'channels last' if channels_last else 'channels first'}, {_WAYS[network, channels_last]}"
    return Contestant(
        eager_epoch(task.train, trained, task.batch_size, channels_last=channels_last),
        _eager_evaluation(task.test, trained, channels_last=channels_last),
        note=note,
    )


def compiled(task: Task) -> Contestant:
    """The same with `torch.compile`, which needs a C++ compiler and a minute."""
    network: nn.Module = torch.compile(PooledFirstNet())  # type: ignore[assignment]
    return Contestant(eager_epoch(task.train, network, task.batch_size))


def eager_epoch(
    data: Dataset, network: nn.Module, batch_size: int, *, channels_last: bool = False
) -> Callable[[], float]:
    """A plain loop over bytes in memory with a fused Adam; an epoch each time it is called, its mean loss returned."""
    images, labels = _in_memory(data)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network.to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)

    def epoch() -> float:
        batches = torch.split(torch.randperm(len(labels)), batch_size)
        running = 0.0
        for batch in batches:
            optimizer.zero_grad()
            inputs = images[batch].float().mul_(1 / 255).contiguous(memory_format=layout)
            loss = F.nll_loss(network(inputs), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            running += loss.item()
        return running / len(batches)

    return epoch


_WAYS: dict[tuple[type[LectureNet], bool], str] = {
    (LectureNet, False): "ReLU before pool",
    (LectureNet, True): "ReLU before pool",
    (PooledFirstNet, False): "pool before ReLU",
    (PooledFirstNet, True): "pool before ReLU",
}


def _trial(task: Task, network: type[LectureNet], channels_last: bool) -> float:  # noqa: FBT001 - a key of the table
    """Seconds of a few steps, the second time."""
    few = task.train.take(np.arange(min(len(task.train), TRIAL * task.batch_size)))
    epoch = eager_epoch(few, network(), task.batch_size, channels_last=channels_last)
    epoch()
    begun = perf_counter()
    epoch()
    return perf_counter() - begun


def _eager_evaluation(data: Dataset, network: nn.Module, *, channels_last: bool) -> Callable[[], float]:
    images, labels = _in_memory(data)
    layout = torch.channels_last if channels_last else torch.contiguous_format

    @torch.inference_mode()
    def evaluate() -> float:
        total = 0.0
        for pixels, right in zip(torch.split(images, PART), torch.split(labels, PART), strict=True):
            inputs = pixels.float().mul_(1 / 255).contiguous(memory_format=layout)
            total += F.nll_loss(network(inputs), right, reduction="sum").item()
        return total / len(labels)

    return evaluate


@contextmanager
def _as_many_workers_as_asked() -> Iterator[None]:
    """Without the advice to take fewer where there are fewer processors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        yield


def _in_memory(data: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    images = np.require(data.resized(32).images, requirements=["C", "W"])
    return torch.from_numpy(images), torch.from_numpy(data.labels.astype(np.int64))
