"""Training beside busy processes: images per second with one thread and with all, in turns.

    python benchmarks/bench_busy.py             three rounds, printed; about three minutes
    python benchmarks/bench_busy.py --save after    and appended to benchmarks/results/busy.csv, as build `after`

`fair share` is the part of the speed on a quiet machine, with all threads, that a scheduler which treats all threads
alike would leave: processors / (threads + busy processes).
"""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

import lenscope
from lenscope import native
from lenscope.environment import processor_name, usable_processors
from lenscope.nets.initialisation import initial_weights
from lenscope.training.fused_engine import FusedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).parent / "results" / "busy.csv"
BUSY, ROUNDS, SECONDS, BATCH = (0, 1, 2, 4, 8), 3, 2.5, 100
LOOP = "while True: pass"


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Processes that compute all the time."""
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", LOOP])
            stack.callback(process.wait)
            stack.callback(process.kill)
        time.sleep(0.3)
        yield


def images_per_second(train: lenscope.Dataset, threads: int) -> float:
    """The speed of training over SECONDS, after a tenth of that."""
    network = lenscope.Network("lenet")
    engine = FusedEngine(network, initial_weights(network, 0), train, lenscope.TrainConfig(threads=threads))
    order = np.random.default_rng(0).permutation(len(train))[: 100 * BATCH]
    batches, done, start = np.split(order, 100), 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < 1.1 * SECONDS:
        if passed < 0.1 * SECONDS:
            done, begin = 0, time.perf_counter()
        engine.run(1, batches, [1e-4] * 100, lambda: False)
        done += len(order)
    return done / (time.perf_counter() - begin)


def main() -> None:
    """Measure, print, and save if asked to."""
    train, threads = lenscope.load("mnist").train.resized(32), usable_processors()
    machine = (
        time.strftime("%Y-%m-%d"),
        f"{threads} cores of {processor_name()}",
        native.instruction_set(),
        sys.argv[-1],
    )
    rows, quiet = [], 0.0
    print("busy  1 thread  all threads  all / 1  of a fair share")
    for count in BUSY:
        with busy_processes(count):
            speeds = [[images_per_second(train, n) for n in (1, threads)] for _ in range(ROUNDS)]
        one, every = (median(column) for column in zip(*speeds, strict=True))
        quiet = quiet or every
        share = every / (quiet * threads / (threads + count))
        print(f"{count:4}  {one:8,.0f}  {every:11,.0f}  {every / one:7.2f}  {share:.2f}", flush=True)
        rows += [
            (*machine, count, n, *(f"{value:.0f}" for value in (median(column), min(column), max(column))), ROUNDS)
            for n, column in zip((1, threads), zip(*speeds, strict=True), strict=True)
        ]
    if "--save" in sys.argv[:-1]:
        with RESULTS.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
