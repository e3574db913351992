"""What a long run tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenscope.insight.findings import Chart, Findings, Section, Table
from lenscope.lab.kernels import films_of
from lenscope.lab.longrun import WORDS
from lenscope.lab.summary import (
    MEAN_BAND,
    errors,
    hundredths,
    line_of,
    mean_cell,
    paired,
    seeds,
    shown_score,
    signed,
    spread_over,
    told_gap,
    told_mean,
    trained,
)
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lenscope.lab.experiment import Tables
    from lenscope.lab.longrun import Longrun
    from lenscope.lab.rows import Rows

    Variants = Mapping[str, Rows]

SCORES_LEAD = (
    "The score of a kernel is its largest absolute correlation with a bank of first-derivative kernels; “rare” is the "
    "share of kernels that score higher than 99 of 100 random ones, 1 % by chance. Of the trained kernels, and of "
    "what training has added to their start. How far they move is ‖w − w′‖/‖w₀‖ an epoch, of the whole layer."
)
LOSS_LEAD = (
    "Where the test loss rises while the training loss falls, the network is overfitting; accuracy may go on rising. "
    "The training loss of augmented images is that of the distorted ones."
)
SCORES = ("trained_first", "trained_second", "trained_gabor")
RARE = ("trained_first_rare", "difference_first_rare")


def longrun_findings(settings: Longrun, tables: Tables) -> Findings:
    """What the kernels became, and what became of loss and accuracy."""
    results = _by_variant(tables["results"])
    conv1, conv2 = (_by_variant(tables["kernels"].where(layer=layer)) for layer in ("conv1", "conv2"))
    films, n = films_of(tables["films"]), len(tables["results"].names("seed"))
    lead = f"Means of {seeds(n)} with the {MEAN_BAND}. {LOSS_LEAD}"
    scores = (_scores("conv1", conv1), _scores("conv2", conv2))
    kernels = "conv1 of the first seed; the bar moves all of them."
    sections = (
        Section("scores", "Do kernels become gradient operators?", SCORES_LEAD, _score_charts(conv1, conv2), scores),
        Section("kernels", "The kernels themselves", kernels, films=films),
        Section("learning", "Loss and accuracy", lead, _metric_charts(results), (_ends(results),)),
    )
    conclusions = (*_told_scores(conv1), *_told_losses(results), *_told_accuracies(results))
    return Findings("The long run", _question(settings, n), conclusions, sections)


def _question(settings: Longrun, n: int) -> str:
    told = "; ".join(f"{name}: {WORDS[name]}" for name in settings.variants)
    return (
        f"{counted(settings.epochs, 'epoch')} on {settings.data}, {seeds(n)} of each: {told}. The lecture "
        "expects kernels to become gradient operators after 100 to 500 epochs. Test images are measured and steer "
        "nothing."
    )


def _by_variant(rows: Rows) -> dict[str, Rows]:
    return {variant: rows.where(variant=variant) for variant in rows.names("variant")}


def _score_charts(conv1: Variants, conv2: Variants) -> tuple[Chart, ...]:
    score = "score, 0 to 1"
    return (
        _against_epochs("score-conv1", "First-derivative score of conv1's kernels", score, conv1, "trained_first"),
        _against_epochs("score-difference", "The same of what training added", score, conv1, "difference_first"),
        _against_epochs("score-conv2", "First-derivative score of conv2's kernels", score, conv2, "trained_first"),
        _against_epochs("movement", "How far conv1 still moves an epoch", "share of its start", conv1, "per_epoch"),
    )


def _against_epochs(name: str, title: str, label: str, variants: Variants, column: str) -> Chart:
    spreads = {variant: trained(spread_over(rows, column)) for variant, rows in variants.items()}
    lines = tuple(line_of(variant, own) for variant, own in spreads.items() if own)
    return Chart(name, title, "epoch", label, lines, MEAN_BAND, log_x=True, log_y=column == "per_epoch")


def _scores(layer: str, variants: Variants) -> Table:
    rows = []
    for variant, epoch, there in _at_shown_epochs(variants):
        scores = (mean_cell(there.numbers(column).tolist()) for column in SCORES)
        rare = (mean_cell(there.numbers(column).tolist(), _whole, " %") for column in RARE)
        rows.append((variant, str(epoch), *scores, *rare))
    header = ("variant", "epoch", "first derivative", "second derivative", "Gabor", "rare", "difference rare")
    title = f"Mean scores of {layer}'s kernels, and the share that is rare, with the {MEAN_BAND}"
    return Table(title, header, tuple(rows))


def _whole(fraction: float) -> str:
    return hundredths(fraction, 0)


def _at_shown_epochs(variants: Variants) -> Iterator[tuple[str, int, Rows]]:
    """The rows of each variant after 0, 1, 10 and 100 epochs and the last, as far as they are there."""
    for variant, rows in variants.items():
        there = rows.numbers("epoch").astype(int)
        for epoch in dict.fromkeys((0, 1, 10, 100, _last(rows))):
            if epoch in there:
                yield variant, epoch, rows.where(epoch=epoch)


def _last(rows: Rows) -> int:
    return int(rows.numbers("epoch").max())


def _metric_charts(variants: Variants) -> tuple[Chart, ...]:
    losses = tuple(
        line_of(f"{variant}, {what}", trained(spread_over(rows, column)))
        for variant, rows in variants.items()
        for column, what in (("train_loss", "training"), ("test_loss", "test"))
    )
    right = {variant: trained(spread_over(rows, "test_accuracy")) for variant, rows in variants.items()}
    wrong = tuple(line_of(variant, own, errors) for variant, own in right.items())
    title = "Test images wrong"
    return (
        Chart("losses", "Loss", "epoch", "nats an image", losses, MEAN_BAND, log_x=True, log_y=True),
        Chart("errors", title, "epoch", title.lower(), wrong, MEAN_BAND, "percent", log_x=True, log_y=True),
    )


def _ends(variants: Variants) -> Table:
    rows = []
    for variant, epoch, there in _at_shown_epochs(variants):
        losses = (mean_cell(there.numbers(column).tolist(), _loss) for column in ("train_loss", "test_loss"))
        right = mean_cell(there.numbers("test_accuracy").tolist(), hundredths, " %")
        rows.append((variant, str(epoch), right, *losses))
    header = ("variant", "epoch", "accuracy", "training loss", "test loss")
    return Table(f"Accuracy and loss, with the {MEAN_BAND}", header, tuple(rows))


def _loss(loss: float) -> str:
    """A loss, or a bound of its interval: none is below zero."""
    return f"{max(loss, 0.0):.3g}"


def _told_scores(conv1: Variants) -> Iterator[str]:
    """By how much the score of conv1 rose from its start, and what share of its kernels is rare at the end."""
    for variant, rows in conv1.items():
        starts, ends = (rows.where(epoch=epoch) for epoch in (0, _last(rows)))
        gap = told_gap(paired(ends, starts, SCORES[0]), signed, "")
        score, rare = (ends.numbers(column).tolist() for column in (SCORES[0], RARE[0]))
        yield (
            f"{variant}: after {_last(rows)} epochs the first-derivative score of conv1's kernels is "
            f"{told_mean(score, shown_score, '')}; minus that at the start: {gap}. Kernels that are "
            f"rare, 1 % by chance: {told_mean(rare, _whole)}."
        )


def _told_losses(variants: Variants) -> Iterator[str]:
    """Where the test loss is least, and what it has become at the end: overfitting by its name."""
    for variant, rows in variants.items():
        line = trained(spread_over(rows, "test_loss"))
        least, last = min(line, key=lambda one: one.mean), line[-1]
        gap = paired(rows.where(epoch=int(last.at)), rows.where(epoch=int(least.at)), "test_loss")
        losses = rows.where(epoch=int(least.at)).numbers("test_loss").tolist()
        told = f"{variant}: the mean test loss is least after epoch {least.at:g}: {told_mean(losses, _nats, ' nats')}"
        overfits = "; the network overfits" if gap.interval.low > 0 else ""
        after = f"; that after epoch {last.at:g} minus it: {told_gap(gap, _nats, ' nats')}{overfits}"
        yield f"{told}{'' if least.at == last.at else after}."


def _nats(difference: float) -> str:
    return f"{difference:z.4f}".replace("-", "−")


def _told_accuracies(variants: Variants) -> Iterator[str]:
    """The accuracy at the end, and how far that is from the plain variant's."""
    ends = {name: rows.where(epoch=_last(rows)) for name, rows in variants.items()}
    for variant, rows in ends.items():
        right = rows.numbers("test_accuracy")
        yield f"{variant}: test images right at the end: {told_mean(right.tolist())}."
        if variant != "plain" and "plain" in ends:
            yield f"{variant} minus plain at the end: {told_gap(paired(rows, ends['plain'], 'test_accuracy'))}."
