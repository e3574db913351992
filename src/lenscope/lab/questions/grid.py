"""Grids of settings: values given as `lr=1e-4,1e-3` or as a table, and their combinations."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from lenscope.config import NumberGroup, TrainConfig, renamed, resolve
from lenscope.errors import unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Setting = dict[str, Any]
NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})", re.ASCII | re.IGNORECASE)
TABLES = ("augment", "autoencode")  # their values contain commas, so | separates them
ELSEWHERE = {"data": "--data", "seed": "--seeds"}  # settings with an option of their own
MOST_VALUES = 10_000


class Range(NamedTuple):
    """The bounds of a search."""

    low: float
    high: float

    @property
    def whole(self) -> bool:
        """Whether both are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def logarithmic(self) -> bool:
        """Whether to search the logarithm, since the upper bound is at least ten times the lower."""
        return self.low > 0 and self.high >= 10 * self.low


def read_grid(value: object) -> dict[str, list[Any]]:
    """The values of each setting, from texts such as `lr=1e-4,1e-3` or from a table of values and lists.

    >>> read_grid(["lr=1e-4,1e-3", "augment=none|rotation=10,shift=2"])
    {'learning_rate': [0.0001, 0.001], 'augment': ['none', 'rotation=10,shift=2']}

    Raises:
        ValueError: another text or value, an unknown setting, or one that is given twice.
    """
    if isinstance(value, dict):
        pairs = [(str(name), list(values) if isinstance(values, list) else [values]) for name, values in value.items()]
    elif isinstance(value, (tuple, list)):
        pairs = [_read_text(text) for text in value]
    else:
        raise ValueError(f"grid: got {value!r:.60}, expected a table such as lr = [1e-4, 1e-3]")  # noqa: TRY004 - pydantic takes it
    grid: dict[str, list[Any]] = {}
    for name, values in ((known(name), values) for name, values in pairs):
        if name in grid:
            raise ValueError(f"{name}: given twice; give all its values at once")
        if not 0 < len(values) <= MOST_VALUES or len({str(one) for one in values}) < len(values):
            raise ValueError(f"{name}: got {len(values)} values, expected 1 to {MOST_VALUES:,}, each once")
        grid[name] = values
    return grid


def known(name: str) -> str:
    """The full name of a setting; raises ValueError for an unknown one, or one with an option of its own."""
    full = next(iter(renamed({name: None})))
    if full in ELSEWHERE:
        raise ValueError(f"{full}: cannot vary in a grid; give it with {ELSEWHERE[full]}")
    if full not in TrainConfig.model_fields:
        raise ValueError(str(unknown_name("setting", name, TrainConfig.model_fields)))
    return full


def range_of(values: Sequence[Any]) -> Range | None:
    """The range given instead of values, such as `1e-4..1e-2`; None for values; raises ValueError.

    >>> range_of(["16..256"])
    Range(low=16, high=256)
    """
    found = RANGE.fullmatch(values[0]) if len(values) == 1 and isinstance(values[0], str) else None
    if not found:
        return None
    between = Range(_scalar(found[1]), _scalar(found[2]))
    if not between.low < between.high:
        raise ValueError(f"got {values[0]}, expected the smaller number first, such as 1e-4..1e-2")
    return between


def combine(grid: Mapping[str, Sequence[Any]], each: Sequence[Setting] = ()) -> list[Setting]:
    """Every combination of the grid's values with each of the given settings; the last name varies fastest."""
    columns = [[(name, value) for value in values] for name, values in grid.items()]
    return [{**own, **dict(chosen)} for own in (each or ({},)) for chosen in product(*columns)]


def configure(setting: Setting, **others: Any) -> TrainConfig:
    """The settings of a run; precedence: recipe < others < setting; raises ConfigError."""
    settings = {**others, **setting}
    return resolve(settings.pop("recipe", None), **settings)


def varied(settings: Iterable[Setting], configs: Iterable[TrainConfig]) -> list[str]:
    """The names of the settings that differ between the runs, in the order of their first appearance."""
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    configs = list(configs)
    return [name for name in names if len({str(getattr(config, name)) for config in configs}) > 1]


def plain(value: object) -> object:
    """A setting's value as a cell of a table."""
    return str(value) if isinstance(value, NumberGroup) else value


def label(config: TrainConfig, names: Iterable[str]) -> str:
    """The name of a combination of settings, such as in tables and charts.

    >>> label(TrainConfig(learning_rate=1e-3), ["optimizer", "learning_rate"])
    'optimizer=adam, learning_rate=0.001'
    """
    return ", ".join(f"{name}={_short(getattr(config, name))}" for name in names) or "all alike"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _read_text(text: object) -> tuple[str, list[Any]]:
    name, equals, values = str(text).partition("=")
    if not equals or not values:
        raise ValueError(f"got {text!r:.60}, expected a setting and its values, such as lr=1e-4,1e-3")
    name = name.strip()
    separator = "|" if "|" in values or name in TABLES else ","
    return name, [_scalar(value.strip()) for value in values.split(separator)]


def _scalar(text: str) -> Any:
    """A number, true or false, or the text itself."""
    if text in {"true", "false"}:
        return text == "true"
    if not re.fullmatch(NUMBER, text, re.ASCII | re.IGNORECASE):
        return text
    return int(text) if re.fullmatch("[+-]?[0-9]{1,18}", text, re.ASCII) else float(text)
