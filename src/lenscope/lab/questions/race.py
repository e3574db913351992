"""Compare the optimisers from the same initial weights, with the images in the same order."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from lenscope.config import OptimizerName, TrainConfig
from lenscope.lab.execution.trials import Trial
from lenscope.lab.experiment import Experiment
from lenscope.lab.tables.kernels import film_rows
from lenscope.lab.tables.results import finished_runs, results_of
from lenscope.lab.tables.rows import collect
from lenscope.training.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lenscope.data.dataset import Splits
    from lenscope.lab.experiment import Plan, Runs, Tables
    from lenscope.runs.run import Run

ADAMW_DECAY = 0.01  # PyTorch's default; without any it is adam
SEARCH_SEED = 1_000_000_000  # of the search's first run: seeds of the race have at most nine digits


class Race(Experiment):
    """Compare the optimisers, each at its best learning rate, with the same initial weights and order of images."""

    name: ClassVar[str] = "race"
    compared: ClassVar[dict[str, str]] = {"stage": "race"}

    seeds: str = Field("5", description="number of seeds (5 is 0 to 4), or a range such as 100..119")
    epochs: int = Field(10, ge=1, le=1_000, description="epochs of each run, of the race and of the search")
    batch_size: int = Field(100, ge=1, le=1_000_000, description="images per batch (gd uses the full training set)")
    rates: int = Field(5, ge=1, le=15, description="learning rates tried for each optimiser, factors of √10 apart")
    search_seeds: int = Field(2, ge=1, le=100, description="runs with each learning rate")
    validation: int = Field(5000, ge=1, le=1_000_000, description="training images held out in the search")

    def trials(self, runs: Runs) -> Plan:
        """The search, then the race, one run at a time since its seconds are compared."""
        search = self._search()
        yield search
        yield self._race({optimizer: best_rate(optimizer, search, runs) for optimizer in OPTIMIZERS})

    def expected_trials(self) -> list[Trial]:
        """The search, and the race with the middle learning rates."""
        return self._search() + self._race({name: one.middle_rate for name, one in OPTIMIZERS.items()})

    def _race(self, rates: Mapping[OptimizerName, float]) -> list[Trial]:
        return [
            Trial(
                f"{optimizer}-{seed}",
                self._config(optimizer, rates[optimizer], seed),
                {"stage": "race", "optimizer": optimizer, "rate": rates[optimizer], "seed": seed},
                alone=True,
            )
            for seed in self.each_seed
            for optimizer in OPTIMIZERS
        ]

    def _config(self, optimizer: OptimizerName, rate: float, seed: int) -> TrainConfig:
        own: dict[str, Any] = {"data": self.data, "epochs": self.epochs, "batch_size": self.batch_size, "seed": seed}
        decay = ADAMW_DECAY if optimizer == "adamw" else 0.0
        return TrainConfig(**own, optimizer=optimizer, learning_rate=rate, weight_decay=decay)

    def _search(self) -> list[Trial]:
        return [
            Trial(
                f"search-{optimizer}-{rate:g}-{seed}",
                self._config(optimizer, rate, SEARCH_SEED + seed).with_settings(
                    validation=self.validation, evaluate="last", threads=1
                ),
                {"stage": "search", "optimizer": optimizer, "rate": rate, "seed": SEARCH_SEED + seed},
            )
            for optimizer in OPTIMIZERS
            for rate in rates_about(OPTIMIZERS[optimizer].middle_rate, self.rates)
            for seed in range(self.search_seeds)
        ]

    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:  # noqa: ARG002
        """Every epoch of every run, and the films of the first seed's kernels."""
        race = finished_runs((trial, run) for trial, run in runs if trial.alone)
        search = [(trial, run) for trial, run in runs if not trial.alone]  # with those that failed
        first = [(trial, run) for trial, run in race if trial.config.seed == self.each_seed[0]]
        return {
            "results": results_of(search + race),
            "films": collect(row for trial, run in first for row in film_rows(trial, run)),
        }


def rates_about(middle: float, count: int) -> tuple[float, ...]:
    """Learning rates around a middle one, factors of √10 apart, rounded to two digits.

    >>> rates_about(0.001, 3)
    (0.00032, 0.001, 0.0032)
    """
    return tuple(float(f"{middle * sqrt(10) ** (place - count // 2):.2g}") for place in range(count))


def best_rate(optimizer: OptimizerName, search: Sequence[Trial], runs: Runs) -> float:
    """The rate with the highest mean validation accuracy after the last epoch; that of a run that failed is 0.

    At equal accuracy the lower mean loss wins, then the lower rate.
    """
    scores: dict[float, list[tuple[float, float]]] = {}
    for trial in search:
        if trial.config.optimizer == optimizer:
            scores.setdefault(trial.config.learning_rate, []).append(_validation(runs[trial.name]))
    means = {rate: tuple(np.mean(own, axis=0)) for rate, own in scores.items()}
    return max(sorted(means), key=lambda rate: means[rate])


def _validation(run: Run) -> tuple[float, float]:
    """Validation accuracy and minus the loss at the end; a run that failed is below all others."""
    if run.status.state != "finished":
        return 0.0, -np.inf
    return float(run.metrics.validation_accuracy[-1]), -float(run.metrics.validation_loss[-1])
