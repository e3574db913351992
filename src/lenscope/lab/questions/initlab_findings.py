"""Which initial weights help, and with how many labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lenscope.insight.findings import Findings
from lenscope.insight.intervals import holm
from lenscope.insight.section import Chart, Line, Section, Table
from lenscope.lab.questions.initlab import CONTROL, DECLARED, STARTS
from lenscope.lab.tables.kernels import films_of
from lenscope.lab.tables.reconstructions import pictures_of
from lenscope.lab.tables.summary import (
    MEAN_BAND,
    POINTS,
    Quantity,
    error_rate,
    gap_text,
    mean_cell,
    mean_cells,
    mean_text,
    paired,
    plain_gap_text,
    sentences,
)
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lenscope.insight.intervals import Difference
    from lenscope.lab.experiment import Tables
    from lenscope.lab.questions.initlab import Initlab
    from lenscope.lab.tables.rows import Rows

LEVEL = 0.05
FULLY = ("mlp", "stacked")
LECTURE = "the lecture's fully connected networks, pretrained by autoencoders, reached 94 to 95 % on MNIST"
KERNELS_LEAD = (
    "conv1 of the first seed with the most labels. The slider moves all films, from the initial weights to the "
    "fine-tuned ones."
)
BACK_LEAD = "Test images, and their reconstructions by each autoencoder of the first seed, without noise on the input."
FULLY_LEAD = f"For comparison, {LECTURE}. Tiles: weights of the first layer's units."
SECONDS_LEAD = "Seconds of one run on one thread, with other runs at the same time; medians."


class Comparison(NamedTuple):
    """A declared comparison: a start minus the control, at one number of labels.

    Attributes:
        start: its name.
        labels: how many.
        gap: the difference of the accuracies, paired by seed.
        p_value: Holm's, over all declared comparisons.
    """

    start: str
    labels: int
    gap: Difference
    p_value: float


def initlab_findings(settings: Initlab, tables: Tables) -> Findings:
    """Accuracies by start and number of labels, kernels, reconstructions, and seconds."""
    before, ends = (tables["results"].where(phase=phase) for phase in ("pretraining", "fine-tuning"))
    declared = compare_starts(ends)
    films, units = films_of(tables["films"]), films_of(tables["units"])
    n = counted(len(tables["results"].names("seed")), "seed")
    lead = (
        f"Means of {n} with the {MEAN_BAND}. The charts show the test error divided by that of {CONTROL}. "
        f"{len(declared)} comparisons were declared before the runs: each convolutional autoencoder with {CONTROL}, at "
        "each number of labels; their p-values are corrected by Holm's method. All other comparisons are exploration."
    )
    back, starts = pictures_of(tables["reconstructions"]), (_starts(ends), *_accuracy_tables(ends, declared))
    sections = (
        Section("starts", "Do the initial weights matter?", lead, _charts(ends), starts),
        Section("kernels", "Kernels", KERNELS_LEAD, tables=(_scores(tables["kernels"]),), films=films),
        Section("reconstructions", "Reconstructions", BACK_LEAD, tables=(_losses(before),), pictures=back),
        Section("fully", "Fully connected networks", FULLY_LEAD, films=units),
        Section("seconds", "Seconds", SECONDS_LEAD, tables=(_seconds(before, ends),)),
    )
    question = (
        f"LeNets on {settings.data}, {n}, from random weights and from autoencoders trained on the training images "
        f"without labels ({counted(settings.pretrain_epochs, 'epoch')}), fine-tuned with few or all labels on the same "
        "images for all initial weights. Test images are measured at the end; nothing is chosen by them."
    )
    conclusions = _declared_conclusions(declared) | _fully_connected_conclusion(ends)
    return Findings("Initial weights", question, sentences(conclusions), sections)


def labels_of(ends: Rows) -> list[int]:
    """The numbers of labels, ascending."""
    return sorted(map(int, ends.names("labels")))


def accuracies(ends: Rows, start: str, labels: int) -> list[float]:
    """The test accuracy of each seed, in the order of the seeds."""
    return [float(value) for value in ends.where(start=start, labels=labels).numbers("test_accuracy")]


def compare_starts(ends: Rows) -> list[Comparison]:
    """The declared comparisons, with Holm's p-values over all of them."""
    asked = [(start, labels) for labels in labels_of(ends) for start in DECLARED if start in ends.names("start")]
    gaps = [minus_control(ends, start, labels) for start, labels in asked]
    adjusted = holm([gap.p_value for gap in gaps])
    return [Comparison(*which, gap, p_value) for which, gap, p_value in zip(asked, gaps, adjusted, strict=True)]


def minus_control(ends: Rows, start: str, labels: int) -> Difference:
    """The accuracies of a start minus those of the control, paired by seed."""
    own = ends.where(labels=labels)
    return paired(own.where(start=start), own.where(start=CONTROL), "test_accuracy")


