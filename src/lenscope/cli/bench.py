"""`lenscope bench`: our engines and plain PyTorch, timed in turns; benchmarks/bench_epoch.py adds other libraries."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import product
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

import lenscope
from lenscope.cli.command import Command, comma_list
from lenscope.cli.output import print_note, table
from lenscope.environment import describe_environment, usable_processors
from lenscope.errors import LenscopeError, UsageError, unknown_name
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from lenscope.config import DeviceName, EngineName
    from lenscope.data.dataset import Dataset, Splits

    Work = dict[str, Callable[[], float]]  # "training" of one epoch, "evaluation": functions that return the mean loss
    Makers = dict[str, Callable[["Task"], Work]]

RATE = 1e-4  # the lecture's learning rate
WHOLE = {"training": 60_000, "evaluation": 10_000}  # images per epoch and per evaluation, which the seconds stand for
HEADER = ("engine", "work", "threads", "batch", "seconds", "min", "max", "images/s", "speed relative to eager")
AT_ONCE = 1_000  # images per batch of PyTorch's evaluation


class Task(NamedTuple):
    """What is timed: training the lecture's LeNet with Adam, and evaluating it, on 28×28 images resized beforehand."""

    train: Dataset
    test: Dataset
    threads: int
    batch_size: int


def our_engine(task: Task, name: EngineName, device: DeviceName = "cpu") -> Work:
    """One of our engines, driven by the training loop; raises UsageError where it cannot run."""
    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.engines import choose_engine
    from lenscope.nets.initialisation import initial_weights
    from lenscope.nets.layers import Network
    from lenscope.training.events import EpochDone
    from lenscope.training.fit import fit

    config = TrainConfig(engine=name, device=device, threads=task.threads, learning_rate=RATE, epochs=1_000_000)
    config = config.with_settings(batch_size=task.batch_size)
    network, train, test = Network("lenet"), task.train.resized(32), task.test.resized(32)
    engine = choose_engine(network, initial_weights(network, seed=0), train, config)
    done = (event.metrics for event in fit(config, Splits(train), engine) if isinstance(event, EpochDone))
    losses = (metrics.train_loss for metrics in done if metrics.train_loss is not None)  # None before any training
    return {"training": lambda: next(losses), "evaluation": lambda: engine.evaluate(test).loss}


def eager(task: Task) -> Work:
    """Plain PyTorch with images in memory, a fused Adam and channels last; raises UsageError without PyTorch."""
    import_module("lenscope.pytorch")  # says in one line that PyTorch is missing
    return pytorch_work(task, pytorch_lenet())


