"""Find the best settings: a grid, a list or a search, with several seeds each."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import cached_property
from itertools import islice, product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import tomli_w
from pydantic import Field, field_validator, model_validator

from lenscope.config import RecipeName, TrainConfig  # noqa: TC001 - pydantic reads it
from lenscope.errors import UsageError
from lenscope.lab.execution.trials import Trial
from lenscope.lab.experiment import Experiment
from lenscope.lab.questions.grid import Setting, combine, configure, known, label, plain, range_of, read_grid, varied
from lenscope.lab.tables.results import finished_runs, results_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lenscope.data.dataset import Splits
    from lenscope.lab.experiment import Plan, Runs, Tables
    from lenscope.runs.run import Run

COLUMN = "config."  # prefix of a setting's column, since the metrics have a learning rate, too
HELD_OUT = 0.1  # fraction of the training images, by default, where settings are compared
MOST_RUNS = 1_000_000
MOST_CHECKED = 1000  # combinations of a search that are checked before it starts
READING = ("skip_unreadable", "fit")  # settings that decide how the data are read
MARK = 12  # hexadecimal digits of a trial's name: two of a million collide with a chance of 0.2 %, which is noticed


class Sweep(Experiment):
    """Train every combination of settings with every seed, or search for the best, and rank them."""

    name: ClassVar[str] = "sweep"
    growing: ClassVar[set[str]] = {"seeds", "grid", "each"}

    seeds: str = Field("5", description="number of seeds (5 is 0 to 4), or a range such as 100..119")
    recipe: RecipeName = Field("lecture", description="preset; settings of the grid override it")
    grid: dict[str, list[Any]] = Field(
        {},
        description="a setting and its values, such as lr=1e-4,1e-3 (values of augment and autoencode are separated "
        "by |); all combinations are trained; with --search also a range, such as lr=1e-4..1e-2",
    )
    each: list[dict[str, Any]] = Field([], description="list of settings, each combined with the grid")
    search: int = Field(
        0, ge=0, le=100_000, description="number of settings to try in a search with Optuna; 0 for all combinations"
    )
    halving: bool = Field(
        default=False,
        description="successive halving: search with few epochs; the best third of each group gets three times as many",
    )
    at_once: int = Field(9, ge=1, le=10_000, description="number of settings that a search proposes at a time")

    @field_validator("grid", mode="before")
    @classmethod
    def _take_texts(cls, value: Any) -> Any:
        return read_grid(value)

    @field_validator("each")
    @classmethod
    def _know_each(cls, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{known(name): setting for name, setting in one.items()} for one in value]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        listed = {name for one in self.each for name in one}
        both = self.grid.keys() & listed
        if both:
            raise ValueError(f"{min(both)}: given in the grid and in the list; give it in one of them")
        unequal = [name for name in READING if len(self.grid.get(name, [])) > 1 or name in listed]
        if unequal:
            raise ValueError(f"{unequal[0]}: must be equal for all runs; give it in the grid, with one value")
        count = self.search or prod(map(len, self.grid.values())) * max(1, len(self.each))
        if count * len(self.each_seed) > MOST_RUNS:
            raise ValueError(
                f"seeds: got {count:,} settings with {len(self.each_seed):,} seeds, expected at most {MOST_RUNS:,} runs"
            )
        ranges = [name for name, values in self.grid.items() if range_of(values)]
        if ranges and not self.search:
            raise ValueError(f"{ranges[0]}: got a range, which requires a search; add --search 30, or give values")
        if self.search and self.each:
            raise ValueError("each: a search chooses the settings itself; omit the list")
        if self.search and not self.grid:
            raise ValueError("search: got no settings to search; add --set lr=1e-4..1e-2")
        if self.halving and not self.search:
            raise ValueError("halving: requires a search; add --search 30")
        epochs = self.grid.get("epochs", [])
        if self.halving and (len(epochs) > 1 or range_of(epochs)):
            raise ValueError("epochs: got several values, but halving chooses the epochs; give the largest number")
        if self.halving and not epochs and len(self.grid.get("recipe", [])) > 1:
            raise ValueError(
                "epochs: not given, but the recipes differ in it; halving needs the largest number, such as epochs=27"
            )
        return self

    def extendable_settings(self, before: Experiment) -> set[str]:
        """Seeds may be added, settings to a grid that keep its runs, and settings that a search tries."""
        if not isinstance(before, Sweep):
            return set()
        if before.search or self.search:
            longer = 0 < before.search <= self.search
            return super().extendable_settings(before) | ({"search"} if longer else set())
        earlier, now = ({trial.name for trial in sweep.expected_trials()} for sweep in (before, self))
        return {"grid", "each", "recipe", "seeds"} if earlier <= now else super().extendable_settings(before)

    def remedy(self, before: Experiment, name: str) -> str:
        """As for every experiment; runs of a single setting hold nothing out, and those of a comparison do."""
        if isinstance(before, Sweep) and before.compares < self.compares:
            return "settings are compared on held-out images, and a single one has none; "
        return super().remedy(before, name)

    @property
    def may_end_early(self) -> bool:
        """Whether a search may propose the same settings twice, or patience may end runs."""
        return bool(self.search) or any(config.patience for config in self._configs())

    def expected_trials(self) -> list[Trial]:
        """Every run; of a search as many, with the upper end of each range."""
        from lenscope.lab.questions.search import expected_sizes

        if not self.search:
            return next(self.trials({}))
        ends = {name: between.high if (between := range_of(v)) else v[0] for name, v in self.grid.items()}
        config = self.configure(ends)
        sized = [(config.with_settings(epochs=e), n) for e, n in expected_sizes(self, config.epochs)]
        return [
            Trial(f"search-{number}", own)
            for number, own in enumerate(own for own, count in sized for _ in range(count * len(self.each_seed)))
        ]

    @property
    def reading(self) -> dict[str, Any]:
        """Whether unreadable pictures are skipped, and how pictures become square."""
        return {name: self.grid[name][0] for name in READING if name in self.grid}

    def check(self, splits: Splits) -> None:
        """Raise UsageError for settings that do not fit each other, before anything is written."""
        from lenscope.lab.questions.search import require_optuna

        if self.search:
            require_optuna()
        held_out: set[float] = set()
        for config in map(self.configure, self._checked_settings()):
            held_out.add(config.validation or 0)
            if config.reconstructs:
                raise UsageError(f"network: got {config.network}, which has no accuracy; a sweep compares accuracies")
            if self.search and not config.validation:
                raise UsageError("validation: got 0, but a search requires validation images; omit it, or give more")
        if len(held_out) > 1:
            sizes = " and ".join(f"{size:g}" for size in sorted(held_out))
            raise UsageError(f"validation: got {sizes}, but settings are compared on the same images; give one value")
        super().check(splits)

    def measures_held_out(self, splits: Splits) -> bool:
        """Where each run has validation images, which the settings are compared on."""
        return splits.validation is not None or all(config.validation for config in self._configs())

    def _checked_settings(self) -> Iterable[Setting]:
        """Every combination; of a search, those of its values and the ends of its ranges, up to a number."""
        if not self.search:
            return self.settings
        columns = [[(name, value) for value in range_of(values) or values] for name, values in self.grid.items()]
        return (dict(chosen) for chosen in islice(product(*columns), MOST_CHECKED))

    def configure(self, setting: Setting) -> TrainConfig:
        """The complete settings of a run; raises ConfigError."""
        held_out = HELD_OUT if self.compares else 0
        return configure(setting, recipe=self.recipe, validation=held_out, threads=1).with_settings(data=self.data)

    @property
    def compares(self) -> bool:
        """Whether there is more than one setting, so that one can be the best."""
        return bool(self.search) or len(self.settings) > 1

    @cached_property
    def settings(self) -> list[Setting]:
        """Every combination; empty for a search."""
        return [] if self.search else combine(self.grid, self.each)

    def trials(self, runs: Runs) -> Plan:
        """One run per setting and seed; in a search, one group of settings after another."""
        from lenscope.lab.questions.search import search

        if self.search:
            yield from search(self, runs)
            return
        configs = [self.configure(setting) for setting in self.settings]
        names = varied(self.settings, configs)
        marks = [mark(config) for config in configs]
        (most, times), *_ = Counter(marks).most_common(1)
        if times > 1:
            twice = label(configs[marks.index(most)], names)
            raise UsageError(f"{twice}: got the same settings {times} times; give each once")
        yield [trial for config in configs for trial in self.over_seeds(config, names)]

    def over_seeds(self, config: TrainConfig, names: Sequence[str]) -> list[Trial]:
        """The runs of one setting, whose tags are the settings of these names."""
        own = {"setting": label(config, names)} | {f"{COLUMN}{name}": plain(getattr(config, name)) for name in names}
        own["epochs"] = config.epochs
        seeded = [config.with_settings(seed=seed) for seed in self.each_seed]
        return [Trial(mark(one), one, own | {"seed": one.seed}) for one in seeded]

    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:  # noqa: ARG002
        """Every epoch of every run."""
        return {"results": results_of(finished_runs(runs))}


def mark(config: TrainConfig) -> str:
    """The name of a run: the first digits of the SHA-256 of the settings that are not the default.

    The folder of the data does not count, nor do settings that a later release adds.
    """
    given = config.model_dump(exclude_defaults=True) | {"data": Path(config.data).name or "data"}
    return hashlib.sha256(tomli_w.dumps(given).encode()).hexdigest()[:MARK]
