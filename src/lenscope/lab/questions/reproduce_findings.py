"""How the results of the lecture's recipe over many seeds compare with the lecture's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lenscope.insight import lecture
from lenscope.insight.findings import Findings
from lenscope.insight.intervals import Interval
from lenscope.insight.section import Chart, Line, Section, Table
from lenscope.lab.tables.summary import (
    ACCURACY,
    ACCURACY_TENTHS,
    LOSS_DIFFERENCE,
    MEAN_BAND,
    PREDICTION_BAND,
    line_of,
    sentences,
    spread_over,
    trained,
)
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lenscope.insight.section import Format
    from lenscope.lab.experiment import Tables
    from lenscope.lab.questions.reproduce import Reproduce
    from lenscope.lab.tables.rows import Rows
    from lenscope.lab.tables.summary import Quantity, Spread

INTERVAL = "95 % prediction interval"
FIRST_LEAD = (
    "The lecture's first value is that at the end of the first epoch, after hundreds of steps. Here some of the runs "
    "are also measured within it."
)


@dataclass(frozen=True)
class Measure:
    """A column of the lecture's table.

    Attributes:
        name, title: in file names, and for readers.
        format, quantity: how its values are drawn and written.
        spreads: our values by epoch, with prediction intervals.
        published: the lecture's values by epoch; empty where they are not comparable.
    """

    name: str
    title: str
    format: Format
    quantity: Quantity
    spreads: tuple[Spread, ...]
    published: Mapping[float, float]

    def inside(self, spread: Spread) -> bool | None:
        """Whether the lecture's value lies within the interval; None where there is no value or no interval."""
        theirs = self.published.get(spread.at)
        return None if theirs is None or spread.n < 2 else spread.interval.low <= theirs <= spread.interval.high


def reproduce_findings(settings: Reproduce, tables: Tables) -> Findings:
    """The results by epoch, beside the lecture's values where the experiment is the lecture's."""
    measures = _measures(settings, tables["results"])
    n = counted(len(tables["results"].names("seed")), "seed")
    accuracy, last = measures[0], measures[0].spreads[-1]
    conclusions = {f"Mean test accuracy after epoch {last.at:g}": _final_accuracy(last)} | {
        f"Lecture's values of {measure.name} within the {INTERVAL}": _comparison(measure)
        for measure in measures
        if any(measure.inside(spread) is not None for spread in measure.spreads)
    }
    rings = " The rings are the lecture's values, its losses multiplied by its batch size of 100."
    lead = f"Means of {n} with the {PREDICTION_BAND}.{rings if accuracy.published else ''}"
    sections = [Section("epochs", "By epoch", lead, tuple(map(_chart, measures)), tuple(map(_table, measures)))]
    if first := tables.get("first-epoch"):
        within = spread_over(first, "test_accuracy", "step")
        conclusions["Mean test accuracy within the first epoch"] = _first_epoch(within)
        line = line_of(f"mean of {counted(within[0].n, 'seed')}", trained(within))
        title, label = "Within the first epoch", "Test accuracy"
        chart = Chart("first-epoch", title, "Step", label, (line,), MEAN_BAND, "percent", log_x=True)
        sections.append(Section("first-epoch", title, FIRST_LEAD, charts=(chart,)))
    question = (
        f"The lecture's recipe on {settings.data}, {n}, {counted(settings.epochs, 'epoch')}: do its results agree with "
        "the lecture's table? Test images are measured after each epoch; nothing is chosen by them."
    )
    return Findings("The lecture's table, reproduced", question, sentences(conclusions), tuple(sections))


def _measures(settings: Reproduce, results: Rows) -> tuple[Measure, Measure]:
    comparable = settings.data == "mnist" and settings.batch_size == lecture.BATCH_SIZE
    printed = zip(lecture.EPOCHS, lecture.LOSS_AS_PRINTED, strict=True)
    losses: dict[float, float] = {at: lecture.loss_per_image(loss) for at, loss in printed if loss is not None}
    accuracies: dict[float, float] = dict(zip(lecture.EPOCHS, lecture.ACCURACY, strict=True))
    theirs = (accuracies, losses) if comparable else ({}, {})
    ours = [tuple(trained(spread_over(results, name, predict=True))) for name in ("test_accuracy", "train_loss")]
    title = "Training loss (nats per image, mean over the epoch)"
    return (
        Measure("accuracy", "Test accuracy", "percent", ACCURACY, ours[0], theirs[0]),
        Measure("loss", title, "number", LOSS_DIFFERENCE._replace(unit=""), ours[1], theirs[1]),
    )


def _chart(measure: Measure) -> Chart:
    theirs = {spread.at: measure.published[spread.at] for spread in measure.spreads if spread.at in measure.published}
    rings = (Line("lecture", tuple(theirs), tuple(theirs.values()), points=True),) if theirs else ()
    line = line_of(f"mean of {counted(measure.spreads[0].n, 'seed')}", measure.spreads)
    title = measure.title.partition(" (")[0]
    return Chart(measure.name, title, "Epoch", measure.title, (line, *rings), PREDICTION_BAND, measure.format)


def _table(measure: Measure) -> Table:
    header = ("epoch", "mean", INTERVAL, "range", *(("lecture", "within") if measure.published else ()))
    return Table(measure.title, header, tuple(_row(measure, spread) for spread in measure.spreads))


def _row(measure: Measure, spread: Spread) -> tuple[str, ...]:
    quantity, theirs = measure.quantity, measure.published.get(spread.at)
    within = {None: "", True: "yes", False: "no"}[measure.inside(spread)]
    compared = ("" if theirs is None else quantity.value(theirs), within) if measure.published else ()
    values = quantity.range(Interval(spread.least, spread.most))
    return (f"{spread.at:g}", quantity.value(spread.mean), quantity.range(spread.interval), values, *compared)


def _final_accuracy(last: Spread) -> str:
    if last.n == 1:
        return f"{ACCURACY.value(last.mean)} (n = 1: no interval)"
    return (
        f"{ACCURACY.value(last.mean)}; {PREDICTION_BAND}: {ACCURACY.range(last.interval)}; "
        f"range: {ACCURACY.range(Interval(last.least, last.most))} (n = {last.n})"
    )


def _comparison(measure: Measure) -> str:
    """How many of the lecture's values lie within the intervals, and those that do not."""
    compared = [spread for spread in measure.spreads if measure.inside(spread) is not None]
    outside = [spread for spread in compared if not measure.inside(spread)]
    values = "".join(
        f"; epoch {spread.at:g}: {measure.quantity.value(measure.published[spread.at])} is outside "
        f"{measure.quantity.range(spread.interval)}"
        for spread in outside
    )
    return f"{len(compared) - len(outside)} of {len(compared)}{values} (n = {compared[0].n})"


def _first_epoch(within: list[Spread]) -> str:
    early = next((spread for spread in within if spread.at >= 100), within[-1])
    values = []
    for spread in dict.fromkeys((within[0], early, within[-1])):
        bounds = ACCURACY_TENTHS.range(spread.interval)
        value = f"{ACCURACY_TENTHS.value(spread.mean)}{f' ({bounds})' if bounds else ''}"
        values.append(f"{value} after {counted(int(spread.at), 'step')}")
    n = within[-1].n
    return f"{', '.join(values)} ({f'95 % intervals, n = {n}' if n > 1 else 'n = 1: no interval'})"