def _charts(ends: Rows) -> tuple[Chart, ...]:
    there = ends.names("start")
    random = [name for name in there if not STARTS[name].autoencoder and name not in FULLY]
    groups = {
        "random": ("Random initial weights", random),
        "autoencoders": ("Pretrained by autoencoders", [CONTROL, *(name for name in there if name in DECLARED)]),
        "fully": ("Fully connected networks", [CONTROL, *(name for name in there if name in FULLY)]),
    }
    return tuple(
        Chart(
            f"labels-{name}",
            f"{title}: test error relative to {CONTROL}",
            "Labels",
            f"Test error relative to {CONTROL}'s",
            tuple(_line(ends, start) for start in starts),
            "95 % interval, paired",
            "percent",
            log_x=True,
            dodged=True,
        )
        for name, (title, starts) in groups.items()
    )


def _line(ends: Rows, start: str) -> Line:
    """The test error divided by the control's, by the number of labels, with the interval of the paired difference."""
    at = labels_of(ends)
    gaps = [minus_control(ends, start, labels) for labels in at]
    errors = [error_rate(float(np.mean(accuracies(ends, CONTROL, labels)))) or np.nan for labels in at]
    ys, low, high = (
        tuple(1 - gap / error for gap, error in zip(each, errors, strict=True))
        for each in zip(*((gap.mean, gap.interval.high, gap.interval.low) for gap in gaps), strict=True)
    )
    return Line(start, tuple(map(float, at)), ys, *((low, high) if gaps[0].n > 1 else ()))


def _starts(ends: Rows) -> Table:
    rows = tuple((name, STARTS[name].description) for name in ends.names("start"))
    return Table("Initial weights", ("start", "description"), rows, words=True)


def _accuracy_tables(ends: Rows, declared: Sequence[Comparison]) -> Iterator[Table]:
    p_values = {(one.start, one.labels): _p(one.p_value) for one in declared}
    header = ("start", "test accuracy", "95 % interval", f"minus {CONTROL}", "95 % interval, points", "p (Holm)")
    for labels in labels_of(ends):
        rows = []
        for start in ends.names("start"):
            own = accuracies(ends, start, labels)
            p_value = p_values.get((start, labels), "exploration")
            gap, points = minus_control(ends, start, labels), POINTS._replace(unit="")
            compared = points.value(gap.mean), points.range(gap.interval), p_value
            rows.append((start, *mean_cells(own), *(compared if start != CONTROL else ("", "", ""))))
        yield Table(f"{labels:,} labels", header, tuple(rows))


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:z.4f}"


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
    losses = {start: before.where(start=start).numbers("test_loss").tolist() for start in before.names("start")}
    rows = tuple((start, *mean_cells(own, Quantity("{:z.5f}".format))) for start, own in losses.items())
    header = ("autoencoder", "mean", "95 % interval")
    return Table("Mean squared error per pixel of the test images", header, rows)


def _seconds(pretraining: Rows, tuned: Rows) -> Table:
    labels = labels_of(tuned)
    rows = []
    for start in tuned.names("start"):
        before = pretraining.where(start=start)
        tunings = (_median_seconds(tuned.where(start=start, labels=each)) for each in labels)
        rows.append((start, _median_seconds(before) if before else "", *tunings))
    header = ("start", "pretraining", *(f"{each:,} labels" for each in labels))
    return Table("Seconds of training", header, tuple(rows))


def _median_seconds(rows: Rows) -> str:
    return f"{np.median(rows.numbers('seconds')):.1f}"


def _declared_conclusions(declared: Sequence[Comparison]) -> dict[str, str]:
    """The differences that Holm's correction leaves, and the others, by the number of labels."""
    found = {}
    for labels in dict.fromkeys(one.labels for one in declared):
        own = [one for one in declared if one.labels == labels]
        differ, others = (
            "; ".join(f"{one.start} {plain_gap_text(one.gap)}" for one in own if (one.p_value < LEVEL) == wanted)
            for wanted in (True, False)
        )
        none = "no difference found" if own[0].gap.n > 1 else "not tested"
        method = f"Holm's correction over {len(declared)} comparisons at 5 %; the intervals are uncorrected"
        value = "; ".join(filter(None, (differ, others and f"{none}: {others}")))
        found[f"{labels:,} labels, test accuracy minus {CONTROL}'s ({method})"] = value
    return found


def _fully_connected_conclusion(ends: Rows) -> dict[str, str]:
    most = labels_of(ends)[-1]
    if not set(FULLY) <= set(ends.names("start")):
        return {}
    plain, stacked = (ends.where(start=start, labels=most) for start in FULLY)
    gap = gap_text(paired(stacked, plain, "test_accuracy"))
    value = f"{mean_text(accuracies(ends, FULLY[1], most))}; minus random initial weights: {gap}; {LECTURE}"
    return {f"Stacked autoencoder, fully connected network, {most:,} labels, test accuracy": value}
