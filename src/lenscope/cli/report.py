"""`lenscope report`, `open`, `insight`, `film` and `plot`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import Field

import lenscope
from lenscope.cli.command import RUN, Command, DataDir, MeasuredData, OfMeasuredRun, OfRun, RunPath
from lenscope.cli.output import print_note, table
from lenscope.errors import UsageError
from lenscope.numbers_as_text import percent

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = ("kernel", "channel", "change", "cosine", "score", "p", "score of change", "p", "dead", "ablated")
LEGEND = (
    "change: distance from the initial kernel, relative to its norm; cosine: of the angle between the two; "
    "score: best match among first-derivative operators, with p for random kernels; "
    "score of change: that of trained minus initial; dead: fraction of images on which the map is 0 everywhere; "
    "ablated: change in accuracy without the kernel, in points; --json prints more"
)


class Report(Command):
    """Write the report of a run: one HTML file that works offline, with the trained network running in it.

    With several runs, write a page that compares them. `lenscope open` opens it.
    """

    runs: Annotated[tyro.conf.Positional[tuple[RunPath, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")] = Field(
        description=f"{RUN}; several runs to compare them"
    )
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None, description="output file; by default report.html in the run's directory, or comparison.html next to it"
    )
    data: MeasuredData = None
    data_dir: DataDir = None

    def execute(self) -> None:
        """Write it, and print its path."""
        if not self.runs:
            raise UsageError("got no run, expected at least one; lenscope report RUN…")
        path = lenscope.report(*self.runs, out=self.out, data=self.data, data_dir=self.data_dir)
        runs = [str(run) for run in self.runs]
        self.show({"runs": runs, "report": str(path), "bytes": path.stat().st_size}, str(path))


class Open(Command):
    """Open the report of a run in the browser, after writing it if there is none.

    An experiment's directory opens the experiment's page; an HTML file opens as it is.
    """

    place: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="[RUN|DIR|FILE]")] = Field(
        Path("last"), description=f"{RUN}; or the directory of an experiment, or an HTML file"
    )

    def execute(self) -> None:
        """Find or write the page, open it, and print its path."""
        import webbrowser

        run, page = _page_of(self.place)
        self.show({"run": run and str(run), "report": str(page)}, str(page))
        if not webbrowser.open(page.absolute().as_uri()):
            print_note("lenscope open: no browser could be started; open this file in a browser")


def _page_of(place: Path) -> tuple[Path | None, Path]:
    """The run that a place stands for, if it is one, and its page."""
    from lenscope.lab.directory import FILE, PAGE, rebuild
    from lenscope.runs.run import locate_run

    if place.suffix == ".html" and os.path.isfile(place):  # noqa: PTH113 - Path.is_file raises where a name is too long
        return None, place
    path = locate_run(place)
    if (path / FILE).exists():
        if not (path / PAGE).exists():
            rebuild(path)
        return None, path / PAGE
    page = path / "report.html"
    return path, page if page.exists() else lenscope.report(path)


class ShowInsight(OfMeasuredRun):
    """Print how much each kernel changed, which operators it resembles, and what the network loses without it."""

    def execute(self) -> None:
        """Analyse and print."""
        from lenscope.insight.facts import insight_facts

        facts = insight_facts(lenscope.examine(self.run, data=self.data, data_dir=self.data_dir))
        layers = [("", layer["layer"], *table(HEADER, *_rows(layer))) for layer in facts["layers"]]
        lines = [line for layer in layers for line in layer]
        ending = LEGEND if layers else "this network has no convolutions, so there are no kernels to describe"
        self.show(facts, facts["sentence"], *lines, "", ending)


class Film(OfRun):
    """Write the film of a layer's kernels during training as an animated picture."""

    layer: str = Field("conv1", description="conv1: all kernels; conv2: the input channels of one kernel")
    kernel: int = Field(0, ge=0, description="number of that kernel, from 0")
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None, description="output file, .gif or .webp; by default plots/film-LAYER.gif in the run's directory"
    )

    def execute(self) -> None:
        """Draw it, and print its path."""
        path = str(lenscope.film(self.run, self.layer, kernel=self.kernel, out=self.out))
        self.show({"run": str(self.run), "film": path}, path)


class Plot(OfMeasuredRun):
    """Draw the pictures of a run in its plots/ again."""

    kernel: int = Field(0, ge=0, description="number of the conv2 kernel to show, from 0")

    def execute(self) -> None:
        """Draw, and print the paths."""
        found = lenscope.plot(self.run, kernel=self.kernel, data=self.data, data_dir=self.data_dir)
        paths = [str(path) for path in found]
        self.show(paths, *paths)


def _rows(layer: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for kernel in layer["kernels"]:
        for channel in kernel["channels"]:
            dead = "" if kernel["dead"] is None or channel["channel"] else percent(kernel["dead"])
            ablation = None if channel["channel"] else kernel["ablation"]
            yield (
                str(kernel["kernel"]),
                str(channel["channel"]),
                *(_short(channel[name]) for name in ("change", "cosine")),
                *_score(channel["trained"]["first"]),
                *_score(channel["difference"]["first"]),
                dead,
                "" if ablation is None else f"{100 * ablation['change']:+z.2f}",
            )


def _score(match: dict[str, Any] | None) -> tuple[str, str]:
    return ("", "") if match is None else (_short(match["score"]), f"{match['p']:z.4f}")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:z.3f}"
