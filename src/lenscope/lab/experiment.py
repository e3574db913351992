"""What an experiment is: settings, the runs that it needs, and the tables that it keeps of them."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from lenscope.config import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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

    Raises:
        ConfigError: a setting outside its range, in one line.
    """

    model_config = ConfigDict(strict=True)
    name: ClassVar[str]
    compared: ClassVar[dict[str, str]] = {}

    data: str = Field("mnist", min_length=1, description="data set: a name from `lenscope data list`, or a folder")
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
    def skips_unreadable(self) -> bool:
        """Whether unreadable pictures of a folder are skipped."""
        return False

    def extendable_settings(self, before: Experiment) -> set[str]:
        """Names of settings that may differ from those of an earlier experiment, all of whose runs this one needs."""
        return {"seeds"} if set(before.each_seed) <= set(self.each_seed) else set()

    def check(self, splits: Splits) -> None:
        """Raise UsageError for settings that do not fit the data, before anything is written."""

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
