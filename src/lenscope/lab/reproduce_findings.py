"""What the lecture's recipe gives over many seeds, and where the lecture's values lie among that."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from lenscope.insight import lecture
from lenscope.insight.findings import Chart, Findings, Line, Section, Table
from lenscope.lab.summary import MEAN_BAND, line_of, percent, percent_range, seeds, spread_over, trained
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lenscope.insight.findings import Format
    from lenscope.insight.intervals import Interval
    from lenscope.lab.experiment import Tables
    from lenscope.lab.reproduce import Reproduce
    from lenscope.lab.rows import Rows
    from lenscope.lab.summary import Spread

BAND = "95 % prediction interval: where one more run would lie"
INTERVAL = "95 % prediction interval"


@dataclass(frozen=True)
class Measure:
    """A column of the lecture's table: how it is named and shown, what came out, and what the lecture has."""

    name: str
    title: str
    format: Format
    show: Callable[[float], str]
    show_range: Callable[[Interval], str]
    spreads: tuple[Spread, ...]
    published: Mapping[float, float]

    def misses(self) -> list[Spread]:
        """Where the lecture's value lies outside the interval."""
        return [spread for spread in self.spreads if self.place_of(spread) == "no"]

    def place_of(self, spread: Spread) -> str:
        """Whether the lecture's value lies within: yes, no, or nothing where there is none."""
        theirs = self.published.get(spread.at)
        if theirs is None or spread.n < 2:
            return ""
        return "yes" if spread.interval.low <= theirs <= spread.interval.high else "no"


def reproduce_findings(settings: Reproduce, tables: Tables) -> Findings:
    """What the runs tell, and where the lecture's values lie among them if the runs are of its experiment."""
    measures = _measures(settings, tables["results"])
    n = len(tables["results"].names("seed"))
    conclusions = [
        _told_end(measures[0]),
        *(_told_places(one) for one in measures if any(map(one.place_of, one.spreads))),
    ]
    charts, shown = tuple(map(_chart, measures)), tuple(map(_table, measures))
    sections = [Section("epochs", "Epoch by epoch", _lead(n, measures[0]), charts=charts, tables=shown)]
    if first := tables.get("first-epoch"):
        within = spread_over(first, "test_accuracy", "step")
        conclusions.append(_told_first(within))
        sections.append(_first_section(within))
    question = (
        f"The lecture's recipe on {settings.data}, {seeds(n)}, {counted(settings.epochs, 'epoch')}: does its table "
        "come out again? The test images are measured after each epoch and steer nothing."
    )
    return Findings("The lecture's table, again", question, tuple(conclusions), tuple(sections))


def _measures(settings: Reproduce, results: Rows) -> tuple[Measure, Measure]:
    comparable = settings.data == "mnist" and settings.batch_size == lecture.BATCH_SIZE
    printed = zip(lecture.EPOCHS, lecture.LOSS_AS_PRINTED, strict=True)
    losses: dict[float, float] = {at: lecture.loss_per_image(loss) for at, loss in printed if loss is not None}
    rights: dict[float, float] = dict(zip(lecture.EPOCHS, lecture.ACCURACY, strict=True))
    right = trained(spread_over(results, "test_accuracy", next_one=True))
    loss = trained(spread_over(results, "train_loss", next_one=True))
    title, ours = "Training loss, nats an image", (tuple(right), tuple(loss))
    theirs = (rights, losses) if comparable else ({}, {})
    return (
        Measure("accuracy", "Test images right", "percent", percent, percent_range, ours[0], theirs[0]),
        Measure("loss", title, "number", _nats, _nats_range, ours[1], theirs[1]),
    )


def _lead(n: int, measure: Measure) -> str:
    rings = " The rings are the lecture's own values, its losses multiplied by its batch size of 100."
    band = "the band is where one more run would lie, in 95 of 100 cases."
    return f"The line is the mean of {seeds(n)}; {band}{rings if measure.published else ''}"


