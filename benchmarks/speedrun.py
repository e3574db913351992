"""The recipe `speedrun`: seconds and test accuracy over many seeds.

    python benchmarks/speedrun.py               200 seeds, printed; about six minutes
    python benchmarks/speedrun.py fast 20       another recipe, fewer seeds
    python benchmarks/speedrun.py speedrun 200 --save    and a row in benchmarks/results/recipes.csv

`training` is the time of the steps of all epochs. `from files` adds reading MNIST's compressed files, checking their
hashes and resizing to 32×32, in a process that has imported everything. Evaluation is not timed. Each seed has initial
weights, order and distortions of its own; the test images are measured once, after the last epoch.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

import lenscope
from lenscope.config import resolve
from lenscope.engines import engine_for
from lenscope.environment import processor_name, usable_processors
from lenscope.insight.intervals import mean_interval
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.training.events import EpochDone
from lenscope.training.fit import fit

RESULTS = Path(__file__).parent / "results" / "recipes.csv"


def train_once(recipe: str, seed: int) -> tuple[float, float, float]:
    """Seconds from the files, seconds of training, and test accuracy."""
    config, network = resolve(recipe, seed=seed), Network("lenet")
    start = time.perf_counter()
    splits = lenscope.load("mnist").resized(network.image_size)
    read = time.perf_counter() - start
    test, splits = splits.test, lenscope.Splits(splits.train)
    with engine_for(network, initial_weights(network, seed, config.init), splits.train, config) as engine:
        done = [event.metrics for event in fit(config, splits, engine) if isinstance(event, EpochDone)]
        training = sum(row.train_seconds or 0.0 for row in done)
        assert test is not None
        return read + training, training, engine.evaluate(test).accuracy or 0.0


def main() -> None:
    """Measure, print, and save if asked to."""
    names = [word for word in sys.argv[1:] if word != "--save"]
    recipe, count = (names + ["speedrun", "200"][len(names) :])[:2]
    train_once(recipe, 0)  # warms up
    rows = np.array([train_once(recipe, seed) for seed in range(int(count))])
    machine = f"{usable_processors()} cores of {processor_name()}"
    accuracies = rows[:, 2]
    mean, (low, high) = accuracies.mean(), mean_interval(accuracies.tolist())
    for name, seconds in (("from files", rows[:, 0]), ("training", rows[:, 1])):
        print(f"{recipe}, {name}: {median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f}) on {machine}")
    print(f"test accuracy: {100 * mean:.3f} %, 95 % interval {100 * low:.3f} to {100 * high:.3f} %, n = {len(rows)}")
    if "--save" in sys.argv:
        spread = [f"{value(rows[:, 1]):.2f}" for value in (median, min, max)]
        cells = [mean, low, high, accuracies.std(ddof=1), accuracies.min(), accuracies.max()]
        row = [time.strftime("%Y-%m-%d"), machine, recipe, len(rows), *(f"{value:.5f}" for value in cells), *spread]
        with RESULTS.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(row)


if __name__ == "__main__":
    main()
