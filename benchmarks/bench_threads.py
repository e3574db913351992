"""Training with more threads: seconds of an epoch of 60,000 images by threads and batch size.

    python benchmarks/bench_threads.py            printed; about a minute
    python benchmarks/bench_threads.py --save     and appended to benchmarks/results/threads.csv

With as many threads as there are processors it is measured: medians of rounds in turns. With more it is *computed* from
one thread's measured seconds: a step lasts as long as its busiest thread, which takes whole shards of images; the
second phase of a step, about an eighth of its time, is divided evenly but for the convolutions' update, for which 20 µs
are taken. Waiting, memory and a processor's lower clock when all its cores are busy are left out, so a computed number
is a lower bound. It also shows what 12 shards would give.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

import lenscope
from lenscope import native
from lenscope.environment import processor_name, usable_processors
from lenscope.nets.initialisation import initial_weights
from lenscope.training.fused_engine import FusedEngine

RESULTS = Path(__file__).parent / "results" / "threads.csv"
THREADS, BATCHES, ROUNDS, IMAGES = (1, 2, 4, 8, 16), (100, 1000, 4096), 5, 60_000
SMALL, SHARDS, MICRO_BATCH = 240, (12, 48), (240, 960)  # as native/kernels/kernels.hpp divides batches
SECOND_PHASE = 1 / 8  # of a step's time on one thread
ALONE = 20e-6  # seconds of the convolutions' sum, update and copies, by one thread


def measure(train: lenscope.Dataset, threads: int, batch: int) -> float:
    """Seconds of an epoch."""
    network = lenscope.Network("lenet")
    engine = FusedEngine(network, initial_weights(network, 0), train, lenscope.TrainConfig(threads=threads))
    order = np.random.default_rng(0).permutation(len(train))
    batches = np.split(order, range(batch, len(order), batch))
    start = time.perf_counter()
    engine.run(1, batches, [1e-4] * len(batches), lambda: False)
    return time.perf_counter() - start


def compute(one: float, threads: int, batch: int, shards: int, micro_batch: int) -> float:
    """Seconds of an epoch, from those of one thread.

    >>> compute(1.0, 1, 1000, 48, 960) >= 1.0, compute(1.0, 16, 1000, 48, 960) < compute(1.0, 16, 1000, 12, 240)
    (True, True)
    """
    parts = -(-batch // micro_batch)
    steps, images = IMAGES / batch, batch / parts
    most = -(-shards // threads) * images / shards  # of the busiest thread, per part
    first_phase = (1 - SECOND_PHASE) * one * parts * most / batch
    return first_phase + SECOND_PHASE * one / threads + steps * ALONE * (1 - 1 / threads)


def main() -> None:
    """Measure, compute, print, and save if asked to."""
    train, processors = lenscope.load("mnist").train.resized(32), usable_processors()
    there = [threads for threads in THREADS if threads <= processors]
    measure(train, processors, 100)
    rounds = [{(t, b): measure(train, t, b) for b in BATCHES for t in there} for _ in range(ROUNDS)]
    seconds = {key: [one[key] for one in rounds] for key in rounds[0]}
    machine = (time.strftime("%Y-%m-%d"), f"{processors} cores of {processor_name()}", native.instruction_set())
    rows = []
    print("batch  threads  seconds of an epoch")
    for batch in BATCHES:
        for threads in THREADS:
            if threads in there:
                own = seconds[threads, batch]
                values = (median(own), min(own), max(own))
                print(f"{batch:5}  {threads:7}  {values[0]:.3f} ({values[1]:.3f} to {values[2]:.3f}), measured")
                rows.append((*machine, batch, threads, "measured", *(f"{value:.4f}" for value in values)))
                continue
            one = median(seconds[1, batch])
            few, many = (compute(one, threads, batch, *how) for how in zip(SHARDS, MICRO_BATCH, strict=True))
            value = few if batch <= SMALL else many
            print(
                f"{batch:5}  {threads:7}  {value:.3f}, computed"
                + ("" if batch <= SMALL else f"; {few:.3f} with 12 shards")
            )
            rows.append((*machine, batch, threads, "computed", f"{value:.4f}", "", ""))
    if "--save" in sys.argv:
        with RESULTS.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
