"""Time all contestants in turn, round by round, so that a slow minute of the machine strikes all alike."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope import native
from lenscope.bench.engines import ENGINES, default_engines, why_no_torch
from lenscope.bench.peers import PEERS, why_no_peer
from lenscope.bench.results import Benchmark, Kind, Row, Work
from lenscope.bench.task import EPOCH, TEST, Contestant, Task
from lenscope.environment import describe_environment, package_version, usable_processors
from lenscope.errors import ConfigError, LenscopeError, UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lenscope.data.dataset import Splits

    Tell = Callable[[str, int, int], None]

PEAK_SECONDS = 0.1  # a round, for each number of threads


@dataclass(frozen=True)
class Plan:
    """What to time.

    Attributes:
        engines: names in ENGINES, by default those that this machine has a device for; each runs with every batch
            size, and on the CPU with every number of threads.
        peers: names in PEERS; each runs with the first number of threads and the first batch size.
        threads: numbers of threads; by default all processors, and one.
        batch_sizes: images an update.
        rounds: how often each is timed, after one round that is not counted.
        images: training images of an epoch; its time is told for 60,000. What an epoch takes only once is so told
            as often: of note is the start of the lecture's workers, a tenth of a second.

    Raises:
        UsageError: an unknown name, or none.
        ConfigError: a number out of range, or none.
    """

    engines: tuple[str, ...] = field(default_factory=default_engines)
    peers: tuple[str, ...] = ("eager", "lecture", "jax", "keras")
    threads: tuple[int, ...] = field(default_factory=lambda: tuple(dict.fromkeys((usable_processors(), 1))))
    batch_sizes: tuple[int, ...] = (100, 10, 1000)
    rounds: int = 3
    images: int = 10_000

    def __post_init__(self) -> None:
        if not self.engines and not self.peers:
            raise UsageError(f"nothing to time: got no engines and no peers, expected some of {', '.join(ENGINES)}")
        for kind, names, known in (("engine", self.engines, ENGINES), ("peer", self.peers, PEERS)):
            if unknown := [name for name in names if name not in known]:
                raise unknown_name(kind, unknown[0], known)
        for name, numbers, most in (
            ("threads", self.threads, 1024),
            ("images", (self.images,), EPOCH),
            ("batch_sizes", self.batch_sizes, self.images),
            ("rounds", (self.rounds,), 1000),
        ):
            if not numbers or not all(1 <= number <= most for number in numbers):
                got = ",".join(map(str, numbers)) or "none"
                raise ConfigError(f"{name}: got {got}, expected 1 to {most:,}")


@dataclass(frozen=True, eq=False)
class _Entry:
    """One thing that is timed."""

    name: str
    kind: Kind
    work: Work
    task: Task
    contestant: Contestant
    seconds: list[float] = field(default_factory=list)

    def time(self) -> float:
        """Do it once; returns the loss."""
        _set_torch_threads(self.task.threads)
        run = self.contestant.train if self.work == "training" else self.contestant.evaluate
        assert run is not None  # noqa: S101 - entries are made of what there is
        begun = perf_counter()
        loss = run()
        took = perf_counter() - begun
        whole = EPOCH / len(self.task.train) if self.work == "training" else TEST / len(self.task.test)
        self.seconds.append(took * whole)
        return loss

    def row(self, loss: float) -> Row:
        """What was measured, without the first round."""
        device, note, task = self.contestant.device, self.contestant.note, self.task
        what = (self.name, self.kind, self.work, device, task.threads, task.batch_size)
        return Row(*what, tuple(self.seconds[1:]), loss, note)


def measure(plan: Plan, data: Splits, tell: Tell = lambda _what, _done, _of: None) -> Benchmark:
    """Make the contestants ready and time them.

    Args:
        plan: what to time.
        data: MNIST, or images of its size, with a test part.
        tell: called with what comes next, how many things were timed, and of how many.

    Raises:
        UsageError: nothing of the plan can run here, or data without a test part.
        ConfigError: fewer images than the plan asks for.
    """
    _check(plan, data)
    missing: dict[str, str] = {}
    with ExitStack() as closing:
        if why_no_torch() is None:
            closing.callback(_set_torch_threads, sys.modules["torch"].get_num_threads())
        entries = []
        for entry in _entries(plan, data, missing):
            tell(f"{entry.name} is ready", 0, 1)
            closing.callback(entry.contestant.close)
            entries.append(entry)
        if not entries:
            raise UsageError(f"nothing to time: {'; '.join(f'{name}: {why}' for name, why in missing.items())}")
        rows, peaks = _time(plan, entries, tell)
    machine: dict[str, Any] = describe_environment()
    machine["packages"] |= {name: package_version(name) for name in ("jax", "keras")}
    isa = native.instruction_set() if peaks else None
    return Benchmark(machine, isa, peaks, plan.images, rows, missing)


def _set_torch_threads(threads: int) -> None:
    """One setting for all of PyTorch's users in a process; nothing where none has imported it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _check(plan: Plan, data: Splits) -> None:
    if data.test is None:
        raise UsageError(f"{data.name}: has no test images, which are to be evaluated")
    if plan.images > len(data.train):
        raise ConfigError(f"images: got {plan.images}, expected at most the {len(data.train)} training images")


def _entries(plan: Plan, data: Splits, missing: dict[str, str]) -> Iterator[_Entry]:
    """Everything of the plan that can run here; why the rest cannot goes into `missing`."""
    train, test = data.train.take(np.arange(plan.images)), data.to_measure()
    tasks = [Task(train, test, size, threads) for threads in plan.threads for size in plan.batch_sizes]
    for name in plan.engines:
        make, why_not = ENGINES[name]
        for task in tasks if _there(name, why_not(), missing) else []:
            if name.startswith("torch-cuda") and task.threads != plan.threads[0]:
                continue
            contestant = make(task)
            yield _Entry(name, "engine", "training", task, contestant)
            if task.batch_size == plan.batch_sizes[0]:
                yield _Entry(name, "engine", "evaluation", task, contestant)
    for short in plan.peers:
        for name, make in PEERS[short].items() if _there(short, why_no_peer(short), missing) else ():
            try:
                contestant = make(tasks[0])
            except LenscopeError as error:
                missing[short] = str(error)
                continue
            yield _Entry(name, "peer", "training", tasks[0], contestant)
            if contestant.evaluate:
                yield _Entry(name, "peer", "evaluation", tasks[0], contestant)


def _there(name: str, why_not: str | None, missing: dict[str, str]) -> bool:
    if why_not is not None:
        missing[name] = why_not
    return why_not is None


def _time(plan: Plan, entries: list[_Entry], tell: Tell) -> tuple[tuple[Row, ...], dict[int, tuple[float, ...]]]:
    """The rows, and multiply-adds a second by number of threads."""
    peaks: dict[int, list[float]] = {} if native.reason() else {threads: [] for threads in plan.threads}
    losses, timed = [0.0] * len(entries), 0
    for _ in range(plan.rounds + 1):
        for threads, values in peaks.items():
            values.append(native.load().measure_peak(native.instruction_set(), threads, PEAK_SECONDS))
        for place, entry in enumerate(entries):
            tell(entry.name, timed, len(entries) * (plan.rounds + 1))
            losses[place] = entry.time()
            timed += 1
    rows = tuple(entry.row(loss) for entry, loss in zip(entries, losses, strict=True))
    return rows, {threads: tuple(values[1:]) for threads, values in peaks.items()}
