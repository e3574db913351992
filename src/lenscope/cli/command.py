"""What all commands share: parsing by tyro with errors in one line, and printing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, cast

import tyro
from pydantic import BaseModel, Field

from lenscope.config import Settings
from lenscope.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

M = TypeVar("M", bound=BaseModel)
JsonFlag = Annotated[bool, tyro.conf.arg(name="json"), Field(description="print one JSON document")]
DataDir = Annotated[
    Path | None,
    tyro.conf.arg(metavar="DIR"),
    Field(description="where else to look for the files of a named data set"),
]
MeasuredData = Annotated[
    str | None,
    tyro.conf.arg(metavar="NAME|PATH"),
    Field(description="data set; by default the run's own, its test part"),
]
OwnData = Annotated[
    str | None,
    tyro.conf.arg(metavar="NAME|PATH"),
    Field(description="where the run's own data are now; by default where they were"),
]
NO_PAIRS = (tyro.conf.FlagCreatePairsOff,)  # --quiet, without --no-quiet


class Command(Settings):
    """A verb: its fields are its options."""

    @classmethod
    def parse(cls, program: str, arguments: list[str]) -> Self:
        """The command with its options; raises UsageError."""
        return parse(cls, program, arguments)

    @abstractmethod
    def execute(self) -> None:
        """Do it."""


def parse(model: type[M], program: str, arguments: list[str], default: M | None = None) -> M:
    """A model's fields from command-line arguments, over those of `default`; raises UsageError in one line."""
    said = io.StringIO()
    options: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(said):
            return cast("M", tyro.cli(model, prog=program, args=arguments, config=NO_PAIRS, **options))
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise UsageError(_one_line(said.getvalue())) from None


def program() -> str:
    """How this command was called, to say how to call it again."""
    name = sys.argv[0]
    return name if Path(name).name == "lenscope" and os.sep in name else "lenscope"


def print_line(text: str) -> None:
    """Print a result to stdout."""
    print(text)  # noqa: T201


def print_note(text: str) -> None:
    """Print progress or prose to stderr."""
    print(text, file=sys.stderr)  # noqa: T201


def print_json(value: object) -> None:
    """Print one JSON document to stdout."""
    print_line(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def percent(share: float) -> str:
    """A fraction as a percentage with two decimals.

    >>> percent(0.97494)
    '97.49 %'
    """
    return f"{100 * share:.2f} %"


def percent_range(interval: tuple[float, float]) -> str:
    """An interval of fractions as percentages.

    >>> percent_range((0.9716, 0.97779))
    '97.16 to 97.78 %'
    """
    return f"{100 * interval[0]:.2f} to {percent(interval[1])}"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print a header and rows of cells to stdout, aligned: columns of numbers to the right, of words to the left."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [all(not cell or cell[0] in "0123456789" for cell in column[1:]) for column in columns]
    for row in rows:
        cells = zip(row, widths, numeric, strict=True)
        print_line(
            "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip()
        )


def _one_line(box: str) -> str:
    """What tyro frames as one line, without its frame and its footer, and with the nearest known name."""
    lines = [re.sub(r"[│╭╮╰╯─|+]+|--{2,}", " ", line).strip() for line in box.splitlines()[1:]]
    kept = [line for line in lines if line and not line.startswith("For full helptext")]
    text = re.sub(r"\s+", " ", " ".join(kept))
    if choice := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)\.$", text):
        return str(unknown_name(choice[2], choice[1], re.findall(r"'([^']*)'", choice[3])))
    text = re.sub(
        r"missing from (.*?): (.*) \(required\).*", r"got no \2; \1 --help tells more", text, flags=re.IGNORECASE
    )
    text = text.replace(" Argument helptext:", "; expected").replace(" Perhaps you meant:", "; did you mean")
    return text[:1].lower() + text[1:]
