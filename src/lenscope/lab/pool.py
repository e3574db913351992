"""Many runs on the processor's cores: spawned processes with a thread each, which take the next run when they are free.

Two runs at once with a thread each take less time than one after the other with two: no thread waits for another.
"""

from __future__ import annotations

import os
import signal
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, get_context
from typing import TYPE_CHECKING, Any, Protocol

from lenscope.errors import Interrupted, LenscopeError, RunError
from lenscope.lab.shared import SharedSplits, receive_splits
from lenscope.lab.trials import carry_out, is_done
from lenscope.training.events import EpochDone, RunStarted
from lenscope.training.interrupt import listen_for_stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from pathlib import Path
    from typing import Self

    from lenscope.data.dataset import Splits
    from lenscope.lab.trials import Trial
    from lenscope.training.events import Event

LOOK_SECONDS = 0.2  # how long a request to stop may go unheard
DEATHS = 3  # of its process that a run may meet before it is held to be the reason


class Teller(Protocol):
    """Whoever shows how far the runs are."""

    def expect(self, epochs: Mapping[str, int], done: Mapping[str, int]) -> None:
        """So many epochs of each run are asked for from now on, and so many of them are there."""

    def advance(self, run: str, epoch: int) -> None:
        """So many epochs of a run are done."""


class Silence:
    """Shows nothing."""

    def expect(self, epochs: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Nothing to show."""

    def advance(self, run: str, epoch: int) -> None:
        """Nothing to show."""


@dataclass(frozen=True)
class Epochs:
    """A watcher that tells of epochs."""

    tell: Callable[[int], None]

    def __call__(self, event: Event) -> None:
        """Tell of an epoch that is done, also of those before a run went on."""
        if isinstance(event, RunStarted) and event.rows:
            self.tell(event.rows[-1].epoch)
        if isinstance(event, EpochDone):
            self.tell(event.metrics.epoch)

    def close(self) -> None:
        """Nothing to close."""


class Pool:
    """What runs are trained with; its processes stay until it is closed, for the runs that are asked for next.

    Args:
        splits: the data, loaded once and shared.
        processes: how many runs at once; 1 trains in this process.
        teller: who shows how far they are.
    """

    def __init__(self, splits: Splits, processes: int, teller: Teller) -> None:
        self.splits, self.processes, self.teller = splits, processes, teller
        self._crew: list[_Worker] = []
        self._shared: SharedSplits | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes: those at work are asked to stop, and waited for while they save."""
        for worker in self._crew:
            worker.process.terminate()
        for worker in self._crew:
            worker.end()
        self._crew.clear()
        if self._shared:
            self._shared.close()
            self._shared = None

    def train(self, trials: Sequence[Trial], runs: Path) -> None:
        """Train what is not done: those that are to be alone after the others, one by one.

        Raises:
            RunError: a run that could not be trained, with the reason; or as for `is_done`.
            Interrupted: asked to stop; every run keeps what was done.
        """
        done = {trial.name: trial.config.epochs for trial in trials if is_done(trial, runs / trial.name)}
        self.teller.expect({trial.name: trial.config.epochs for trial in trials}, done)
        left = [trial for trial in trials if trial.name not in done]
        self.train_together([trial for trial in left if not trial.alone], runs)
        self._train_here([trial for trial in left if trial.alone], runs)

    def train_together(self, trials: Sequence[Trial], runs: Path) -> None:
        """Train those that may run beside one another; as `train` otherwise."""
        if self.processes == 1 or (len(trials) < 2 and not self._crew):
            self._train_here(trials, runs)
            return
        try:
            self._share_out(trials, runs)
        except BaseException:
            self.close()
            raise

    def _train_here(self, trials: Sequence[Trial], runs: Path) -> None:
        for trial in trials:
            carry_out(trial, runs / trial.name, self.splits, Epochs(partial(self.teller.advance, trial.name)))

    def _share_out(self, trials: Sequence[Trial], runs: Path) -> None:
        """Train side by side; a process that dies is replaced, and its run goes on."""
        waiting, deaths = deque(trials), Counter[str]()
        with listen_for_stop() as flag:
            for _ in range(min(self.processes, len(trials))):
                self._free_worker().give(waiting.popleft(), runs)
            while busy := {worker: worker.trial for worker in self._crew if worker.trial}:
                for worker in _ready([*busy]):
                    trial = busy[worker]
                    match worker.read():
                        case int(epoch):
                            self.teller.advance(trial.name, epoch)
                        case None if waiting:
                            worker.give(waiting.popleft(), runs)
                        case None:
                            worker.trial = None
                        case _Died():
                            self._crew.remove(worker)
                            deaths[trial.name] += 1
                            require_few(deaths, trial)
                            self._free_worker().give(trial, runs)
                        case problem:
                            raise RunError(f"{trial.name}: {problem}")
                if flag():
                    raise Interrupted(runs, flag.signal, "what is done is kept")

    def _free_worker(self) -> _Worker:
        """One that has nothing to do, or a new one."""
        self._shared = self._shared or SharedSplits(self.splits)
        free = next((worker for worker in self._crew if worker.trial is None), None)
        if free is None:
            free = _Worker.start(self._shared)
            self._crew.append(free)
        return free


class _Died:
    """What comes of a process that has."""


def require_few(deaths: Counter[str], trial: Trial) -> None:
    """Raise RunError where the process of a run has died too often."""
    if deaths[trial.name] >= DEATHS:
        raise RunError(f"{trial.name}: its process died {DEATHS} times; is memory short?")


def _ready(crew: Sequence[_Worker]) -> list[_Worker]:
    """Those that have something to say, waited for a little."""
    pipes = connection.wait([worker.pipe for worker in crew], LOOK_SECONDS)
    return [worker for worker in crew if worker.pipe in pipes]


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection[Any, Any]
    trial: Trial | None = None

    @classmethod
    def start(cls, shared: SharedSplits) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        with suppress(OSError):  # it has died, as the next read tells
            shared.send(ours, process.pid)
        return cls(process, ours)

    def give(self, trial: Trial, runs: Path) -> None:
        self.trial = trial
        with suppress(OSError):  # as above
            self.pipe.send((trial, runs / trial.name))

    def read(self) -> object:
        """An epoch that is done, None for a run that is done, what was wrong in words, or that it died."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return _Died()

    def end(self) -> None:
        self.pipe.close()
        self.process.join()


def work(pipe: Connection[Any, Any]) -> None:
    """What a process of the pool does: train what comes through the pipe until it is closed.

    Ctrl-C reaches every process of a terminal; the first one passes it on, as SIGTERM, so that each is asked once.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError, Interrupted):
        try:
            splits = receive_splits(pipe)
            while True:
                trial, path = pipe.recv()
                carry_out(trial, path, splits, Epochs(partial(_send, pipe)))
                pipe.send(None)
        except LenscopeError as error:
            pipe.send(str(error))


def _send(pipe: Connection[Any, Any], epoch: int) -> None:
    """Tell the first process of an epoch; where that has gone, the run is asked to stop, and keeps what was done."""
    try:
        pipe.send(epoch)
    except OSError:
        os.kill(os.getpid(), signal.SIGTERM)
