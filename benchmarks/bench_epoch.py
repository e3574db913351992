"""Seconds an epoch: Lenscope's torch engine, PyTorch eager with tensors in memory, and the lecture's own script.

    python benchmarks/bench_epoch.py            five rounds, printed
    python benchmarks/bench_epoch.py --save     and appended to benchmarks/results/epoch.csv

All train the same LeNet on the bundled MNIST with Adam at 1e-4 and batches of 100, one after another in each round, so
that a slow minute of the machine strikes all alike. An epoch is 600 updates without evaluation. The first round is not
counted. Our engine is there twice: with the LeNet's own pass, as it is used, and through autograd, as for any network.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import lenscope
from lenscope.environment import package_version, processor_name, usable_processors
from lenscope.training.torch_engine import TorchEngine

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results" / "epoch.csv"


class LectureNet(nn.Module):
    """The network as the lecture's notebook writes it, for today's PyTorch."""

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
        """Log-probabilities."""
        x = self.pool1(F.relu(self.conv1(x)))
        x = self.pool2(F.relu(self.conv2(x)))
        x = x.view(-1, 400)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)


class PicturesOneByOne(Dataset[tuple[torch.Tensor, int]]):
    """MNIST as torchvision gives it with Resize(32) and ToTensor: Pillow for each image, each time."""

    def __init__(self, data: lenscope.Dataset) -> None:
        self._images = [Image.fromarray(image) for image in data.images[:, 0]]
        self._labels = data.labels.tolist()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        resized = self._images[index].resize((32, 32), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(resized, copy=True))[None]
        return pixels.to(torch.float32).div(255), self._labels[index]


def lecture_script(data: lenscope.Splits, workers: int) -> Callable[[], float]:
    """The lecture's loop over a DataLoader; its loss an image."""
    loader = DataLoader(PicturesOneByOne(data.train), batch_size=100, shuffle=True, num_workers=workers)
    network = LectureNet()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    criterion = nn.NLLLoss()

    def epoch() -> float:
        running = 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(network(inputs), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
        return running / len(loader)

    return epoch


def eager_in_memory(data: lenscope.Splits, network: LectureNet) -> Callable[[], float]:
    """Plain PyTorch at its best: bytes in memory, fused Adam, a batch by indexing."""
    images = torch.from_numpy(data.train.resized(32).images)
    labels = torch.from_numpy(data.train.labels.astype(np.int64))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)

    def epoch() -> float:
        running = 0.0
        for batch in torch.split(torch.randperm(len(labels)), 100):
            optimizer.zero_grad()
            loss = F.nll_loss(network(images[batch].float().mul_(1 / 255)), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            running += loss.item()
        return running / 600

    return epoch


class AutogradLeNet(lenscope.LeNet):
    """A LeNet that the torch engine does not know: it goes through autograd, as any network does."""


def lenscope_torch_engine(data: lenscope.Splits, network: lenscope.LeNet) -> Callable[[], float]:
    """Our torch engine, called as the training loop calls it."""
    engine = TorchEngine(network, data.train.resized(32), lenscope.TrainConfig(device="cpu"))

    def epoch() -> float:
        order = np.random.default_rng(0).permutation(len(data.train))
        batches = [order[start : start + 100] for start in range(0, len(order), 100)]
        losses = [engine.run(batches[at : at + 5], [1e-4] * 5, lambda: False) for at in range(0, 600, 5)]
        return float(np.concatenate(losses).mean())

    return epoch


def measure(rounds: int) -> list[dict[str, Any]]:
    """Seconds an epoch of each contestant, as rows."""
    data = lenscope.load("mnist")
    contestants = {
        "lenscope, torch engine": lenscope_torch_engine(data, lenscope.LeNet()),
        "lenscope, torch engine through autograd": lenscope_torch_engine(data, AutogradLeNet()),
        "PyTorch eager, bytes in memory, fused Adam": eager_in_memory(data, LectureNet()),
        "the lecture's script, 2 workers": lecture_script(data, workers=2),
        "the lecture's script, 4 workers": lecture_script(data, workers=4),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, epoch in contestants.items():
            begun = time.perf_counter()
            loss = epoch()
            took = time.perf_counter() - begun
            print(f"round {number}  {name:<45} {took:6.2f} s  loss {loss:.4f}")
            if number:
                seconds[name].append(took)
    own = statistics.median(seconds["lenscope, torch engine"])
    return [_row(name, times, own) for name, times in seconds.items()]


def _row(name: str, times: list[float], own: float) -> dict[str, Any]:
    median = statistics.median(times)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{usable_processors()} cores of {processor_name()}",
        "torch": package_version("torch"),
        "what": name,
        "median_seconds": f"{median:.2f}",
        "least_seconds": f"{min(times):.2f}",
        "most_seconds": f"{max(times):.2f}",
        "epochs": len(times),
        "lenscope_share": f"{own / median:.2f}",
    }


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help=f"append the rows to {RESULTS.name}")
    options = parser.parse_args()
    rows = measure(options.rounds)
    for row in rows:
        spread = f"({row['least_seconds']} to {row['most_seconds']})"
        print(
            f"{row['what']:<45} {row['median_seconds']:>6} s {spread:<16} lenscope takes {row['lenscope_share']} of it"
        )
    if options.save:
        new = not RESULTS.exists()
        with RESULTS.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
