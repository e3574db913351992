"""Frozen, validated settings whose errors are one line, and the TOML texts that they are read from."""

from __future__ import annotations

import errno
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from lenscope.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN_PROBLEMS = 3

# Characters of settings as TOML. All settings with two of the longest paths take 9,000. A key of 16,000 characters with
# a dot at every second takes the parser two seconds, one twice as long four times that.
MAX_CHARACTERS = 10_000


class Settings(BaseModel):
    """Frozen and validated settings whose errors are one line.

    Raises:
        ConfigError: a setting outside its range, or an unknown setting.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, /, **settings: Any) -> None:
        """Validate the settings; raises ConfigError with one line for all problems."""
        try:
            super().__init__(**settings)
        except ValidationError as error:
            known = type(self).model_fields
            # pydantic reports a union once per member: the last message stands for the setting.
            problems = [*{item["loc"][:1]: _problem(item, known) for item in error.errors()}.values()]
            more = [f"and {len(problems) - SHOWN_PROBLEMS} more"] if len(problems) > SHOWN_PROBLEMS else []
            raise ConfigError("; ".join(problems[:SHOWN_PROBLEMS] + more)) from None
        for name, value in self:
            for path in value if isinstance(value, tuple) else (value,):
                if isinstance(path, Path):
                    require_possible(name, path)


class NumberGroup(Settings):
    """A group of numbers that is one setting: a table in TOML, or a text such as `rotation=10,shift=2`."""

    model_config = ConfigDict(strict=True)
    setting: ClassVar[str]  # its name in `TrainConfig`
    example: ClassVar[str]  # as a text

    def __str__(self) -> str:
        fields = type(self).model_fields
        given = [f"{name}={value!r}".removesuffix(".0") for name, value in self if value != fields[name].default]
        return ",".join(given) or "none"

    @classmethod
    def parse(cls, value: Any) -> Self:
        """The group from a table, or from a text such as the example or `none`.

        Raises:
            ConfigError: an unknown setting, or one outside its range.
        """
        try:
            table = _read_pairs(value) if isinstance(value, str) else value
            if isinstance(table, dict):
                return cls(**{str(key): setting for key, setting in table.items()})
        except ConfigError as error:
            raise ConfigError(f"{cls.setting}: {error}") from None
        if not isinstance(table, cls):
            raise ConfigError(
                f"{cls.setting}: got {shown(value)}, expected 'none', a table, or a text such as '{cls.example}'"
            )
        return table


def _read_pairs(text: str) -> dict[str, float | str] | None:
    """The names and numbers of a text such as `rotation=10,shift=2`; None where it is not such a text."""
    if text.strip() == "none":
        return {}
    pairs = [[part.strip() for part in pair.split("=")] for pair in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        return None
    if len(dict(pairs)) < len(pairs):
        raise ConfigError(f"got {shown(text)}, expected each setting once")
    return {name: _number_or_text(value) for name, value in pairs}


def _number_or_text(text: str) -> float | str:
    """The number in a text, or the text itself, which validation then refuses by name."""
    try:
        return float(text)
    except ValueError:
        return text


def read_toml(file: Path) -> str:
    """The text of a file of settings; raises ConfigError naming the file."""
    try:
        with file.open(encoding="utf-8") as text:
            return text.read(MAX_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        unreadable = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error
        reason = getattr(error, "strerror", None) or unreadable
        raise ConfigError(f"{file}: cannot be read: {reason}; --config takes a TOML file") from None


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """The top-level table of a TOML text; raises ConfigError naming `source`."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"{source}: more than {MAX_CHARACTERS} characters; settings take a few hundred")
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))  # a byte order mark, as editors on Windows write
    except (ValueError, RecursionError) as error:  # a plain ValueError: an integer of thousands of digits
        reason = str(error) if len(str(error)) <= 200 else f"{str(error)[:100]}…{str(error)[-60:]}"  # it quotes the key
        raise ConfigError(f"{source}: not TOML: {reason}; expected lines such as 'epochs = 10'") from None


def require_possible(name: str, path: Path) -> None:
    """Raise ConfigError for a path that no file can have: too long, with a NUL, or of characters without bytes."""
    try:
        path.lstat()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:  # a possible path
            return
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{name}: {shown(str(path))} is not a valid path: {reason}; choose another") from None


def shown(value: Any) -> str:
    """A wrong value on one short line, whatever it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a table nested without end
        return "too much to show"
    return text if len(text) <= 60 else f"{text[:59]}…"


def _problem(item: Any, known: Iterable[str]) -> str:
    """One pydantic error in our words: the setting, what was got, what was expected."""
    name = str(item["loc"][0]) if item["loc"] else ""
    if item["type"] == "extra_forbidden":
        return str(unknown_name("setting", name, known))
    if item["type"] == "string_unicode":
        return f"{name}: got {shown(item['input'])}, which is not valid UTF-8, as settings must be; rename it"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if item["type"] == "value_error":
        return str(message)
    return f"{name}: got {shown(item['input'])}, expected {message}"
