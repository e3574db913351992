"""Does the lecture's table come out again? Its recipe over many seeds, beside what it prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from lenscope.config import TrainConfig
from lenscope.lab.experiment import Experiment, metrics_rows, whole
from lenscope.lab.rows import collect
from lenscope.lab.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lenscope.data.dataset import Splits
    from lenscope.insight.findings import Findings
    from lenscope.lab.experiment import Runs, Tables
    from lenscope.runs.run import Run


class Reproduce(Experiment):
    """Train the lecture's recipe with many seeds and lay its table beside what comes out."""

    name: ClassVar[str] = "reproduce"

    epochs: int = Field(10, ge=1, le=1_000, description="passes over the training images")
    batch_size: int = Field(100, ge=1, le=1_000_000, description="images an update; 100 is the lecture's")
    first_epoch_seeds: int = Field(
        5, ge=0, le=1_000, description="of how many seeds the first epoch is measured within"
    )

    def trials(self, runs: Runs) -> list[Trial]:  # noqa: ARG002
        """A run a seed."""
        config = TrainConfig(data=self.data, epochs=self.epochs, batch_size=self.batch_size, threads=1)
        return [Trial(f"seed-{seed}", config.with_settings(seed=seed), {"seed": seed}) for seed in self.each_seed]

    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:
        """Every epoch of every run, and what the first epochs of some went through."""
        from lenscope.lab.first_epoch import measure_first_epoch

        rows = [row for trial, run in whole(runs) for row in metrics_rows(trial, run)]
        first = [
            {"seed": trial.config.seed, **row}
            for trial, _ in whole(runs)[: self.first_epoch_seeds]
            for row in measure_first_epoch(trial.config.with_settings(threads=None), splits)  # the same bytes, sooner
        ]
        return {"results": collect(rows)} | ({"first-epoch": collect(first)} if first else {})

    def conclude(self, tables: Tables) -> Findings:
        """Where the lecture's values lie among the runs'."""
        from lenscope.lab.reproduce_findings import reproduce_findings

        return reproduce_findings(self, tables)
