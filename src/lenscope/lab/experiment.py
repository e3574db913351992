"""What an experiment is: settings, the runs that it needs, and the tables that it keeps of them."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from lenscope.config import Settings
from lenscope.errors import ConfigError, UsageError
from lenscope.lab.execution.trials import divide
from lenscope.training.fit import check_batch_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.lab.execution.trials import Trial
    from lenscope.lab.tables.rows import Rows
    from lenscope.runs.run import Run

    Runs = dict[str, Run]
    Tables = dict[str, Rows]
    Plan = Iterator[list[Trial]]


class Experiment(Settings):
    """A question that many runs answer; its fields are its settings.

    The findings are a function of these settings and of the tables alone (`catalogue.FINDINGS`), so that the page can
    be made again without the runs.

    Attributes:
        name: of the experiment and of its command.
        compared: cells of the results that the findings rest on, such as `{"stage": "race"}`; without a row that has
            them there are no findings.
        growing: settings to which values may be added in the same directory.

    Raises:
        ConfigError: a setting outside its range, in one line.
    """

    model_config = ConfigDict(strict=True)
    name: ClassVar[str]
    compared: ClassVar[dict[str, str]] = {}
    growing: ClassVar[set[str]] = {"seeds"}

    data: str = Field(
        "mnist", min_length=1, description="what to train on: the name of a data set, or a folder of pictures"
    )
    seeds: str = Field("20", description="number of seeds (20 is 0 to 19), or a range such as 100..119")

    @field_validator("seeds", mode="before")
    @classmethod
    def _take_a_count(cls, value: Any) -> Any:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(text, str) and not _range_of(text):
            raise ValueError(f"seeds: got {text[:60]!r}, expected a count (20) or a range (100..119)")
        return text

    @property
    def each_seed(self) -> range:
        """The seeds."""
        return _range_of(self.seeds) or range(0)

    @property
    def reading(self) -> dict[str, Any]:
        """How the data are read: options of `api.load`, the same for all runs."""
        return {}

    def extendable_settings(self, before: Experiment) -> set[str]:
        """Names of settings that may differ from those of an earlier experiment, all of whose runs this one needs."""
        return {"seeds"} if set(before.each_seed) <= set(self.each_seed) else set()

    @property
    def may_end_early(self) -> bool:
        """Whether fewer runs or epochs than `expected_trials` may be needed, depending on results."""
        return False

    def expected_trials(self) -> list[Trial]:
        """All runs, before any is trained; one that depends on the results of others has typical settings."""
        return next(self.trials({}))

    def remedy(self, before: Experiment, name: str) -> str:  # noqa: ARG002
        """What to do about a setting that differs from that of an earlier experiment, besides another directory."""
        return "keep the earlier values and add others, or " if name in self.growing else ""

    def check(self, splits: Splits) -> None:
        """Raise UsageError for settings that do not fit the data, before anything is written."""
        if splits.test is None and not self.measures_held_out(splits):
            raise UsageError(
                f"{self.data}: no test images, on which an experiment measures; put some of the pictures of each "
                "class into test/CLASS and the others into train/CLASS"
            )
        images = len(splits.train)
        for config in {(c.validation, c.train_images, c.batch_size, c.recipe): c for c in self._configs()}.values():
            train, held_out = divide(config, images)
            if config.validation and splits.validation is not None:
                remedy = "move its pictures to train"
                if "validation" not in type(self).model_fields:
                    remedy = f"add {self.option('validation', 0)} to compare on it"
                raise UsageError(
                    "validation: the data have a validation part of their own, and no images of train can be held out; "
                    f"{remedy}"
                )
            if config.validation and not 0 < held_out < images:
                given, works = self.option("validation", config.validation), self.option("validation", -(-images // 5))
                raise UsageError(
                    f"{given}: expected to hold out 1 to {images - 1:,} of the {images:,} training images; try {works}"
                )
            try:
                check_batch_size(config, train)
            except ConfigError:
                given, works = self.option("batch_size", config.batch_size), self.option("batch_size", train)
                raise UsageError(f"{given}: expected at most the {train:,} training images; try {works}") from None

    def measures_held_out(self, splits: Splits) -> bool:  # noqa: ARG002
        """Whether validation images are enough for its conclusions on these data."""
        return False

    def _configs(self) -> Iterator[TrainConfig]:
        return (trial.config for trial in self.expected_trials())

    def option(self, name: str, value: object) -> str:
        """A setting of the runs as it is given on the command line."""
        return f"--{name.replace('_', '-')} {value}" if name in type(self).model_fields else f"--set {name}={value}"

    @abstractmethod
    def trials(self, runs: Runs) -> Plan:
        """Yield the runs that are needed next; before the following ones are asked for, `runs` has them by name."""

    @abstractmethod
    def measure(self, runs: Sequence[tuple[Trial, Run]], splits: Splits) -> Tables:
        """What is kept of the runs, as tables by the names of their files; `results` is one of them."""


def unique_values(value: Any, field: ValidationInfo) -> Any:
    """A list from TOML, or a tuple, as a tuple; raises ValueError where it is empty or has a value twice."""
    value = tuple(value) if isinstance(value, list) else value
    if isinstance(value, tuple) and (not value or len(set(value)) < len(value)):
        got = " ".join(map(str, value)) or "none"
        raise ValueError(f"{field.field_name}: got {got}, expected one or more values, each once")
    return value


def _range_of(text: str) -> range | None:
    """The seeds of a text such as `20` or `100..119`; None for another text."""
    found = re.fullmatch(r"(?:([0-9]{1,9})\.\.)?([0-9]{1,9})", text, re.ASCII)
    if not found:
        return None
    first, last = (0, int(found[2]) - 1) if found[1] is None else (int(found[1]), int(found[2]))
    return range(first, last + 1) or None
