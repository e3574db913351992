"""What came of the starts: which help, with how many labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.insight.findings import Chart, Findings, Line, Section, Table
from lenscope.insight.intervals import holm, mean_interval
from lenscope.lab.initlab import CONTROL, DECLARED, STARTS
from lenscope.lab.kernels import films_of
from lenscope.lab.reconstructions import pictures_of
from lenscope.lab.summary import (
    MEAN_BAND,
    errors,
    mean_cell,
    paired,
    percent,
    percent_range,
    points,
    seeds,
    shown_gap,
    told_gap,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lenscope.insight.intervals import Difference
    from lenscope.lab.experiment import Tables
    from lenscope.lab.initlab import Initlab
    from lenscope.lab.rows import Rows

LEVEL = 0.05
PAIRED_BAND = "95 % interval, paired"
FULLY = ("mlp", "stacked")
LECTURE = "The lecture's autoencoder-initialised fully connected networks reached 94 to 95 % on MNIST"
KERNELS_LEAD = (
    "conv1 of the first seed with the most labels: each start, and what training made of it. The bar moves all of "
    "them; at its left end is what each begins with."
)
BACK_LEAD = "Test images, and what each autoencoder of the first seed gives back of them, undisturbed."


class Comparison(NamedTuple):
    """A declared comparison: a start, minus the control, at one number of labels.

    Attributes:
        start: which.
        labels: how many.
        gap: of the accuracies, paired by seed.
        p_value: Holm's, over all declared ones.
    """

    start: str
    labels: int
    gap: Difference
    p_value: float


def initlab_findings(settings: Initlab, tables: Tables) -> Findings:
    """Which starts help, with how many labels."""
    before, ends = (tables["results"].where(phase=phase) for phase in ("pretraining", "fine-tuning"))
    declared = compare_starts(ends)
    films, units = films_of(tables["films"]), films_of(tables["units"])
    n = len(tables["results"].names("seed"))
    sections = (
        Section(
            "starts",
            "Does the start matter?",
            _lead(len(declared), seeds(n)),
            _charts(ends),
            (_starts(ends), *_tables(ends, declared)),
        ),
        Section("kernels", "Kernels", KERNELS_LEAD, tables=(_scores(tables["kernels"]),), films=films),
        Section(
            "reconstructions",
            "What autoencoders give back",
            BACK_LEAD,
            tables=(_losses(before),),
            pictures=pictures_of(tables["reconstructions"]),
        ),
        Section("fully", "Fully connected", f"{LECTURE}. Tiles: weights of the first layer's units.", films=units),
        Section(
            "seconds",
            "Seconds",
            "Of one run, on one thread, with others beside it; medians.",
            tables=(_seconds(before, ends),),
        ),
    )
    return Findings("How the network starts", _question(settings, n), tuple(_conclusions(ends, declared)), sections)


def _question(settings: Initlab, n: int) -> str:
    return (
        f"LeNets on {settings.data}, {seeds(n)}, from random weights and from what autoencoders "
        f"learned of the training images without labels ({settings.pretrain_epochs} passes), then fine-tuned with few "
        "or all labels, the same images for every start. Test images are measured at the end and steer nothing."
    )


def _lead(count: int, n: str) -> str:
    return (
        f"Means of {n} with the {MEAN_BAND}; in the charts {CONTROL}'s errors are 100 %. {count} comparisons were "
        f"declared before the runs: each convolutional autoencoder's start against {CONTROL}, at each number of "
        "labels. Their p-values are Holm's over all of them; all else is exploration."
    )


def labels_of(ends: Rows) -> list[int]:
    """The numbers of labels, ascending."""
    return sorted(map(int, ends.names("labels")))


def accuracies(ends: Rows, start: str, labels: int) -> list[float]:
    """Of each seed, in the order of the seeds."""
    return [float(value) for value in ends.where(start=start, labels=labels).numbers("test_accuracy")]


def compare_starts(ends: Rows) -> list[Comparison]:
    """The declared comparisons, with Holm's p-values over all of them."""
    asked = [(start, labels) for labels in labels_of(ends) for start in DECLARED if start in ends.names("start")]
    gaps = [minus_control(ends, start, labels) for start, labels in asked]
    adjusted = holm([gap.p_value for gap in gaps])
    return [Comparison(*which, gap, p_value) for which, gap, p_value in zip(asked, gaps, adjusted, strict=True)]


def minus_control(ends: Rows, start: str, labels: int) -> Difference:
    """The accuracies of a start, minus those of the control."""
    own = ends.where(labels=labels)
    return paired(own.where(start=start), own.where(start=CONTROL), "test_accuracy")


def _charts(ends: Rows) -> tuple[Chart, ...]:
    there = ends.names("start")
    groups = {
        "random": ("Random starts", [name for name in there if not STARTS[name].autoencoder and name not in FULLY]),
        "autoencoders": (
            "Autoencoders' starts, and the control",
            [CONTROL, *(name for name in there if name in DECLARED)],
        ),
        "fully": ("Fully connected networks, and the control", [CONTROL, *(name for name in there if name in FULLY)]),
    }
    return tuple(
        Chart(
            f"labels-{name}",
            f"{title}: errors as a share of the control's",
            "labels",
            "test images wrong, of the control's",
            tuple(_line(ends, start) for start in starts),
            PAIRED_BAND,
            "percent",
            log_x=True,
            apart=True,
        )
        for name, (title, starts) in groups.items()
    )


