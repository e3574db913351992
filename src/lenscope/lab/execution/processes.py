"""Workers that are spawned processes of this machine."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from multiprocessing import connection, get_context
from typing import TYPE_CHECKING, Any

from lenscope.errors import Interrupted, LenscopeError
from lenscope.lab.execution.shared import SharedSplits, receive_splits
from lenscope.lab.execution.trials import train_trial
from lenscope.lab.execution.worker import LOOK_SECONDS, EpochWatcher, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from lenscope.data.dataset import Splits
    from lenscope.lab.execution.trials import Trial


class Processes:
    """Spawned processes, which share one copy of the data.

    Args:
        splits: the data.
        most: processes at a time.
    """

    def __init__(self, splits: Splits, most: int) -> None:
        self.most = most
        self._shared = SharedSplits(splits)
        self._started: list[_Process] = []

    def start(self) -> _Process:
        """A new process."""
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        with suppress(OSError):  # it has died, as the next read shows
            self._shared.send(ours, process.pid)
        self._started.append(_Process(process, ours))
        return self._started[-1]

    def ready(self, workers: Sequence[Any]) -> list[_Process]:
        """Those that have a message."""
        pipes = connection.wait([worker.pipe for worker in workers], LOOK_SECONDS)
        return [worker for worker in workers if worker.pipe in pipes]

    def close(self) -> None:
        """Ask all to stop, and wait while they save."""
        for worker in self._started:
            worker.process.terminate()
        for worker in self._started:
            worker.pipe.close()
            worker.process.join()
        self._shared.close()


class _Process:
    def __init__(self, process: SpawnProcess, pipe: Connection[Any, Any]) -> None:
        self.process, self.pipe = process, pipe

    def give(self, trial: Trial, runs: Path) -> None:
        with suppress(OSError):  # it has died, as the next read shows
            self.pipe.send((trial, runs / trial.name))

    def read(self) -> Any:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return State.DIED


def work(pipe: Connection[Any, Any]) -> None:
    """What a process does: train the runs that come through the pipe until it is closed.

    Ctrl-C reaches every process of a terminal; the first process passes it on as SIGTERM, so that each gets it once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError, Interrupted):
        try:
            splits = receive_splits(pipe)
            while True:
                pipe.send(State.FREE)
                trial, path = pipe.recv()
                train_trial(trial, path, splits, EpochWatcher(partial(_send, pipe)))
        except LenscopeError as error:
            pipe.send(str(error))


def _send(pipe: Connection[Any, Any], epoch: int) -> None:
    """Send an epoch to the first process; where that has ended, stop this run, which keeps what is done."""
    try:
        pipe.send(epoch)
    except OSError:
        os.kill(os.getpid(), signal.SIGTERM)
