"""Whether kernels become gradient operators in a long training: plain, with weight decay, and with augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from lenscope.config import RECIPES, Augmentation, TrainConfig
from lenscope.lab.execution.trials import Trial
from lenscope.lab.experiment import Experiment, unique_values
from lenscope.lab.tables.kernels import film_rows, score_rows
from lenscope.lab.tables.results import finished_runs, results_of
from lenscope.lab.tables.rows import collect
from lenscope.training.schedules import evaluated_epochs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lenscope.config import EvaluateName
    from lenscope.data.dataset import Splits
    from lenscope.lab.experiment import Plan, Runs, Tables
    from lenscope.runs.run import Run

Variant = Literal["plain", "decay", "augmented"]
VARIANTS: dict[Variant, dict[str, object]] = {
    "plain": {},
    "decay": {"optimizer": "adamw", "weight_decay": 0.1},
    "augmented": {"augment": Augmentation.parse(RECIPES["best"]["augment"])},
}
EVALUATE: EvaluateName = "spread"
DESCRIPTIONS = {
    "plain": "the lecture's recipe",
    "decay": "adamw with a weight decay of 0.1",
    "augmented": f"images distorted differently in each epoch ({RECIPES['best']['augment']})",
}


class Longrun(Experiment):
    """Train for hundreds of epochs and follow kernels, loss and accuracy."""

    name: ClassVar[str] = "longrun"
    growing: ClassVar[set[str]] = {"seeds", "variants"}

    seeds: str = Field("5", description="number of seeds (5 is 0 to 4), or a range such as 100..119")
    epochs: int = Field(500, ge=1, le=100_000, description="passes over the training images")
    batch_size: int = Field(100, ge=1, le=1_000_000, description="images per batch; the lecture uses 100")
    variants: Annotated[tuple[Variant, ...], BeforeValidator(unique_values)] = Field(
        ("plain", "decay", "augmented"), description="variants to train"
    )

    def extendable_settings(self, before: Experiment) -> set[str]:
        """Seeds and variants may be added."""
        more = isinstance(before, Longrun) and set(before.variants) <= set(self.variants)
        return super().extendable_settings(before) | ({"variants"} if more else set())

    def trials(self, runs: Runs) -> Plan:  # noqa: ARG002
        """One run per seed and variant."""
        config = TrainConfig(
            data=self.data, epochs=self.epochs, batch_size=self.batch_size, evaluate=EVALUATE, threads=1
        )
        yield [
            Trial(
                f"{variant}-{seed}",
                config.with_settings(seed=seed, **VARIANTS[variant]),
                {"variant": variant, "seed": seed},
            )
            for seed in self.each_seed
            for variant in self.variants
        ]

    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:  # noqa: ARG002
        """Metrics and kernel scores at epochs spaced evenly in their logarithm, and the films of the first seed."""
        epochs, runs = evaluated_epochs(EVALUATE, self.epochs), finished_runs(runs)
        first = [(trial, run) for trial, run in runs if trial.config.seed == self.each_seed[0]]
        return {
            "results": results_of(runs, epochs),
            "kernels": collect(row for trial, run in runs for row in score_rows(trial, run, epochs)),
            "films": collect(row for trial, run in first for row in film_rows(trial, run)),
        }
