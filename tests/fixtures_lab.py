"""What the tests of experiments share: a small set of digits in a folder, and tellers that listen and disturb."""

from __future__ import annotations

import multiprocessing
import signal
import time

import numpy as np
import pytest

from lenscope.config import TrainConfig
from lenscope.data.idx import write_idx
from lenscope.lab.pool import Silence


@pytest.fixture(scope="session")
def digits(mnist, tmp_path_factory) -> str:
    """A folder of 60 training and 20 test images, which each process loads for itself."""
    folder = tmp_path_factory.mktemp("digits")
    for part, dataset, count in (("train", mnist.train, 60), ("t10k", mnist.test, 20)):
        taken = dataset.take(np.arange(count))
        write_idx(folder / f"{part}-images-idx3-ubyte", taken.images[:, 0])
        write_idx(folder / f"{part}-labels-idx1-ubyte", taken.labels)
    return str(folder)


def config(digits: str, **settings: object) -> TrainConfig:
    return TrainConfig(**{"data": digits, "epochs": 2, "batch_size": 20, "threads": 1, **settings})


class Heard(Silence):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.expected: list[tuple[dict[str, int], dict[str, int]]] = []
        self.advanced: list[tuple[str, int]] = []

    def expect(self, epochs, done) -> None:
        self.expected.append((dict(epochs), dict(done)))

    def advance(self, run, epoch) -> None:
        self.advanced.append((run, epoch))


class Kills(Heard):
    """Kills the first process that tells of its first epoch, as often as it may."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def advance(self, run, epoch) -> None:
        super().advance(run, epoch)
        if epoch == 1 and self.times:
            self.times -= 1
            children()[0].kill()


def children():
    return multiprocessing.active_children()


class Raises(Heard):
    """Asks this process to stop at the first epoch that is told."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def advance(self, run, epoch) -> None:
        if epoch >= 1 and not self.advanced:
            super().advance(run, epoch)
            signal.raise_signal(self.number)


def wait_for(what, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)