def _chart(measure: Measure) -> Chart:
    theirs = {spread.at: measure.published[spread.at] for spread in measure.spreads if spread.at in measure.published}
    rings = (Line("the lecture's", tuple(theirs), tuple(theirs.values()), points=True),) if theirs else ()
    line = line_of(f"mean of {seeds(measure.spreads[0].n)}", measure.spreads)
    return Chart(measure.name, measure.title, "epoch", measure.title.lower(), (line, *rings), BAND, measure.format)


def _table(measure: Measure) -> Table:
    header = ("epoch", "mean", INTERVAL, "range", *(("lecture", "within") if measure.published else ()))
    return Table(measure.title, header, tuple(_row(measure, spread) for spread in measure.spreads))


def _row(measure: Measure, spread: Spread) -> tuple[str, ...]:
    show, theirs = measure.show, measure.published.get(spread.at)
    compared = ("" if theirs is None else show(theirs), measure.place_of(spread)) if measure.published else ()
    lowest_to_highest = f"{show(spread.least)} to {show(spread.most)}"
    return (f"{spread.at:g}", show(spread.mean), measure.show_range(spread.interval), lowest_to_highest, *compared)


def _told_end(measure: Measure) -> str:
    last = measure.spreads[-1]
    if last.n == 1:
        return f"After epoch {last.at:g}: {percent(last.mean)} of the test images right (n = 1: no interval)."
    return (
        f"After epoch {last.at:g}: {percent(last.mean)} of the test images right on average; one more run would lie at "
        f"{percent_range(last.interval)} in 95 of 100 cases; they ranged from {percent(last.least)} to "
        f"{percent(last.most)} (n = {last.n})."
    )


def _told_places(measure: Measure) -> str:
    """How many of the lecture's values lie within the intervals, and the misses one by one."""
    compared = [spread for spread in measure.spreads if measure.place_of(spread)]
    missed = "; ".join(
        f"epoch {miss.at:g}: {measure.show(measure.published[miss.at])}, not in {measure.show_range(miss.interval)}"
        for miss in measure.misses()
    )
    within = len(compared) - len(measure.misses())
    told = f"Of the lecture's {len(compared)} values of {measure.name}, {within} lie within the {INTERVAL}"
    return f"{told}{f'; missed: {missed}' if missed else ''} (n = {compared[0].n})."


def _told_first(within: list[Spread]) -> str:
    early = next((spread for spread in within if spread.at >= 100), within[-1])
    start, last = within[0], within[-1]
    return (
        f"Within the first epoch: {_told_mean(start)} of the test images right before any update, {_told_mean(early)} "
        f"after {early.at:g} updates, {_told_mean(last)} after all {last.at:g} (means of {seeds(last.n)}"
        f"{', 95 % intervals' if last.n > 1 else ''}): an epoch is {last.at:g} updates, so that its first figure is no "
        "start."
    )


def _told_mean(spread: Spread) -> str:
    bounds = percent_range(spread.interval, 1)
    return f"{percent(spread.mean, 1)}{f' ({bounds})' if bounds else ''}"


def _first_section(within: list[Spread]) -> Section:
    line = line_of(f"mean of {seeds(within[0].n)}", trained(within))
    title, lead = "Within the first epoch", (
        "The first figure that is printed stands at the end of the first epoch, after hundreds of updates. Here the "
        "same runs are measured after their first few."
    )  # fmt: skip
    chart = Chart("first-epoch", title, "updates", "test images right", (line,), MEAN_BAND, "percent", log_x=True)
    return Section("first-epoch", title, lead, charts=(chart,))


def _nats(value: float) -> str:
    return f"{value:z.4f}"


def _nats_range(interval: Interval) -> str:
    return f"{interval.low:z.4f} to {interval.high:z.4f}" if isfinite(interval.low) else ""
