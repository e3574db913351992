"""A run killed at random moments and resumed until it ends has the bytes of an uninterrupted run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

import numpy as np
import pytest

import lenscope
from conftest import in_full
from fixtures_runs import contents, go_on
from lenscope.config import TrainConfig
from lenscope.data.dataset import Splits
from lenscope.errors import UsageError
from lenscope.runs.record import record_run
from lenscope.runs.resume import settings_to_resume

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

KILLS = in_full(50, 300)
CONFIG = TrainConfig(epochs=4, batch_size=20, checkpoint_every="3steps", threads=2, augment="shift=1", validation=10)


def test_a_run_killed_at_random_moments_ends_with_the_bytes_of_an_uninterrupted_one(tmp_path, tally) -> None:
    # This file as a script: a process that forks has one thread, and is killed in training, not in its imports.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, __file__, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    equal, runs, kills = map(int, done.stdout.split())
    assert equal == runs
    tally(f"SIGKILL at random moments: {kills} kills; {equal} of {runs} runs with the bytes of an uninterrupted run")


def main(folder: Path) -> None:
    random.seed(0)
    whole = lenscope.load("mnist")
    data = Splits(whole.train.take(np.arange(130)), test=whole.test and whole.test.take(np.arange(20)))
    started = time.monotonic()
    os.waitpid(fork(lambda: record_run(CONFIG, data, folder / "lived")), 0)
    longest = time.monotonic() - started
    expected, path = contents(folder / "lived"), folder / "run"
    runs = equal = kills = 0
    while kills < KILLS:
        kills += kill_until_finished(data, path, longest)
        runs, equal = runs + 1, equal + (contents(path) == expected)
        rmtree(path)
    sys.stdout.write(f"{equal} {runs} {kills}\n")


def kill_until_finished(data: Splits, path: Path, longest: float) -> int:
    """Start a run and kill it, again and again, until it finishes; returns the number of kills."""
    kills, work = 0, partial(record_run, CONFIG, data, path)
    while True:
        process = fork(work)
        while not (path / "config.toml").exists():
            time.sleep(0.0002)
        time.sleep(random.uniform(0, longest))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        kills += os.WIFSIGNALED(status)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise SystemExit(f"{path}: did not resume after {kills} kills")
        try:
            settings_to_resume(path)
        except UsageError:  # it is finished
            return kills
        work = partial(go_on, data, path)


def fork(work: Callable[[], object]) -> int:
    """Do some work in a copy of this process; returns the copy's number."""
    number = os.fork()
    if number == 0:
        try:
            work()
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    return number


if __name__ == "__main__":
    main(Path(sys.argv[1]))
