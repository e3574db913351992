"""Trains many runs: in this process, in processes of this machine, or on a Ray cluster.

Two runs at a time with one thread each take less time than one after the other with two: no thread waits for another.
The last run may use all threads, since the others end.
"""

from __future__ import annotations

from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

from lenscope.errors import Interrupted, RunError
from lenscope.lab.execution.trials import is_done, train_trial, with_threads
from lenscope.lab.execution.worker import EpochWatcher, State
from lenscope.training.interrupt import listen_for_stop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from lenscope.data.dataset import Splits
    from lenscope.lab.execution.trials import Trial
    from lenscope.lab.execution.worker import Worker, Workers

DEATHS = 3  # of its worker after which a run is taken for the reason
STARTING = "a new worker"


class Progress(Protocol):
    """Shows what will be trained, and how many epochs are done."""

    def announce(self, text: str) -> None:
        """What will be trained, and about how long it takes; before anything is."""

    def expect(self, epochs: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Add runs: the epochs of each, and how many of them are done already."""

    def advance(self, run: str, epoch: int) -> None:
        """This many epochs of a run are done."""


class NullProgress:
    """Shows nothing."""

    def announce(self, text: str) -> None:
        """Nothing to show."""

    def expect(self, epochs: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Nothing to show."""

    def advance(self, run: str, epoch: int) -> None:
        """Nothing to show."""


class Pool:
    """Trains the runs of an experiment; its workers stay until it is closed.

    Args:
        splits: the data, loaded once and shared.
        processes: runs at a time; 1 trains in this process.
        progress: shows how many epochs are done.
        ray: the address of a Ray cluster, see `RayActors`; None for processes of this machine.
    """

    def __init__(self, splits: Splits, processes: int, progress: Progress, ray: str | None = None) -> None:
        self.splits, self.processes, self.progress, self.ray = splits, processes, progress, ray
        self._workers: Workers | None = None
        self._starting: set[Worker] = set()
        self._idle: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; processes that train are asked to stop, and waited for while they save."""
        if self._workers:
            self._workers.close()
        self._workers, self._starting, self._idle = None, set(), []

    def train(self, trials: Sequence[Trial], runs: Path) -> None:
        """Train those that are not done: first those that may run at the same time, then the others one by one.

        Raises:
            RunError: a run could not be trained, with the reason; or as for `is_done`.
            Interrupted: asked to stop; completed runs are kept.
        """
        done = {trial.name: trial.config.epochs for trial in trials if is_done(trial, runs / trial.name)}
        self.progress.expect({trial.name: trial.config.epochs for trial in trials}, done)
        left = [trial for trial in trials if trial.name not in done]
        together = [trial for trial in left if not trial.alone]
        if together and not self.ray:  # whose nodes give each run one processor
            together[-1] = with_threads(together[-1], self.processes)
        if together and (self.ray or self._workers or (self.processes > 1 and len(together) > 1)):
            try:
                self._train_on_workers(together, runs)
            except BaseException:
                self.close()
                raise
        else:
            self._train_here(together, runs)
        self._train_here([trial for trial in left if trial.alone], runs)

    def _train_here(self, trials: Sequence[Trial], runs: Path) -> None:
        for trial in trials:
            watcher = EpochWatcher(partial(self.progress.advance, trial.name))
            train_trial(trial, runs / trial.name, self.splits, watcher)
            self.progress.advance(trial.name, trial.config.epochs)

    def _train_on_workers(self, trials: Sequence[Trial], runs: Path) -> None:
        """Give each free worker a run; the run of a worker that dies is given to another, which resumes it."""
        self._workers = workers = self._workers or self._connect(trials, runs)
        waiting, deaths = deque(trials), Counter[str]()
        busy: dict[Worker, Trial] = {}
        with listen_for_stop() as flag:
            while waiting or busy:
                busy |= self._give_out(waiting, runs)
                while len(self._starting) < min(len(waiting), workers.most - len(busy)):
                    self._starting.add(workers.start())
                for worker in workers.ready([*busy, *self._starting]):
                    trial, message = busy.get(worker), worker.read()
                    name = trial.name if trial else STARTING
                    if isinstance(message, State):
                        busy.pop(worker, None)
                        self._starting.discard(worker)
                    match message:
                        case State.FREE:
                            self._idle.append(worker)
                            deaths[STARTING] = 0
                            if trial:
                                self.progress.advance(name, trial.config.epochs)
                        case State.DIED:
                            deaths[name] += 1
                            _require_few(deaths, name, DEATHS if trial else DEATHS * workers.most)
                            waiting.extendleft([trial] if trial else [])
                        case int(epoch):
                            self.progress.advance(name, epoch)
                        case problem:
                            raise RunError(f"{name}: {problem}")
                if flag():
                    raise Interrupted(runs, flag.signal, "completed runs are kept")

    def _give_out(self, waiting: deque[Trial], runs: Path) -> dict[Worker, Trial]:
        """Give idle workers a run each."""
        given = {self._idle.pop(): waiting.popleft() for _ in range(min(len(self._idle), len(waiting)))}
        for worker, trial in given.items():
            worker.give(trial, runs)
        return given

    def _connect(self, trials: Sequence[Trial], runs: Path) -> Workers:
        if self.ray is None:
            from lenscope.lab.execution.processes import Processes

            return Processes(self.splits, self.processes)
        from lenscope.lab.execution.ray_actors import RayActors

        return RayActors(self.splits, self.processes, self.ray, trials, runs)


def _require_few(deaths: Counter[str], name: str, most: int) -> None:
    if deaths[name] >= most:
        raise RunError(
            f"{name}: its process died {most} times; check the memory, and that each node of a cluster has Lenscope"
        )
