"""Does longer training make gradient operators of the kernels? Plain, with weight decay, and with augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from lenscope.config import RECIPES, Augmentation, TrainConfig
from lenscope.lab.experiment import Experiment, each_once, metrics_rows, whole
from lenscope.lab.kernels import film_rows, score_rows
from lenscope.lab.rows import collect
from lenscope.lab.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lenscope.data.dataset import Splits
    from lenscope.insight.findings import Findings
    from lenscope.lab.experiment import Runs, Tables
    from lenscope.runs.run import Run

Variant = Literal["plain", "decay", "augmented"]
VARIANTS: dict[Variant, dict[str, object]] = {
    "plain": {},
    "decay": {"optimizer": "adamw", "weight_decay": 0.1},
    "augmented": {"augment": Augmentation.parse(RECIPES["best"]["augment"])},
}
WORDS = {
    "plain": "the lecture's recipe",
    "decay": "adamw with a weight decay of 0.1",
    "augmented": f"images distorted anew each epoch ({RECIPES['best']['augment']})",
}


class Longrun(Experiment):
    """Train for hundreds of epochs and watch kernels, loss and accuracy."""

    name: ClassVar[str] = "longrun"

    seeds: str = Field("5", description="how many seeds, from 0 on, or a range of them such as 100..119")
    epochs: int = Field(500, ge=1, le=100_000, description="passes over the training images")
    batch_size: int = Field(100, ge=1, le=1_000_000, description="images an update; 100 is the lecture's")
    variants: tuple[Variant, ...] = Field(("plain", "decay", "augmented"), description="which of them are trained")

    @field_validator("variants", mode="before")
    @classmethod
    def _take_a_list(cls, value: Any) -> Any:
        return each_once("variants", value)

    def goes_beyond(self, held: Experiment) -> set[str]:
        """Seeds or variants that are added train no others again."""
        more = isinstance(held, Longrun) and set(held.variants) <= set(self.variants)
        return super().goes_beyond(held) | ({"variants"} if more else set())

    def trials(self, runs: Runs) -> list[Trial]:  # noqa: ARG002
        """A run a variant and seed."""
        config = TrainConfig(data=self.data, epochs=self.epochs, batch_size=self.batch_size, threads=1)
        return [
            Trial(
                f"{variant}-{seed}",
                config.with_settings(seed=seed, **VARIANTS[variant]),
                {"variant": variant, "seed": seed},
            )
            for seed in self.each_seed
            for variant in self.variants
        ]

    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:  # noqa: ARG002
        """Metrics and scores at epochs that are spread evenly over their logarithm, and the films of the first seed."""
        epochs, runs = spread_epochs(self.epochs), whole(runs)
        first = [(trial, run) for trial, run in runs if trial.config.seed == self.each_seed[0]]
        return {
            "results": collect(row for trial, run in runs for row in metrics_rows(trial, run, epochs)),
            "kernels": collect(row for trial, run in runs for row in score_rows(trial, run, epochs)),
            "films": collect(row for trial, run in first for row in film_rows(trial, run)),
        }

    def conclude(self, tables: Tables) -> Findings:
        """What the kernels became, and what became of loss and accuracy."""
        from lenscope.lab.longrun_findings import longrun_findings

        return longrun_findings(self, tables)


def spread_epochs(last: int, to_ten: int = 10) -> frozenset[int]:
    """Epochs from 0 to the last, about ten for each power of ten.

    >>> sorted(spread_epochs(10, 4))
    [0, 1, 2, 3, 6, 10]
    """
    count = int(np.ceil(np.log10(last) * to_ten)) + 1 if last > 1 else 1
    return frozenset({0, last, *np.geomspace(1, last, count).round().astype(int).tolist()})
