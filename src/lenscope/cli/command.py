"""What all verbs share: common options, and parsing by tyro with errors in one line."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, cast, get_type_hints

import tyro
from pydantic import AfterValidator, Field

from lenscope.cli.output import print_json, print_line
from lenscope.config import Settings
from lenscope.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable


def _locate(run: Path) -> Path:
    from lenscope.runs.run import locate_run

    return locate_run(run)


RunPath = Annotated[Path, AfterValidator(_locate), tyro.conf.arg(metavar="RUN")]
RUN = "a run: its directory, its name in runs/, or last"
DataDir = Annotated[
    Path | None,
    tyro.conf.arg(metavar="DIR"),
    Field(description="where the files of a named data set are, if they are not found by themselves"),
]
MeasuredData = Annotated[
    str | None,
    tyro.conf.arg(metavar="NAME|DIR"),
    Field(
        description="what to measure on: the name of a data set, or a folder of pictures; by default the test images "
        "of the run's data set"
    ),
]
SILENT = {"None", "False", "True", "", "''"}  # defaults that say less than the description


def _hint(default: str) -> str:
    return "" if default in SILENT else f"(default: {default})"


def comma_list(metavar: str, read: Callable[[str], Any] = lambda text: tuple(text.split(","))) -> Any:
    """How an option is read that takes several values, or names and values, in one word such as `2,1`."""
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: read(words[0]),
        is_instance=lambda _value: True,
        str_from_instance=lambda value: [",".join(map(str, value)) if isinstance(value, tuple) else str(value)],
    )


OPTIONS = tyro.constructors.ConstructorRegistry()


@OPTIONS.struct_rule
def _as_options(info: tyro.constructors.StructTypeInfo) -> tyro.constructors.StructConstructorSpec | None:
    """The fields of a model as options, whose help shows a default only where it says something; --json is last."""
    model = info.type
    if not (isinstance(model, type) and issubclass(model, Settings)):
        return None
    hints, options = get_type_hints(model, include_extras=True), []
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] == "json_output"):
        option = {"name": name, "type": hints[name], "helptext": field.description}
        option["type"] = Annotated[hints[name], tyro.conf.arg(help_behavior_hint=_hint)]
        if field.is_required():
            default = tyro.MISSING
        else:
            default = getattr(info.default, name) if isinstance(info.default, model) else field.get_default()
        options.append(tyro.constructors.StructFieldSpec(**option, default=default))
    return tyro.constructors.StructConstructorSpec(instantiate=model, fields=tuple(options))


class Command(Settings):
    """A verb: its fields are its options."""

    json_output: Annotated[bool, tyro.conf.arg(name="json")] = Field(
        default=False, description="print one JSON document"
    )

    @classmethod
    def parse(cls, program: str, arguments: list[str]) -> Self:
        """The command with its options; raises UsageError in one line."""
        options: dict[str, Any] = {"prog": program, "args": arguments, "config": (tyro.conf.FlagCreatePairsOff,)}
        if default := cls.before_options(arguments):
            options["default"] = default
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), OPTIONS:
                return cast("Self", tyro.cli(cls, **options))
        except SystemExit as end:
            if end.code in (0, None):
                raise
            raise UsageError(_one_line(said.getvalue())) from None

    @classmethod
    def before_options(cls, arguments: list[str]) -> Self | None:  # noqa: ARG003
        """The command whose fields the options override, such as that of a file; None for the defaults."""
        return None

    @abstractmethod
    def execute(self) -> None:
        """Run the command and print its result."""

    def show(self, value: object, *lines: str) -> None:
        """Print the result: as a JSON document with --json, else as lines."""
        if self.json_output:
            print_json(value)
        else:
            print_line(*lines)


class OfRun(Command):
    """A verb that takes one run."""

    run: tyro.conf.Positional[RunPath] = Field(description=RUN)


class OfMeasuredRun(OfRun):
    """A verb that takes one run and measures it on a data set."""

    data: MeasuredData = None
    data_dir: DataDir = None


def early(arguments: list[str], *names: str) -> dict[str, str | None]:
    """The values of some options, which decide the defaults of the others; an option without a value has None."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in names:
        parser.add_argument(f"--{name}", nargs="?", default=argparse.SUPPRESS)
    return vars(parser.parse_known_args(arguments)[0])


def _one_line(box: str) -> str:
    """The message in a box that tyro draws, as one line, with the closest known name."""
    lines = [re.sub(r"[│╭╮╰╯─|+]+|--{2,}", " ", line).strip() for line in box.splitlines()[1:]]
    kept = [line for line in lines if line and not line.startswith("For full helptext")]
    text = re.sub(r"\s+", " ", " ".join(kept))
    if choice := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)\.$", text):
        return str(unknown_name(choice[2], choice[1], re.findall(r"'([^']*)'", choice[3])))
    if wrong := re.match(r"error parsing --([\w-]+)\S*: .*?(?:base 10|to float): '(.*?)'", text, flags=re.IGNORECASE):
        expected = "a number" if "to float" in text else "an integer"
        return f"{wrong[1].replace('-', '_')}: got '{wrong[2]}', expected {expected}"
    if silent := re.match(r"missing value for argument '(.*)'", text, flags=re.IGNORECASE):
        return f"{silent[1]}: got no value, expected one"
    if surplus := re.match(r"unrecognized options: ([^-].*)", text, flags=re.IGNORECASE):
        return f"got {surplus[1]} in addition, expected nothing more; --help shows the usage"
    text = re.sub(
        r"missing from (.*?): (\S+) (.*) \(required\).*",
        r"missing \2, \3; \1 --help lists the options",
        text,
        flags=re.IGNORECASE,
    )
    text = re.sub(r" Perhaps you meant: (--[\w-]+).*", r"; did you mean \1?", text)
    text = text.replace(" Argument helptext:", "; expected")
    return text[:1].lower() + text[1:]