def _line(ends: Rows, start: str) -> Line:
    """Against the labels, the errors as a share of the control's, within what the paired difference leaves open."""
    at = labels_of(ends)
    gaps = [minus_control(ends, start, labels) for labels in at]
    wrong = [errors(float(np.mean(accuracies(ends, CONTROL, labels)))) or np.nan for labels in at]
    ys, low, high = (
        tuple(1 - gap / whole for gap, whole in zip(each, wrong, strict=True))
        for each in zip(*((gap.mean, gap.interval.high, gap.interval.low) for gap in gaps), strict=True)
    )
    return Line(start, tuple(map(float, at)), ys, *((low, high) if gaps[0].n > 1 else ()))


def _starts(ends: Rows) -> Table:
    rows = tuple((name, STARTS[name].words) for name in ends.names("start"))
    return Table("The starts", ("start", "what it is"), rows, words=True)


def _tables(ends: Rows, declared: Sequence[Comparison]) -> Iterator[Table]:
    p_values = {(one.start, one.labels): _p(one.p_value) for one in declared}
    header = ("start", "accuracy", "95 % interval", f"minus {CONTROL}", "95 % interval, points", "p, Holm")
    for labels in labels_of(ends):
        rows = []
        for start in ends.names("start"):
            right = accuracies(ends, start, labels)
            p_value = p_values.get((start, labels), "exploration")
            compared = ("", "", "") if start == CONTROL else (*_minus(minus_control(ends, start, labels)), p_value)
            rows.append((start, percent(float(np.mean(right))), percent_range(mean_interval(right)), *compared))
        yield Table(f"{labels:,} labels", header, tuple(rows))


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:z.4f}"


def _minus(gap: Difference) -> tuple[str, str]:
    return points(gap.mean), "" if gap.n < 2 else f"{points(gap.interval.low)} to {points(gap.interval.high)}"


def _scores(kernels: Rows) -> Table:
    most = max(labels_of(kernels), default=0)
    rows = []
    for start in kernels.where(labels=most).names("start"):
        own = kernels.where(start=start, labels=most)
        ends = (own.where(epoch=epoch) for epoch in sorted({int(epoch) for epoch in own.numbers("epoch")}))
        columns = ("trained_first", "trained_second")
        rows.append((start, *(mean_cell(end.numbers(column).tolist()) for end in ends for column in columns)))
    header = ("start", "first derivative before", "second derivative before", "first after", "second after")
    caption = f"Mean gradient-operator scores of conv1's kernels, {most:,} labels, with the {MEAN_BAND}"
    return Table(caption, header, tuple(rows))


def _losses(before: Rows) -> Table:
    rows = []
    for start in before.names("start"):
        losses = before.where(start=start).numbers("test_loss").tolist()
        interval = mean_interval(losses)
        bounds = f"{interval.low:z.5f} to {interval.high:z.5f}" if len(losses) > 1 else ""
        rows.append((start, f"{np.mean(losses):z.5f}", bounds))
    return Table("Mean squared error a pixel of the test images", ("autoencoder", "mean", "95 % interval"), tuple(rows))


def _seconds(pretraining: Rows, tuned: Rows) -> Table:
    most = labels_of(tuned)
    rows = []
    for start in tuned.names("start"):
        before = pretraining.where(start=start)
        tunings = (_median_seconds(tuned.where(start=start, labels=labels)) for labels in most)
        rows.append((start, _median_seconds(before) if before else "", *tunings))
    header = ("start", "pretraining", *(f"{labels:,} labels" for labels in most))
    return Table("Seconds of training", header, tuple(rows))


def _median_seconds(rows: Rows) -> str:
    return f"{np.median(rows.numbers('seconds')):.1f}"


def _conclusions(ends: Rows, declared: Sequence[Comparison]) -> Iterator[str]:
    for labels in labels_of(ends):
        own = [one for one in declared if one.labels == labels]
        found = [one for one in own if one.p_value < LEVEL]
        told = "; ".join(f"{one.start} {shown_gap(one.gap)}" for one in found) or "none"
        others = "; ".join(f"{one.start} {shown_gap(one.gap)}" for one in own if one not in found)
        rest = f" {'No effect found of' if own[0].gap.n > 1 else 'Not tested'}: {others}." if others else ""
        held = f"Holm's correction over {len(declared)}, 5 %; each interval is uncorrected"
        yield f"With {labels:,} labels, starts of {len(own)} that differ from {CONTROL} ({held}): {told}.{rest}"
    yield from _told_fully(ends)


def _told_fully(ends: Rows) -> Iterator[str]:
    most = labels_of(ends)[-1]
    if not set(FULLY) <= set(ends.names("start")):
        return
    plain, stacked = (ends.where(start=start, labels=most) for start in FULLY)
    right = accuracies(ends, FULLY[1], most)
    yield (
        f"{LECTURE}; here the stacked one reached {percent(float(np.mean(right)))} with {most:,} labels, "
        f"{percent_range(mean_interval(right)) or 'no interval'}; minus the same network from random weights: "
        f"{told_gap(paired(stacked, plain, 'test_accuracy'))}."
    )
