"""Trials a minute: one core, a process a core, and Ray, on the same trials of MNIST.

    python benchmarks/bench_sweep.py            40 trials of 5 epochs each way, printed; about ten minutes on two cores
    python benchmarks/bench_sweep.py --save     and appended to benchmarks/results/sweep.csv

Needs the extra `ray`. Seconds are those of the whole experiment, with starting processes and writing its page; of Ray's
its start is taken, which is that of an experiment of no length. What a trial costs beside itself is the seconds of all
cores a trial, less the seconds that the run itself counts for training and evaluation.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_epoch import save

from lenscope.environment import describe_environment, usable_processors
from lenscope.lab import Sweep, conduct

RESULTS = Path(__file__).parent / "results" / "sweep.csv"
WAYS = {"one core": (1, None), "local": (usable_processors(), None), "ray": (usable_processors(), "local")}


def time_way(way: str, trials: int, epochs: int) -> dict[str, Any]:
    """One experiment: its seconds, and what its runs counted themselves."""
    processes, ray = WAYS[way]
    sweep = Sweep(grid={"epochs": [epochs]}, seeds=str(trials))
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        conduct(sweep, Path(folder) / "sweep", processes=processes, ray=ray)
        seconds = time.perf_counter() - begun
        with (Path(folder) / "sweep" / "results.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    own = sum(float(row[column] or 0) for row in rows for column in ("train_seconds", "evaluation_seconds"))
    return {"way": way, "processes": processes, "trials": trials, "epochs": epochs, "seconds": seconds, "own": own}


def time_start() -> float:
    """The seconds in which Ray starts, has its actors, and ends, around a training of milliseconds."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sweep = Sweep(grid={"epochs": [1], "train_images": [100]}, seeds=str(usable_processors()))
        conduct(sweep, Path(folder) / "start", processes=usable_processors(), ray="local")
    return time.perf_counter() - begun


def row_to_keep(found: dict[str, Any], one_core: float, start: float) -> dict[str, Any]:
    """A row with the machine; throughput is in trials a minute."""
    machine = describe_environment()
    working = found["seconds"] - start
    apart = (found["processes"] * working - found["own"]) / found["trials"]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{machine['processors']} cores of {machine['processor']}",
        **{name: found[name] for name in ("way", "processes", "trials", "epochs")},
        "seconds": f"{found['seconds']:.1f}",
        "start_seconds": f"{start:.1f}",
        "trials_a_minute": f"{60 * found['trials'] / working:.2f}",
        "times_one_core": f"{one_core / working:.2f}",
        "overhead_seconds": f"{apart:.3f}",
        "median_trial_seconds": f"{np.median(found['own'] / found['trials']):.2f}",
    }


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--save", action="store_true", help=f"append the rows to {RESULTS.name}")
    options = parser.parse_args()
    start = time_start()
    found = [time_way(way, options.trials, options.epochs) for way in WAYS]
    rows = [row_to_keep(one, found[0]["seconds"], start if one["way"] == "ray" else 0.0) for one in found]
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()))
    if options.save:
        save(rows, RESULTS)


if __name__ == "__main__":
    main()
