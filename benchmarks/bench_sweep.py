"""Trials a minute: one core, a process a core, and Ray, on the same trials of MNIST, in turns.

    python benchmarks/bench_sweep.py            40 trials of 5 epochs each way, printed; 10 to 20 minutes on two cores
    python benchmarks/bench_sweep.py --save     and appended to benchmarks/results/sweep.csv

Needs the extra `ray`. Every way has its processes, and keeps them; in each round it trains some of its trials, so that
a slow minute of the machine strikes all three. What starts processes, the data loaded, is timed apart.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_epoch import save

import lenscope
from lenscope.environment import describe_environment, usable_processors
from lenscope.lab import Sweep
from lenscope.lab.pool import Pool, Silence
from lenscope.lab.ray_pool import RayPool

if TYPE_CHECKING:
    from lenscope.lab.trials import Trial

RESULTS = Path(__file__).parent / "results" / "sweep.csv"
WAYS = ("one core", "local", "ray")
Times = list[tuple[float, float]]  # of each round: its seconds, and those that its runs counted themselves


def trials_of(seeds: range, epochs: int) -> list[Trial]:
    """A run of the lecture's recipe for each seed."""
    return Sweep(grid={"epochs": [epochs]}, seeds=f"{seeds.start}..{seeds.stop - 1}").trials({})


def train(pool: Pool, trials: list[Trial], runs: Path) -> tuple[float, float]:
    """The seconds of the wall, and the sum of those that the runs counted for training and evaluation."""
    begun = time.perf_counter()
    pool.train(trials, runs)
    seconds = time.perf_counter() - begun
    rows = [row for trial in trials for row in lenscope.open_run(runs / trial.name).metrics.rows()]
    return seconds, sum((row.train_seconds or 0) + (row.evaluation_seconds or 0) for row in rows)


def start(pool: Pool, processes: int, runs: Path) -> float:
    """The seconds around an epoch of one run for each process: what it takes until processes are there."""
    begun = time.perf_counter()
    _, own = train(pool, trials_of(range(10_000, 10_000 + processes), 1), runs)
    return time.perf_counter() - begun - own / processes


def row_of(way: str, processes: int, times: dict[str, Times], starts: dict[str, float], options: Any) -> dict[str, Any]:
    """What is kept of a way, with the machine; Ray's own start is left out of its throughput."""
    machine, walls = describe_environment(), [wall for wall, _ in times[way]]
    ratios = [one / wall for (one, _), wall in zip(times["one core"], walls, strict=True)]
    whole = sum(walls) + (0 if way == "ray" else starts[way])
    own = sum(own for _, own in times[way])
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{machine['processors']} cores of {machine['processor']}",
        "way": way,
        "processes": processes,
        "trials": options.trials,
        "epochs": options.epochs,
        "rounds": options.rounds,
        "start_seconds": f"{starts[way]:.1f}",
        "seconds": f"{whole:.1f}",
        "trials_a_minute": f"{60 * options.trials / whole:.2f}",
        "times_one_core": f"{(sum(wall for wall, _ in times['one core']) + starts['one core']) / whole:.2f}",
        "median_of_rounds": f"{statistics.median(ratios):.2f}",
        "least": f"{min(ratios):.2f}",
        "most": f"{max(ratios):.2f}",
        "trial_seconds": f"{own / options.trials:.2f}",
        "overhead_seconds": f"{(processes * sum(walls) - own) / options.trials:.3f}",
    }


def main() -> None:
    """Measure, print, and save where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10, help="turns, of which each has its share of the trials")
    parser.add_argument("--save", action="store_true", help=f"append the rows to {RESULTS.name}")
    options = parser.parse_args()
    splits, cores = lenscope.load("mnist"), usable_processors()
    processes = dict(zip(WAYS, (1, cores, cores), strict=True))
    times: dict[str, Times] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kinds = {"one core": Pool, "local": Pool, "ray": RayPool}
        pools = {way: stack.enter_context(kinds[way](splits, processes[way], Silence())) for way in WAYS}
        for way in WAYS:
            (folder / way).mkdir()
        starts = {way: start(pools[way], processes[way], folder / way) for way in WAYS}
        share = options.trials // options.rounds
        for turn in range(options.rounds):
            trials = trials_of(range(turn * share, (turn + 1) * share), options.epochs)
            for way in (WAYS, WAYS[::-1])[turn % 2]:
                times[way].append(train(pools[way], trials, folder / way))
            print(", ".join(f"{way} {times[way][-1][0]:.1f} s" for way in WAYS), flush=True)
    rows = [row_of(way, processes[way], times, starts, options) for way in WAYS]
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()))
    if options.save:
        save(rows, RESULTS)


if __name__ == "__main__":
    main()
