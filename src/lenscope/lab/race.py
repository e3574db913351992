"""Which optimiser gets there first? All of them from the same initial weights, through the images in the same order."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np
from pydantic import Field

from lenscope.config import OptimizerName, TrainConfig
from lenscope.lab.experiment import Experiment, metrics_rows, whole
from lenscope.lab.kernels import film_rows
from lenscope.lab.rows import collect
from lenscope.lab.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lenscope.data.dataset import Splits
    from lenscope.insight.findings import Findings
    from lenscope.lab.experiment import Runs, Tables
    from lenscope.lab.rows import Rows
    from lenscope.runs.run import Run

OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)
# The middle of each search; the others lie factors of √10 from it on either side.
MIDDLE: dict[OptimizerName, float] = {
    "gd": 0.3, "sgd": 0.1, "momentum": 0.03, "nesterov": 0.03, "adam": 1e-3, "adamw": 1e-3,
}  # fmt: skip
ADAMW_DECAY = 0.01  # PyTorch's default; without any it is adam
SEARCH_SEED = 1_000_000_000  # of the search's first run: seeds that race have nine digits at most


class Race(Experiment):
    """Race the optimisers, each at its best learning rate, from the same weights and in the same order of images."""

    name: ClassVar[str] = "race"

    seeds: str = Field("5", description="how many seeds, from 0 on, or a range of them such as 100..119")
    epochs: int = Field(10, ge=1, le=1_000, description="the budget of each run, of the race and of the search")
    batch_size: int = Field(100, ge=1, le=1_000_000, description="images an update; gd takes all of them")
    rates: int = Field(5, ge=1, le=15, description="learning rates tried for each optimiser, factors of √10 apart")
    search_seeds: int = Field(2, ge=1, le=100, description="runs of each of them")
    validation: int = Field(5000, ge=1, le=1_000_000, description="training images held out in the search")

    def trials(self, runs: Runs) -> list[Trial]:
        """The search, and once it is done the race, alone on the machine since its seconds count."""
        search = self._search()
        if any(trial.name not in runs for trial in search):
            return search
        best = {optimizer: best_rate(optimizer, search, runs) for optimizer in OPTIMIZERS}
        return search + [
            self._entry(optimizer, best[optimizer], seed) for seed in self.each_seed for optimizer in OPTIMIZERS
        ]

    def _config(self, optimizer: OptimizerName, rate: float, seed: int) -> TrainConfig:
        own: dict[str, Any] = {"data": self.data, "epochs": self.epochs, "batch_size": self.batch_size, "seed": seed}
        decay = ADAMW_DECAY if optimizer == "adamw" else 0.0
        return TrainConfig(**own, optimizer=optimizer, learning_rate=rate, weight_decay=decay)

    def _search(self) -> list[Trial]:
        return [
            Trial(
                f"search-{optimizer}-{rate:g}-{seed}",
                self._config(optimizer, rate, SEARCH_SEED + seed).with_settings(validation=self.validation, threads=1),
                {"stage": "search", "optimizer": optimizer, "rate": rate, "seed": SEARCH_SEED + seed},
            )
            for optimizer in OPTIMIZERS
            for rate in rates_about(MIDDLE[optimizer], self.rates)
            for seed in range(self.search_seeds)
        ]

    def _entry(self, optimizer: OptimizerName, rate: float, seed: int) -> Trial:
        tags = {"stage": "race", "optimizer": optimizer, "rate": rate, "seed": seed}
        return Trial(f"{optimizer}-{seed}", self._config(optimizer, rate, seed), tags, alone=True)

    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:  # noqa: ARG002
        """Every epoch of every run, and the kernels' films of the first seed."""
        kept = [(trial, run) for trial, run in runs if not trial.alone] + [one for one in whole(runs) if one[0].alone]
        rows = [row for trial, run in kept for row in metrics_rows(trial, run)]
        racing = [(trial, run) for trial, run in kept if trial.alone and trial.config.seed == self.each_seed[0]]
        return {
            "results": collect(rows),
            "films": collect(row for trial, run in racing for row in film_rows(trial, run)),
        }

    def compared(self, results: Rows) -> Rows:
        """Those of the race, not of the search before it."""
        return results.where(stage="race")

    def conclude(self, tables: Tables) -> Findings:
        """Who came how far, and when."""
        from lenscope.lab.race_findings import race_findings

        return race_findings(self, tables)


def rates_about(middle: float, count: int) -> tuple[float, ...]:
    """So many rates, factors of √10 apart, rounded to two digits, about one in the middle.

    >>> rates_about(0.001, 3)
    (0.00032, 0.001, 0.0032)
    """
    return tuple(float(f"{middle * sqrt(10) ** (place - count // 2):.2g}") for place in range(count))


def best_rate(optimizer: OptimizerName, search: Sequence[Trial], runs: Runs) -> float:
    """The rate whose runs have the highest mean accuracy on their validation parts after the last epoch.

    A run that failed counts as none right. Of equals the lower mean loss wins, then the lower rate.
    """
    scores: dict[float, list[tuple[float, float]]] = {}
    for trial in search:
        if trial.config.optimizer == optimizer:
            scores.setdefault(trial.config.learning_rate, []).append(_validation(runs[trial.name]))
    means = {rate: tuple(np.mean(own, axis=0)) for rate, own in scores.items()}
    return max(sorted(means), key=lambda rate: means[rate])


def _validation(run: Run) -> tuple[float, float]:
    """Accuracy and minus the loss of the validation part at the end; of a failed run less than any other's."""
    if run.status.state != "finished":
        return 0.0, -np.inf
    return float(run.metrics.validation_accuracy[-1]), -float(run.metrics.validation_loss[-1])
