"""Which settings are best, and by how much? A grid, a list or a search of them, each over several seeds."""

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
from lenscope.lab.experiment import Experiment, metrics_rows, whole
from lenscope.lab.grid import Setting, combine, configure, known, label, plain, range_of, read_grid, varied
from lenscope.lab.rows import collect
from lenscope.lab.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lenscope.data.dataset import Splits
    from lenscope.insight.findings import Findings
    from lenscope.lab.experiment import Runs, Tables
    from lenscope.lab.search import Search
    from lenscope.runs.run import Run

COLUMN = "config."  # what the column of a setting begins with, since metrics have a learning rate, too
HELD_OUT = 0.1  # of the training images, where settings are compared and nothing else is said
MOST_RUNS = 1_000_000
LOOKED_AT = 1000  # combinations of a search that are looked at before it begins
MARK = 12  # hexadecimal digits of a trial's name: of a million trials two meet with a chance of 0.2 %, which is noticed


class Sweep(Experiment):
    """Train every combination of settings with every seed, or search for the best, and say which it is."""

    name: ClassVar[str] = "sweep"

    seeds: str = Field("5", description="how many seeds, from 0 on, or a range of them such as 100..119")
    recipe: RecipeName = Field("lecture", description="preset that the settings start from")
    grid: dict[str, list[Any]] = Field(
        {},
        description="a setting and its values, as lr=1e-4,1e-3 (of augment and autoencode with | between them); "
        "several are combined; with --search also a range, as lr=1e-4..1e-2",
    )
    each: list[dict[str, Any]] = Field([], description="settings to take one by one, each combined with the grid")
    search: int = Field(
        0, ge=0, le=100_000, description="search with Optuna: so many settings are tried; 0 for all combinations"
    )
    halving: bool = Field(
        default=False,
        description="search with few epochs first: of those asked at once the best third gets three times as many",
    )
    at_once: int = Field(9, ge=1, le=10_000, description="settings that a search asks for before it looks at results")

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
        both = self.grid.keys() & {name for one in self.each for name in one}
        if both:
            raise ValueError(f"{min(both)}: got it in the grid and in the list; give it in one of them")
        if len(self.grid.get("skip_unreadable", [])) > 1 or any("skip_unreadable" in one for one in self.each):
            raise ValueError("skip_unreadable: is the same for all runs; give it in the grid, with one value")
        count = self.search or prod(map(len, self.grid.values())) * max(1, len(self.each))
        if count * len(self.each_seed) > MOST_RUNS:
            raise ValueError(
                f"seeds: {count:,} settings of {len(self.each_seed):,} seeds; expected {MOST_RUNS:,} runs at most"
            )
        ranges = [name for name, values in self.grid.items() if range_of(values)]
        if ranges and not self.search:
            raise ValueError(f"{ranges[0]}: got a range, which a search takes; add --search 30, or give values")
        if self.search and self.each:
            raise ValueError("each: a search asks for settings itself; leave the list out")
        if self.search and not self.grid:
            raise ValueError("search: got no settings to search among; add --set lr=1e-4..1e-2")
        if self.halving and not self.search:
            raise ValueError("halving: is a way to search; add --search 30")
        epochs = self.grid.get("epochs", [])
        if self.halving and (len(epochs) > 1 or range_of(epochs)):
            raise ValueError("epochs: got several, but with halving each setting begins with few; give the most")
        if self.halving and not epochs and len(self.grid.get("recipe", [])) > 1:
            raise ValueError("epochs: got none, but recipes differ in them; with halving give the most, as epochs=27")
        return self

    def goes_beyond(self, held: Experiment) -> set[str]:
        """Names of settings in which this is the same with more: seeds, and how many settings are searched."""
        longer = isinstance(held, Sweep) and 0 < held.search <= self.search
        return super().goes_beyond(held) | ({"search"} if longer else set())

    @property
    def leaves_out(self) -> bool:
        """Whether pictures that cannot be read are left out, by all runs alike."""
        return self.grid.get("skip_unreadable") == [True]

    def check(self, splits: Splits) -> None:  # noqa: ARG002
        """Raise UsageError for settings that cannot be, before anything is written."""
        from lenscope.lab.search import require_optuna

        if self.search:
            require_optuna()
        else:
            self.trials({})
        held_out: set[float] = set()
        for config in map(self.configure, self._looked_at()):
            held_out.add(config.validation)
            if config.reconstructs:
                raise UsageError(f"network: got {config.network}, which has no accuracy; a sweep compares accuracies")
            if self.search and not config.validation:
                raise UsageError("validation: got 0, but a search chooses by it; leave it out, or hold images out")
        if len(held_out) > 1:
            sizes = " and ".join(f"{size:g}" for size in sorted(held_out))
            raise UsageError(f"validation: got {sizes}, but settings are compared on the same images; give one of them")

    def _looked_at(self) -> Iterable[Setting]:
        """Every combination; of a search those of its values and the ends of its ranges, the first of very many."""
        if not self.search:
            return self.settings
        columns = [[(name, value) for value in range_of(values) or values] for name, values in self.grid.items()]
        return (dict(chosen) for chosen in islice(product(*columns), LOOKED_AT))

    def configure(self, setting: Setting) -> TrainConfig:
        """What a setting is trained with; raises ConfigError."""
        held_out = HELD_OUT if self.compares else 0
        return configure(setting, recipe=self.recipe, validation=held_out, threads=1).with_settings(data=self.data)

    @property
    def compares(self) -> bool:
        """Whether there is more than one setting, so that one of them can be the best."""
        return bool(self.search) or len(self.settings) > 1

    @cached_property
    def settings(self) -> list[Setting]:
        """Every combination; none of a search."""
        return [] if self.search else combine(self.grid, self.each)

    @cached_property
    def _searched(self) -> Search:
        from lenscope.lab.search import Search

        return Search(self)

    def trials(self, runs: Runs) -> list[Trial]:
        """A run for each setting and seed; of a search those that are asked for by what is known."""
        if self.search:
            return self._searched.asked(runs)
        configs = [self.configure(setting) for setting in self.settings]
        names = varied(self.settings, configs)
        marks = [mark(config) for config in configs]
        (most, times), *_ = Counter(marks).most_common(1)
        if times > 1:
            twice = label(configs[marks.index(most)], names)
            raise UsageError(f"{twice}: got the same settings {times} times; give each once")
        return [trial for config in configs for trial in self.over_seeds(config, names)]

    def over_seeds(self, config: TrainConfig, names: Sequence[str]) -> list[Trial]:
        """The runs of one setting, told from the others by the settings of these names."""
        own = {"setting": label(config, names)} | {f"{COLUMN}{name}": plain(getattr(config, name)) for name in names}
        own["epochs"] = config.epochs
        seeded = [config.with_settings(seed=seed) for seed in self.each_seed]
        return [Trial(mark(one), one, own | {"seed": one.seed}) for one in seeded]

    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:  # noqa: ARG002
        """Every epoch of every run."""
        return {"results": collect(row for trial, run in whole(runs) for row in metrics_rows(trial, run))}

    def conclude(self, tables: Tables) -> Findings:
        """Which is best, by how much, and how far one more run may lie from it."""
        from lenscope.lab.sweep_findings import sweep_findings

        return sweep_findings(self, tables)


def mark(config: TrainConfig) -> str:
    """The name of a run: the first digits of the SHA-256 of those settings that are not the default.

    Where the data lie does not count, nor a setting that a later release may add.
    """
    given = config.model_dump(exclude_defaults=True) | {"data": Path(config.data).name or "data"}
    return hashlib.sha256(tomli_w.dumps(given).encode()).hexdigest()[:MARK]
