"""What the tests of experiments share: a small set of digits in a folder, and progress that records and disturbs."""

from __future__ import annotations

import multiprocessing
import signal
import time
from typing import TYPE_CHECKING

import pytest

from fixtures_data import write_idx
from lenscope.config import TrainConfig
from lenscope.lab.execution.pool import NullProgress
from lenscope.lab.tables.rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.data.dataset import Splits


@pytest.fixture(scope="session")
def digits(mnist, tmp_path_factory) -> str:
    """A folder of 60 training and 20 test images, which each process loads for itself."""
    return str(write_digits(tmp_path_factory.mktemp("digits"), mnist, 60, 20))


def write_digits(folder: Path, splits: Splits, train: int, test: int) -> Path:
    """Write the first images of both splits as IDX files; without test images their files are left out."""
    for part, dataset, count in (("train", splits.train, train), ("t10k", splits.test, test)):
        if count:
            write_idx(folder / f"{part}-images-idx3-ubyte", dataset.images[:count, 0])
            write_idx(folder / f"{part}-labels-idx1-ubyte", dataset.labels[:count])
    return folder


@pytest.fixture
def no_plots(monkeypatch):
    """Draw no pictures, which takes longer than these runs."""
    monkeypatch.setattr("lenscope.lab.directory._displays", lambda _: {})


def config(digits: str, **settings: object) -> TrainConfig:
    return TrainConfig(**{"data": digits, "epochs": 2, "batch_size": 20, "threads": 1, **settings})


def weights(run: Path) -> bytes:
    return (run / "weights/final.safetensors").read_bytes()


def untimed_results(path: Path) -> list[dict[str, str]]:
    """The results of an experiment without the columns of seconds."""
    rows = read_rows(path / "results.csv").cells
    return [{name: cell for name, cell in row.items() if not name.endswith("_seconds")} for row in rows]


class Recorded(NullProgress):
    """Records its calls."""

    def __init__(self) -> None:
        self.expected: list[tuple[dict[str, int], dict[str, int]]] = []
        self.advanced: list[tuple[str, int]] = []

    @property
    def runs(self) -> set[str]:
        return {run for run, _ in self.advanced}

    def expect(self, epochs, done) -> None:
        self.expected.append((dict(epochs), dict(done)))

    def advance(self, run, epoch) -> None:
        self.advanced.append((run, epoch))


class Kills(Recorded):
    """Kills a worker process at the first epoch of a run, a number of times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def advance(self, run, epoch) -> None:
        super().advance(run, epoch)
        if epoch == 1 and self.times:
            self.times -= 1
            children()[0].kill()


class Raises(Recorded):
    """Asks this process to stop at the first epoch."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def advance(self, run, epoch) -> None:
        if epoch >= 1 and not self.advanced:
            super().advance(run, epoch)
            signal.raise_signal(self.number)


def children():
    return multiprocessing.active_children()


def wait_for(what, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)
