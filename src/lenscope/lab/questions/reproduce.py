"""The lecture's recipe over many seeds, to compare with the lecture's table."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from lenscope.config import TrainConfig
from lenscope.lab.execution.trials import Trial
from lenscope.lab.experiment import Experiment
from lenscope.lab.tables.results import finished_runs, results_of
from lenscope.lab.tables.rows import collect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lenscope.data.dataset import Splits
    from lenscope.lab.experiment import Plan, Runs, Tables
    from lenscope.runs.run import Run


class Reproduce(Experiment):
    """Train the lecture's recipe with many seeds and compare the results with the lecture's table."""

    name: ClassVar[str] = "reproduce"

    epochs: int = Field(10, ge=1, le=1_000, description="passes over the training images")
    batch_size: int = Field(100, ge=1, le=1_000_000, description="images per batch; the lecture uses 100")
    first_epoch_seeds: int = Field(
        5, ge=0, le=1_000, description="number of seeds that are also measured within their first epoch"
    )

    def trials(self, runs: Runs) -> Plan:  # noqa: ARG002
        """One run per seed."""
        config = TrainConfig(data=self.data, epochs=self.epochs, batch_size=self.batch_size, threads=1)
        yield [Trial(f"seed-{seed}", config.with_settings(seed=seed), {"seed": seed}) for seed in self.each_seed]

    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:
        """Every epoch of every run, and the steps of some runs within their first epoch."""
        from lenscope.lab.tables.first_epoch import measure_first_epoch

        runs = finished_runs(runs)
        first = [
            {"seed": trial.config.seed, **row}
            for trial, _ in runs[: self.first_epoch_seeds]
            for row in measure_first_epoch(trial.config.with_settings(threads=None), splits)  # the same bytes, sooner
        ]
        return {"results": results_of(runs)} | ({"first-epoch": collect(first)} if first else {})
