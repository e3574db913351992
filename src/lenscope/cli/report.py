"""`lenscope report`, `lenscope insight` and `lenscope film`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import Field

from lenscope.cli.command import Command, DataDir, JsonFlag, MeasuredData
from lenscope.cli.output import percent, print_json, print_line, print_table
from lenscope.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Report(Command):
    """Write the report of a run: one HTML file that needs nothing else, with the trained network running in it.

    Of several runs it is a page that lays them beside one another.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = Field(description="run directory, or several to compare")
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None, description="the file; by default report.html in the run's directory, or comparison.html beside it"
    )
    data: MeasuredData = None
    data_dir: DataDir = None
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Write it, and print its path."""
        from lenscope import api

        if not self.runs:
            raise UsageError("got no run, expected one or more; lenscope report RUN…")
        path = api.report(*self.runs, out=self.out, data=self.data, data_dir=self.data_dir)
        if self.json_output:
            print_json({"runs": [str(run) for run in self.runs], "report": str(path), "bytes": path.stat().st_size})
        else:
            print_line(str(path))


class ShowInsight(Command):
    """Print how far each kernel came, what it resembles, and what the network loses without it."""

    run: tyro.conf.Positional[Path] = Field(description="run directory")
    data: MeasuredData = None
    data_dir: DataDir = None
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Examine and print."""
        from lenscope import api
        from lenscope.insight.facts import insight_facts

        facts = insight_facts(api.examine(self.run, data=self.data, data_dir=self.data_dir))
        if self.json_output:
            print_json(facts)
            return
        print_line(facts["sentence"])
        for layer in facts["layers"]:
            print_line("", layer["layer"])
            print_table([HEADER, *_rows(layer)])
        if not facts["layers"]:
            print_line("", "this network has no convolutions, so there are no kernels to tell of")
            return
        print_line("", "change, cosine: from the start; score: the best match among first derivatives, p by chance;")
        print_line("dead: of the images; without: points of accuracy; --json has the rest")


class Film(Command):
    """Write the film of a layer's kernels as an animated picture, for slides."""

    run: tyro.conf.Positional[Path] = Field(description="run directory")
    layer: str = Field("conv1", description="conv1: every kernel; conv2: the input channels of one")
    kernel: int = Field(0, ge=0, description="which kernel is shown where one is, from 0")
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None, description="the file, .gif or .webp; by default plots/film-LAYER.gif in the run's directory"
    )
    json_output: JsonFlag = False

    def execute(self) -> None:
        """Draw it, and print its path."""
        from lenscope import api

        path = str(api.film(self.run, self.layer, kernel=self.kernel, out=self.out))
        if self.json_output:
            print_json({"run": str(self.run), "film": path})
        else:
            print_line(path)


HEADER = ("kernel", "channel", "change", "cosine", "score", "p", "of its difference", "p", "dead", "without")


def _rows(layer: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for kernel in layer["kernels"]:
        for part in kernel["channels"]:
            dead = "" if kernel["dead"] is None or part["channel"] else percent(kernel["dead"])
            ablation = None if part["channel"] else kernel["ablation"]
            yield (
                str(kernel["kernel"]),
                str(part["channel"]),
                *(_short(part[name]) for name in ("change", "cosine")),
                *_score(part["trained"]["first"]),
                *_score(part["difference"]["first"]),
                dead,
                "" if ablation is None else f"{100 * ablation['change']:+z.2f}",
            )


def _score(match: dict[str, Any] | None) -> tuple[str, str]:
    return ("", "") if match is None else (_short(match["score"]), f"{match['p']:z.4f}")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:z.3f}"
