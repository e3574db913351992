"""The sections of the page that compares several runs: their curves, their kernels and their differences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lenscope.insight.comparison import compare_runs, notes_of, rows_of
from lenscope.insight.curves import ACCURACY, LOSS
from lenscope.insight.section import LayerFilm, Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lenscope.insight.insight import Insight
    from lenscope.insight.section import Chart, Line

OTHER_SPLITS = {"validation": ", validation images", "train": ", training images"}


def comparison_sections(insights: Sequence[Insight], names: Sequence[str]) -> tuple[Section, ...]:
    """The sections; `names` are those of the runs, in the same order."""
    runs = [insight.run for insight in insights]
    lead = (
        "One curve per run, measured on its test images; for a run without test images on its validation images, or "
        f"else on its training images, as the legend says.{_note_on_autoencoders(insights)}"
    )
    charts = tuple(replace(chart, lines=tuple(_lines(chart, insights, names))) for chart in (LOSS, ACCURACY))
    comparison = compare_runs(runs)
    notes = "; ".join(notes_of(comparison, names))
    table = Table(f"{notes[:1].upper()}{notes[1:]}.", ("", *names), tuple(rows_of(comparison)))
    films = tuple(_films(insights, names))
    kernels = "Kernels with the same number stand below each other; the slider moves all films."
    if not films:
        kernels = "None of these networks has convolutions, so there are no kernels to show."
    return (
        Section("learning", "Learning", lead, charts=charts),
        Section("kernels", "Kernels", kernels, films=films),
        Section("differences", "Differences", "The settings in which the runs differ, and the results.", (), (table,)),
    )


def _lines(chart: Chart, insights: Sequence[Insight], names: Sequence[str]) -> Iterator[Line]:
    """The line of each run that has one: on its test images, else its validation images, else its training images."""
    for insight, name in zip(insights, names, strict=True):
        if insight.run.config.reconstructs:  # whose errors cannot be compared with losses
            continue
        own = next(each for each in insight.curves.charts if each.name == chart.name)
        lines = {line.split: line for line in own.lines}
        for split in ("test", "validation", "train"):
            if split in lines:
                yield replace(lines[split], name=f"{name}{OTHER_SPLITS.get(split, '')}", split="")
                break


def _films(insights: Sequence[Insight], names: Sequence[str]) -> Iterator[LayerFilm]:
    for insight, name in zip(insights, names, strict=True):
        for layer in insight.layers:
            yield LayerFilm(name, layer.layer, layer.epochs, layer.frames)


def _note_on_autoencoders(insights: Sequence[Insight]) -> str:
    """Where the results of the runs are that have no curve here."""
    left_out = ", ".join(insight.run.name for insight in insights if insight.run.config.reconstructs)
    return f" The reconstruction error of {left_out}, trained without labels, is below Differences." if left_out else ""
