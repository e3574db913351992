"""How the recipes were found, on a validation part of MNIST's training images, and what they reach on its test images.

    python benchmarks/recipes.py search fast              settings tried, best last, on 10,000 images held out
    python benchmarks/recipes.py search best --seeds 2
    python benchmarks/recipes.py report fast --seeds 100  trained on all 60,000; the test images are looked at once
    python benchmarks/recipes.py report best --seeds 20 --save
    python benchmarks/recipes.py race fast --rounds 7     its training and an epoch of PyTorch eager, in turn

A search never sees the test images. Seconds are those of training alone, evaluation not counted.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import lenscope
from lenscope.bench.task import Task
from lenscope.bench.torch_peers import eager
from lenscope.config import RECIPES, TrainConfig, resolve
from lenscope.data.dataset import Splits
from lenscope.engines import choose_engine
from lenscope.environment import processor_name, usable_processors
from lenscope.insight.intervals import mean_interval
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.training.events import EpochDone
from lenscope.training.fit import fit

RESULTS = Path(__file__).parent / "results"
HELD_OUT = 10_000

Settings = dict[str, Any]


def grid(**choices: list[Any]) -> list[Settings]:
    """Every combination of the choices."""
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


SEARCHES: dict[str, list[Settings]] = {
    "fast": [
        *grid(
            optimizer=["adam"],
            schedule=["onecycle"],
            epochs=[2, 3],
            batch_size=[50, 100],
            learning_rate=[3e-3, 5e-3, 8e-3],
        ),
        *grid(
            optimizer=["adam"],
            schedule=["onecycle"],
            epochs=[4],
            batch_size=[50, 100],
            learning_rate=[5e-3, 8e-3, 1.2e-2],
            augment=["none", "shift=1"],
        ),
        *grid(
            optimizer=["adam"],
            schedule=["onecycle"],
            epochs=[3],
            batch_size=[50],
            learning_rate=[6e-3, 1e-2],
            augment=["none", "shift=0.5", "shift=1"],
        ),
    ],
    "best": [
        *grid(
            optimizer=["adam"],
            schedule=["onecycle"],
            epochs=[15],
            batch_size=[50, 100],
            learning_rate=[3e-3, 6e-3],
            augment=[
                "rotation=10,shift=1.5,scale=0.1,shear=8",
                "rotation=10,shift=1.5,scale=0.1,shear=8,elastic=0.6",
                "rotation=10,shift=1.5,scale=0.1,shear=8,elastic=1",
            ],
        ),
        *grid(
            optimizer=["adam"],
            schedule=["onecycle"],
            epochs=[40],
            batch_size=[50],
            learning_rate=[2e-3, 3e-3],
            augment=[
                "rotation=10,shift=1.5,scale=0.1,shear=8,elastic=0.6",
                "rotation=12,shift=2,scale=0.15,shear=10,elastic=0.7",
            ],
        ),
    ],
}


class Outcome(NamedTuple):
    """What one run reached, and how long its training took."""

    accuracy: float
    loss: float
    seconds: float


def train(config: TrainConfig, splits: Splits, part: str) -> Outcome:
    """Train once and measure on the `validation` or the `test` part; splits are at the network's size."""
    network = Network(config.network, splits.train.channels, len(splits.classes))
    engine = choose_engine(network, initial_weights(network, config.seed, config.init), splits.train, config)
    rows = [event.metrics for event in fit(config, splits, engine) if isinstance(event, EpochDone)]
    seconds = sum(row.train_seconds or 0 for row in rows)
    return Outcome(getattr(rows[-1], f"{part}_accuracy"), getattr(rows[-1], f"{part}_loss"), seconds)


def search(recipe: str, seeds: int, first: int) -> None:
    """Print what each setting reaches on the images held out, from the setting of that number on."""
    whole = lenscope.load("mnist").resized(32)
    found: list[tuple[float, str]] = []
    for settings in SEARCHES[recipe][first:]:
        outcomes = []
        for seed in range(seeds):
            config = TrainConfig(**settings, validation=HELD_OUT, seed=seed)
            splits = whole.hold_out(config.validation, seed)
            outcomes.append(train(config, Splits(splits.train, splits.validation), "validation"))
        accuracy = statistics.mean(outcome.accuracy for outcome in outcomes)
        seconds = statistics.median(outcome.seconds for outcome in outcomes)
        text = " ".join(f"{name}={value}" for name, value in settings.items())
        print(f"{accuracy:8.3%}  {seconds:6.2f} s  {text}", flush=True)
        found.append((accuracy, text))
    print(f"\nbest on the {HELD_OUT:,} images held out, mean of {seeds} seeds: {max(found)[0]:.3%}  {max(found)[1]}")


def report(recipe: str, seeds: int) -> dict[str, Any]:
    """Train on all images with each seed; the row for the results."""
    whole = lenscope.load("mnist").resized(32)
    outcomes = []
    for seed in range(seeds):
        outcomes.append(train(resolve(recipe, seed=seed), whole, "test"))
        print(f"seed {seed:<4} {outcomes[-1].accuracy:.2%}  {outcomes[-1].seconds:.2f} s", flush=True)
    accuracies = [outcome.accuracy for outcome in outcomes]
    low, high = mean_interval(accuracies)
    seconds = [outcome.seconds for outcome in outcomes]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{usable_processors()} cores of {processor_name()}",
        "recipe": recipe,
        "n": seeds,
        "mean_accuracy": f"{statistics.mean(accuracies):.5f}",
        "interval_low": f"{low:.5f}",
        "interval_high": f"{high:.5f}",
        "sd": f"{statistics.stdev(accuracies):.5f}",
        "least_accuracy": min(accuracies),
        "most_accuracy": max(accuracies),
        "median_train_seconds": f"{statistics.median(seconds):.2f}",
        "least_seconds": f"{min(seconds):.2f}",
        "most_seconds": f"{max(seconds):.2f}",
    }


def race(recipe: str, rounds: int) -> None:
    """Print the seconds of the recipe's training and of one epoch of PyTorch eager, taken in turn."""
    data = lenscope.load("mnist")
    peer, sized = eager(Task(data.train, data.to_measure(), 100, usable_processors())), data.resized(32)
    found: dict[str, list[float]] = {recipe: [], "an epoch of PyTorch eager": []}
    for seed in range(rounds + 1):
        begun = time.perf_counter()
        peer.train()
        taken = time.perf_counter() - begun, train(resolve(recipe, seed=seed), sized, "test").seconds
        if seed > 0:  # the first warms up
            found["an epoch of PyTorch eager"].append(taken[0])
            found[recipe].append(taken[1])
    for name, seconds in found.items():
        print(f"{name}: {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}, n = {rounds})")
    print(f"ratio of the medians: {statistics.median(found[recipe]) / statistics.median(seconds):.2f}")


def main() -> None:
    """Search, report or race, as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "report", "race"))
    parser.add_argument("recipe", choices=[name for name in RECIPES if name != "lecture"] or list(SEARCHES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7, help="of a race")
    parser.add_argument("--first", type=int, default=0, help="the setting that a search starts at")
    parser.add_argument("--save", action="store_true", help="append the row of a report to results/recipes.csv")
    options = parser.parse_args()
    if options.what == "search":
        search(options.recipe, options.seeds, options.first)
        return
    if options.what == "race":
        race(options.recipe, options.rounds)
        return
    row = report(options.recipe, options.seeds)
    print(f"\n{row}")
    if options.save:
        path = RESULTS / "recipes.csv"
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row, lineterminator="\n")
            writer.writerows([dict(zip(row, row, strict=True))] * new + [row])


if __name__ == "__main__":
    main()
