"""What all commands share: parsing by tyro with errors in one line."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

import tyro
from pydantic import BaseModel, Field

from lenscope.config import Settings
from lenscope.errors import UsageError, unknown_name

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
