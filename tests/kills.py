"""Kill a small run at random moments and let it go on, until it ends; print how often its bytes were as they should be.

    python tests/kills.py KILLS FOLDER

A process of its own, warm and with one thread, since it forks: what is killed is training, not the import of PyTorch.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

import numpy as np

import lenscope
from fixtures_runs import contents
from lenscope.config import TrainConfig
from lenscope.data.dataset import Splits
from lenscope.errors import UsageError
from lenscope.runs.record import record_run, resume_run
from lenscope.runs.resume import settings_to_resume

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = TrainConfig(epochs=4, batch_size=20, checkpoint_every="3steps", threads=2, augment="shift=1", validation=10)


def child(work: Callable[[], None]) -> int:
    """Do it in a process that is like this one."""
    number = os.fork()
    if number == 0:
        try:
            work()
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    return number


def begin(data: Splits, path: Path) -> None:
    record_run(CONFIG, data, path)


def go_on(data: Splits, path: Path) -> None:
    resume_run(path, data, settings_to_resume(path))


def survive(data: Splits, path: Path, longest: float) -> int:
    """Begin a run and kill it, again and again, until it ends by itself; how often it was killed."""
    work, kills = begin, 0
    while True:
        process = child(partial(work, data, path))
        while not (path / "config.toml").exists():
            time.sleep(0.0002)
        time.sleep(random.uniform(0, longest))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        kills += os.WIFSIGNALED(status)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise SystemExit(f"{path}: did not go on after {kills} kills")
        try:
            settings_to_resume(path)
        except UsageError:  # it is finished
            return kills
        work = go_on


def main(enough: int, folder: Path) -> None:
    random.seed(0)
    whole = lenscope.load("mnist")
    data = Splits(whole.train.take(np.arange(130)), whole.test and whole.test.take(np.arange(20)))
    begun = time.monotonic()
    os.waitpid(child(lambda: begin(data, folder / "lived")), 0)
    longest = time.monotonic() - begun
    expected, path = contents(folder / "lived"), folder / "run"
    runs = equal = kills = 0
    while kills < enough:
        kills += survive(data, path, longest)
        runs, equal = runs + 1, equal + (contents(path) == expected)
        rmtree(path)
    sys.stdout.write(f"{equal} of {runs} runs ended with the bytes of the one that lived; {kills} kills\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