def pytorch_lenet() -> torch.nn.Module:
    """The lecture's LeNet without the softmax; ReLU after pooling gives the same values and takes less time."""
    import torch
    from torch import nn

    convolutions = (nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU())
    dense = (nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    network = nn.Sequential(*convolutions, nn.Flatten(), *dense)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def pytorch_work(task: Task, network: torch.nn.Module) -> Work:
    """A plain loop over a PyTorch module."""
    import numpy as np
    import torch
    from torch.nn.functional import cross_entropy

    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)

    def tensors(data: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
        images = np.require(data.resized(32).images, requirements=["C", "W"])
        return torch.from_numpy(images), torch.from_numpy(data.labels.astype(np.int64))

    def scores(images: torch.Tensor) -> torch.Tensor:
        inputs = images.float().mul_(1 / 255).contiguous(memory_format=torch.channels_last)
        return network(inputs)  # type: ignore[no-any-return]

    (images, labels), (test_images, test_labels) = tensors(task.train), tensors(task.test)

    def train() -> float:
        losses = []
        for batch in torch.split(torch.randperm(len(labels)), task.batch_size):
            optimizer.zero_grad()
            loss = cross_entropy(scores(images[batch]), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        return sum(losses) / len(losses)

    @torch.inference_mode()
    def evaluate() -> float:
        pairs = zip(torch.split(test_images, AT_ONCE), torch.split(test_labels, AT_ONCE), strict=True)
        return sum(cross_entropy(scores(part), right, reduction="sum").item() for part, right in pairs) / len(task.test)

    return {"training": train, "evaluation": evaluate}


ENGINES: Makers = {
    "fused": partial(our_engine, name="fused"),
    "numpy": partial(our_engine, name="numpy"),
    "torch": partial(our_engine, name="torch"),
    "torch-cuda": partial(our_engine, name="torch", device="cuda"),
    "eager": eager,
}


@dataclass
class Timing:
    """One kind of work of one engine, and the seconds it took in each round, for as many images as in WHOLE."""

    engine: str
    work: str
    task: Task
    run: Callable[[], float]
    seconds: list[float] = field(default_factory=list)
    loss: float = 0.0

    def time(self) -> None:
        """Do the work once."""
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self.task.threads)
        start = perf_counter()
        self.loss = self.run()
        images = len(self.task.train if self.work == "training" else self.task.test)
        self.seconds.append((perf_counter() - start) * WHOLE[self.work] / images)


def prepare(makers: Makers, tasks: Sequence[Task], missing: dict[str, str]) -> Iterator[Timing]:
    """What can run here; `missing` receives the reasons why the rest cannot. Only our engines do every task."""
    for engine, make in makers.items():
        for task in tasks if engine in ENGINES and engine != "eager" else tasks[:1]:
            try:
                work = make(task)
            except LenscopeError as error:
                missing[engine] = str(error)
                break
            for name, run in work.items():
                if name == "training" or task.batch_size == tasks[0].batch_size:
                    yield Timing(engine, name, task, run)


def take_turns(timings: Sequence[Timing], rounds: int) -> list[dict[str, Any]]:
    """Time everything once per round, in turn, so that a slow minute of the machine affects all alike.

    Returns:
        Plain values, one row per timing, without the first round, which warms up. `eager_takes` is the time of plain
        PyTorch for the same kind of work, relative to this row's; None where it was not timed.
    """
    for turn in range(rounds + 1):
        print_note(f"round {turn} of {rounds} …" if turn else "warming up …")
        for timing in timings:
            timing.time()
    medians = [median(timing.seconds[1:]) for timing in timings]
    eager = {one.work: middle for one, middle in zip(timings, medians, strict=True) if one.engine == "eager"}
    return [
        {
            "engine": one.engine,
            "work": one.work,
            "threads": one.task.threads,
            "batch_size": one.task.batch_size,
            "images": WHOLE[one.work],
            "seconds": one.seconds[1:],
            "median_seconds": middle,
            "loss": one.loss,
            "eager_takes": eager[one.work] / middle if eager else None,
        }
        for one, middle in zip(timings, medians, strict=True)
    ]


class Bench(Command):
    """Time our engines and plain PyTorch on this machine.

    Each trains the lecture's LeNet on MNIST with Adam. They are timed in turns, after a warm-up round.
    """

    engines: Annotated[tuple[str, ...], comma_list("NAME,…")] = Field(
        tuple(ENGINES), description="what to time; eager is plain PyTorch with the images in memory"
    )
    threads: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], comma_list("INT,…")] = Field(
        tuple(dict.fromkeys((usable_processors(), 1))), description="CPU threads; eager uses the first number"
    )
    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=60_000)], ...], comma_list("INT,…")] = Field(
        (100,), description="images per batch; eager uses the first number"
    )
    rounds: int = Field(3, ge=1, le=1_000, description="timed rounds per engine")
    images: int = Field(10_000, ge=1, le=60_000, description="training images to time; 60000 for a whole epoch")

    def execute(self) -> None:
        """Measure and print."""
        rows, missing = self.measure(ENGINES)
        facts = {"machine": describe_environment(), "rows": rows, "missing": missing}
        self.show(facts, *as_lines(rows, missing))

    def measure(self, known: Makers) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """The rows, and why some engines did not run; raises UsageError where none can."""
        if unknown := [name for name in self.engines if name not in known]:
            raise unknown_name("engine", unknown[0], known)
        missing: dict[str, str] = {}
        timings = list(
            prepare({name: known[name] for name in self.engines}, self.tasks(lenscope.load("mnist")), missing)
        )
        if not timings:
            raise UsageError(f"nothing to time: {'; '.join(f'{name}: {why}' for name, why in missing.items())}")
        return take_turns(timings, self.rounds), missing

    def tasks(self, data: Splits) -> list[Task]:
        """One task per number of threads and batch size."""
        import numpy as np

        train = data.train.take(np.arange(self.images))
        return [Task(train, data.to_measure(), *choice) for choice in product(self.threads, self.batch_sizes)]


def as_lines(rows: Sequence[dict[str, Any]], missing: dict[str, str]) -> list[str]:
    """The machine, a table of medians with their spread, and why some engines did not run."""
    machine: dict[str, Any] = describe_environment()
    packages = [f"{name} {machine['packages'][name] or 'not installed'}" for name in ("lenscope", "torch")]
    return [
        f"{counted(machine['processors'], 'processor')}, {machine['processor']}; {', '.join(packages)}",
        f"seconds per 60,000 training or 10,000 test images: median of {len(rows[0]['seconds'])}, minimum and maximum",
        *table(HEADER, *map(_cells, rows)),
        *(f"{name} did not run: {why}" for name, why in missing.items()),
    ]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    seconds = (row["median_seconds"], min(row["seconds"]), max(row["seconds"]))
    times = "" if row["eager_takes"] is None else f"{row['eager_takes']:.2f} ×"
    names = (row["engine"], row["work"], str(row["threads"]), f"{row['batch_size']:,}")
    return (*names, *(f"{value:.3f}" for value in seconds), f"{row['images'] / row['median_seconds']:,.0f}", times)
