"""How kernels, losses and accuracies change in a long training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenscope.insight.findings import Findings
from lenscope.insight.section import Chart, Section, Table
from lenscope.lab.questions.longrun import DESCRIPTIONS
from lenscope.lab.tables.kernels import films_of
from lenscope.lab.tables.summary import (
    ACCURACY,
    LOSS,
    LOSS_DIFFERENCE,
    MEAN_BAND,
    SCORE,
    SCORE_DIFFERENCE,
    WHOLE_PERCENT,
    error_rate,
    gap_text,
    line_of,
    mean_cell,
    mean_text,
    paired,
    sentences,
    spread_over,
    trained,
)
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lenscope.lab.experiment import Tables
    from lenscope.lab.questions.longrun import Longrun
    from lenscope.lab.tables.rows import Rows
    from lenscope.lab.tables.summary import Quantity

    Variants = Mapping[str, Rows]

SCORES_LEAD = (
    "The score of a kernel is its largest absolute correlation with a bank of first-derivative kernels; rare kernels "
    "score higher than 99 of 100 random ones (1 % by chance). The difference is the trained kernel minus its initial "
    "weights. Drift per epoch is ‖w − w′‖/‖w₀‖ of the whole layer."
)
LOSS_LEAD = (
    "Where the test loss rises while the training loss falls, the network is overfitting, although its accuracy may "
    "still rise. The training loss with augmentation is that of the distorted images. Losses are in nats (natural "
    "logarithms)."
)
SCORE_COLUMNS = {
    "first derivative": ("trained_first", SCORE),
    "second derivative": ("trained_second", SCORE),
    "Gabor": ("trained_gabor", SCORE),
    "rare": ("trained_first_rare", WHOLE_PERCENT),
    "rare differences": ("difference_first_rare", WHOLE_PERCENT),
}
METRIC_COLUMNS = {
    "test accuracy": ("test_accuracy", ACCURACY),
    "training loss": ("train_loss", LOSS),
    "test loss": ("test_loss", LOSS),
}


def longrun_findings(settings: Longrun, tables: Tables) -> Findings:
    """Kernel scores, films, losses and accuracies of each variant."""
    results = _by_variant(tables["results"])
    conv1, conv2 = (_by_variant(tables["kernels"].where(layer=layer)) for layer in ("conv1", "conv2"))
    n = counted(len(tables["results"].names("seed")), "seed")
    kernels = "conv1 of the first seed; the slider moves all films."
    lead = f"Means of {n} with the {MEAN_BAND}. {LOSS_LEAD}"
    scores = tuple(
        _table(
            f"Mean scores of {layer}'s kernels, and share of rare kernels, with the {MEAN_BAND}", rows, SCORE_COLUMNS
        )
        for layer, rows in (("conv1", conv1), ("conv2", conv2))
    )
    ends = _table(f"Accuracy and loss, with the {MEAN_BAND}", results, METRIC_COLUMNS)
    sections = (
        Section("scores", "Do kernels become gradient operators?", SCORES_LEAD, _score_charts(conv1, conv2), scores),
        Section("kernels", "Kernels", kernels, films=films_of(tables["films"])),
        Section("learning", "Loss and accuracy", lead, _metric_charts(results), (ends,)),
    )
    variants = "; ".join(f"{name}: {DESCRIPTIONS[name]}" for name in settings.variants)
    question = (
        f"{counted(settings.epochs, 'epoch')} on {settings.data}, {n} per variant. {variants}. The lecture expects "
        "kernels to become gradient operators after 100 to 500 epochs. Test images are measured; nothing is chosen by "
        "them."
    )
    conclusions = _score_conclusions(conv1) | _loss_conclusions(results) | _accuracy_conclusions(results)
    return Findings("The long run", question, sentences(conclusions), sections)


def _by_variant(rows: Rows) -> dict[str, Rows]:
    return {variant: rows.where(variant=variant) for variant in rows.names("variant")}


def _score_charts(conv1: Variants, conv2: Variants) -> tuple[Chart, ...]:
    score = "Score (0 to 1)"
    return (
        _by_epoch("score-conv1", "First-derivative score of conv1's kernels", score, conv1, "trained_first"),
        _by_epoch("score-difference", "First-derivative score of the difference", score, conv1, "difference_first"),
        _by_epoch("score-conv2", "First-derivative score of conv2's kernels", score, conv2, "trained_first"),
        _by_epoch("movement", "Drift of conv1 per epoch", "Fraction of the initial norm", conv1, "per_epoch"),
    )


def _by_epoch(name: str, title: str, label: str, variants: Variants, column: str) -> Chart:
    spreads = {variant: trained(spread_over(rows, column)) for variant, rows in variants.items()}
    lines = tuple(line_of(variant, own) for variant, own in spreads.items() if own)
    return Chart(name, title, "Epoch", label, lines, MEAN_BAND, log_x=True, log_y=column == "per_epoch")


def _metric_charts(variants: Variants) -> tuple[Chart, ...]:
    losses = tuple(
        line_of(f"{variant}, {what}", trained(spread_over(rows, column)))
        for variant, rows in variants.items()
        for column, what in (("train_loss", "training"), ("test_loss", "test"))
    )
    accuracies = {variant: trained(spread_over(rows, "test_accuracy")) for variant, rows in variants.items()}
    errors = tuple(line_of(variant, own, error_rate) for variant, own in accuracies.items())
    title = "Test error"
    return (
        Chart("losses", "Loss", "Epoch", "Nats per image", losses, MEAN_BAND, log_x=True, log_y=True),
        Chart("errors", title, "Epoch", title, errors, MEAN_BAND, "percent", log_x=True, log_y=True),
    )


def _table(caption: str, variants: Variants, columns: Mapping[str, tuple[str, Quantity]]) -> Table:
    rows = (
        (variant, str(epoch), *(mean_cell(there.numbers(name).tolist(), how) for name, how in columns.values()))
        for variant, epoch, there in _at_shown_epochs(variants)
    )
    return Table(caption, ("variant", "epoch", *columns), tuple(rows))


def _at_shown_epochs(variants: Variants) -> Iterator[tuple[str, int, Rows]]:
    """The rows of each variant after epochs 0, 1, 10, 100 and the last, as far as there are any."""
    for variant, rows in variants.items():
        there = rows.numbers("epoch").astype(int)
        for epoch in dict.fromkeys((0, 1, 10, 100, _last(rows))):
            if epoch in there:
                yield variant, epoch, rows.where(epoch=epoch)


def _last(rows: Rows) -> int:
    return int(rows.numbers("epoch").max())


def _score_conclusions(conv1: Variants) -> dict[str, str]:
    found = {}
    for variant, rows in conv1.items():
        starts, ends = (rows.where(epoch=epoch) for epoch in (0, _last(rows)))
        about = f"{variant}, conv1 after {counted(_last(rows), 'epoch')}"
        score, rare = (ends.numbers(column).tolist() for column in ("trained_first", "trained_first_rare"))
        gap = gap_text(paired(ends, starts, "trained_first"), SCORE_DIFFERENCE)
        found[f"{about}, first-derivative score"] = f"{mean_text(score, SCORE)}; minus the initial score: {gap}"
        found[f"{about}, rare kernels (1 % by chance)"] = mean_text(rare, WHOLE_PERCENT)
    return found


def _loss_conclusions(variants: Variants) -> dict[str, str]:
    """The lowest test loss, and how far it has risen at the end: overfitting, where the interval is above 0."""
    found = {}
    for variant, rows in variants.items():
        line = trained(spread_over(rows, "test_loss"))
        least, last = min(line, key=lambda one: one.mean), line[-1]
        at_least, at_last = (rows.where(epoch=int(one.at)) for one in (least, last))
        value = f"epoch {least.at:g}, {mean_text(at_least.numbers('test_loss').tolist(), LOSS_DIFFERENCE)}"
        if least.at < last.at:
            gap = paired(at_last, at_least, "test_loss")
            overfits = ", overfitting" if gap.interval.low > 0 else ""
            value += f"; change until epoch {last.at:g}: {gap_text(gap, LOSS_DIFFERENCE)}{overfits}"
        found[f"{variant}, lowest mean test loss"] = value
    return found


def _accuracy_conclusions(variants: Variants) -> dict[str, str]:
    ends = {name: rows.where(epoch=_last(rows)) for name, rows in variants.items()}
    found = {}
    for variant, rows in ends.items():
        found[f"{variant}, final test accuracy"] = mean_text(rows.numbers("test_accuracy").tolist())
        if variant != "plain" and "plain" in ends:
            gap = paired(rows, ends["plain"], "test_accuracy")
            found[f"{variant} minus plain, final test accuracy"] = gap_text(gap)
    return found
