"""`lenscope bench`."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import Field

from lenscope.cli.command import Command, JsonFlag
from lenscope.cli.output import print_json, print_line, print_note, print_table
from lenscope.errors import ConfigError
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lenscope.bench.measure import Tell
    from lenscope.bench.results import Benchmark, Row

Names = Annotated[str | None, tyro.conf.arg(metavar="NAME,…")]
Numbers = Annotated[str | None, tyro.conf.arg(metavar="INT,…")]
COLUMNS = ("threads", "batch", "seconds", "least", "most", "images/s", "of peak", "eager takes")


class Bench(Command):
    """Time our engines and other ways to train the same network, side by side on this machine.

    All train the lecture's LeNet on MNIST with Adam, in turn in each round, after a round that is not counted.
    """

    engines: Names = Field(
        None,
        description="fused, numpy, torch, torch-cuda, torch-cuda-uncaptured, or none; by default the quick ones here",
    )
    peers: Names = Field(
        "eager,lecture,jax,keras",
        description="eager (plain PyTorch, images in memory), compiled (the same), lecture (its script), jax, keras, "
        "or none",
    )
    threads: Numbers = Field(
        None, description="numbers of threads for the engines; peers take the first; by default all processors and one"
    )
    batch_sizes: Numbers = Field("100,10,1000", description="images an update, for the engines; peers take the first")
    rounds: int = Field(3, description="how often each is timed")
    images: int = Field(10_000, description="images an epoch that are timed: 60000 for whole epochs, in minutes")
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = Field(
        None, description="where to put bench.json and bench.png; by default nowhere"
    )
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Measure, print, and keep it where asked."""
        from lenscope import api
        from lenscope.bench.measure import Plan, measure

        plan = Plan(**self.choices())
        with _progress() as tell:
            benchmark = measure(plan, api.load("mnist"), tell)
        if self.json_output:
            print_json(benchmark.as_dict())
        else:
            print_benchmark(benchmark)
        if self.out:
            _keep(benchmark, self.out)

    def choices(self) -> dict[str, Any]:
        """What was chosen, as `Plan` takes it."""
        chosen = {
            "engines": _names(self.engines),
            "peers": _names(self.peers),
            "threads": _numbers("threads", self.threads),
            "batch_sizes": _numbers("batch_sizes", self.batch_sizes),
            "rounds": self.rounds,
            "images": self.images,
        }
        return {name: value for name, value in chosen.items() if value is not None}


def print_benchmark(benchmark: Benchmark) -> None:
    """Print the machine, a table for each kind of work, what threads gain, and what did not run."""
    print_line(*_heading(benchmark))
    for work, title in (("training", "an epoch of 60,000"), ("evaluation", "evaluation of 10,000")):
        rows = benchmark.of(work)  # type: ignore[arg-type]
        if rows:
            print_line("")
            print_table([(title, *COLUMNS), *(_cells(benchmark, row) for row in rows)])
    print_line("", *_notes(benchmark))


def _heading(benchmark: Benchmark) -> Iterator[str]:
    machine = benchmark.machine
    processors = counted(machine["processors"], "processor")
    yield f"{processors}, {machine['processor']}; PyTorch {machine['packages']['torch']}"
    for threads, peak in benchmark.peaks.items():
        pace = f"{median(peak) / 1e9:.1f} thousand million multiply-adds a second"
        yield f"peak of {counted(threads, 'thread')} with {benchmark.instruction_set}: {pace}"
    yield (
        f"The lecture's LeNet, Adam, MNIST; seconds are medians of {len(benchmark.rows[0].seconds)}, "
        f"an epoch's timed on {benchmark.images:,} images"
    )


def _cells(benchmark: Benchmark, row: Row) -> tuple[str, ...]:
    share, times = benchmark.share_of_peak(row), benchmark.times_baseline(row)
    return (
        row.name,
        str(row.threads),
        f"{row.batch_size:,}",
        *(f"{seconds:.3f}" for seconds in (row.median, min(row.seconds), max(row.seconds))),
        f"{row.images / row.median:,.0f}",
        "" if share is None else f"{100 * share:.0f} %",
        "" if times is None else f"{times:.2f} ×",
    )


def _notes(benchmark: Benchmark) -> Iterator[str]:
    for what, gain in benchmark.gains().items():
        yield f"{what}: all threads are {gain:.2f} × as fast as one"
    for row in benchmark.rows:
        if row.note and row.work == "training":
            yield f"{row.name}: {row.note}"
    if benchmark.peaks:
        yield "of peak: the multiply-adds of every layer's whole output, over what the peak would do in that time"
    for name, why in benchmark.missing.items():
        yield f"{name} did not run: {why}"


def _keep(benchmark: Benchmark, directory: Path) -> None:
    from lenscope.plots.bench import BenchDisplay
    from lenscope.runs.storage import make_directory, write_file

    make_directory(directory, exist_ok=True)
    text = json.dumps(benchmark.as_dict(), indent=1, ensure_ascii=False)
    write_file(directory / "bench.json", text.encode())
    BenchDisplay(benchmark).save(directory / "bench.png")
    print_note(f"look at {directory}: bench.json, bench.png")


@contextmanager
def _progress() -> Iterator[Tell]:
    """A bar on stderr while it is a terminal, a line where it is none."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from lenscope.watch.screen import Screen

    console = Screen()
    columns = (BarColumn(bar_width=32), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    if not console.is_terminal:
        print_note("timing; takes a minute or two …")
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("getting ready", total=None)
        yield lambda what, done, total: progress.update(task, description=what, completed=done, total=total)


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return () if text.strip() == "none" else tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def _numbers(name: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(dict.fromkeys(int(number) for number in text.split(",")))
    except ValueError:
        raise ConfigError(f"{name}: got {text[:40]!r}, expected whole numbers such as 1,2") from None
