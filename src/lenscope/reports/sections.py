"""The sections of the report of a run, in their order: their words, charts and tables.

A section of charts, tables, films and pictures is one function here. Three are drawn by a script of their own as well
(`HAND_MADE` in js/main.js): the kernels, the network that runs in the page, and the confusion matrix.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lenscope.insight import lecture
from lenscope.insight.answers import form_for
from lenscope.insight.curves import as_errors
from lenscope.insight.section import Listing, Section, Table
from lenscope.insight.story import how_it_ended
from lenscope.nets.layers import NETWORKS, by
from lenscope.nets.summary import summarise
from lenscope.reports.data import MOST_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.insight.insight import Insight
    from lenscope.insight.intervals import Interval
    from lenscope.insight.mistakes import ClassScore, Evaluation
    from lenscope.insight.section import Chart
    from lenscope.runs.run import Run
    from lenscope.training.events import EpochMetrics

POINTS = 500  # of a curve, and rows of its table
FEW_EPOCHS = 12  # rows of the table of epochs, up to which it is unfolded at first

MEANINGS = {
    "change": "‖w − w₀‖ / ‖w₀‖: the distance of the kernel w from its initial value w₀, relative to the norm of w₀.",
    "cosine": "of the angle between the kernel and its initial value: 1 is the same direction, 0 a right angle.",
    "drift per epoch": "‖w − w′‖ / ‖w₀‖ per epoch, from the snapshot w′ before the last.",
    "dead": "the fraction of the measured images on which the kernel's map is zero everywhere.",
    "ablated": "the change of the accuracy, in percentage points, when the kernel's map is set to zero.",
    "score": "the largest absolute correlation, means removed, with a bank of templates in steps of 5 degrees: first "
    "derivatives of Gaussians and Sobel operators, second derivatives of Gaussians, or Gabor functions; 1 means "
    "identical up to brightness and contrast.",
    "p, by chance": "the fraction of 9,999 random kernels, drawn from PyTorch's initial distribution, whose best match "
    "scores at least as high. For a difference this is a comparison and not a test, since differences are smooth "
    "where images are; the same holds for a run that started from the weights of another run.",
}
NO_CLASSES = "An autoencoder does not classify. Some of its reconstructions are in the run's plots/reconstructions.png."
UNTRAINED = "Epoch 0 is before training."
RECONSTRUCTION = (
    "The reconstruction error is the mean squared error per pixel, 0 to 1, of clean images; the training loss is that "
    "of the training images, with the noise and the penalties of the settings."
)
STACK = (
    "The first half of the epochs trains layer 1, the second half layer 2, whose training loss is that of the code of "
    "layer 1; the reconstruction error is always that through both layers."
)
LECTURE = (
    "The rings are the lecture's published values, its losses multiplied by its batch size of 100, by which it divides "
    "the mean loss per image."
)


def learning(insight: Insight) -> Section:
    """Loss and accuracy against epoch, and every epoch in numbers."""
    run = insight.run
    charts = tuple(map(_thinned, insight.curves.charts))
    lead = [UNTRAINED, RECONSTRUCTION if run.config.reconstructs else _loss_in_words(len(run.data.classes))]
    lead += [STACK] if run.config.network == "mlp-autoencoder" else []
    lead += [LECTURE] if lecture.is_lecture_experiment(run.config) else []
    logarithmic = tuple(map(as_errors, charts))
    return Section("learning", "Learning", " ".join(lead), charts, (_epochs(run),), logarithmic=logarithmic)


def kernels(insight: Insight) -> Section:
    """The kernels through training, drawn by js/kernels.js, and what the numbers below them mean."""
    lead = (
        "Each square is a weight. Move the slider or play the film to follow each kernel from its initial to its "
        "trained weights; the difference is what training has added. The scores say how much a kernel resembles an "
        "operator that computes a gradient, a second derivative or a wave; p is the fraction of random kernels that "
        "score as high, since the best of many templates fits noise as well."
    )
    if not insight.layers:
        return Section("kernels", "Kernels", "This network has no convolutions, so there are no kernels to show.")
    meanings = Table("", (), tuple(MEANINGS.items()), words=True, summary="What the numbers mean", folded=True)
    return Section("kernels", "Kernels", lead, tables=(meanings,))


def look(insight: Insight) -> Section:
    """The network that runs in the page, drawn by js/look.js."""
    run = insight.run
    missing = _why_no_answers(insight)
    if not missing and not run.architecture.has_maps:
        missing = f"The page runs LeNets only, and this is a {NETWORKS[run.config.network].description}."
    draws = " or draw a digit" if form_for(run.data).centred else ""
    lead = f"The trained network runs in this page: choose an image{draws}, and point at any value to see its inputs."
    return Section("look", "Inside the network", missing or lead)


def mistakes(insight: Insight) -> Section:
    """The confusion matrix and its images, drawn by js/mistakes.js, and each class in numbers."""
    if (missing := _why_no_answers(insight)) or insight.evaluation is None:
        return Section("mistakes", "Mistakes", missing)
    evaluation = insight.evaluation
    total, wrong = len(evaluation.labels), len(evaluation.labels) - evaluation.right
    named = ": test error" if evaluation.split == "test" else ","
    lead = f"{wrong:,} of {total:,} {evaluation.shown} are wrong{named} {100 * wrong / total:.2f} %."
    return Section("mistakes", "Mistakes", lead, tables=(_classes(evaluation),))


def shapes(insight: Insight) -> Section:
    """The summary of the network: a row per layer."""
    run = insight.run
    network = run.architecture
    recap = summarise(network, (run.data.channels, network.image_size, network.image_size))
    layers = tuple(
        (layer.name, layer.kind, by(layer.output), layer.kernel, f"{layer.parameters:,}",
         _cell(layer.multiply_adds, "{:,}"), f"{layer.parameter_bytes:,}")
        for layer in recap.layers
    )  # fmt: skip
    table = Table(
        caption="Multiply-adds are those of the forward pass of one image; bytes are those of the parameters.",
        header=("layer", "kind", "output", "kernel", "parameters", "multiply-adds", "bytes"),
        rows=(("input", "", by(recap.input_shape), "", "", "", ""), *layers),
        total=("total", "", "", "", f"{recap.parameters:,}", f"{recap.multiply_adds:,}", f"{recap.parameter_bytes:,}"),
    )
    lead = "The number of parameters does not depend on the batch size, which is only the first index of each output."
    return Section("shapes", "Shapes and parameters", lead, tables=(table,))


def made(insight: Insight) -> Section:
    """The command, the settings, and machine, software and hashes by name."""
    run = insight.run
    apart = {"data", "packages", "numerics", "resumed", "isa"}
    table = {name: value for name, value in run.environment.items() if name not in apart}
    table |= {"instruction set": run.environment.get("isa")}
    table |= {f"numerics: {name}": value for name, value in run.environment.get("numerics", {}).items()}
    table |= {f"{name} version": version for name, version in run.environment.get("packages", {}).items()}
    table |= {
        "data": run.data.name,
        "data source": run.data.source,
        "data licence": run.data.licence,
        "form of the images": run.data.form and run.data.form.described,
        "SHA-256 of the training images and labels": run.data.train_sha256,
        "SHA-256 of the test images and labels": run.data.test_sha256,
    }
    weights = {name: entry for name, entry in run.committed.static.items() if name.startswith("weights/")}
    table |= {f"SHA-256 of {name}": entry.sha256 for name, entry in sorted(weights.items())}
    if run.resumed:
        table["resumed"] = "; ".join(f"after step {one.step:,} at {one.at}" for one in run.resumed)
    rows = tuple((name, str(value)) for name, value in table.items() if value is not None)
    listings = (Listing("", "lenscope train --config config.toml"), Listing("config.toml", run.config.to_toml()))
    summary = "Machine, software and hashes"
    return Section(
        anchor="made",
        title="How it was made",
        lead="In the run's directory, this command repeats the run; its configuration file is the text below it.",
        tables=(Table("", (), rows, words=True, summary=summary, folded=True),),
        listings=listings,
    )


SECTIONS: tuple[Callable[[Insight], Section], ...] = (learning, kernels, look, mistakes, shapes, made)


def _why_no_answers(insight: Insight) -> str:
    """Why a section that shows the network's answers is empty; nothing where it is not."""
    run = insight.run
    if run.config.reconstructs:
        return NO_CLASSES
    if insight.measured is None:
        return f"There are no trained weights of this run to show. {how_it_ended(run)}".strip()
    if len(run.data.classes) > MOST_CLASSES:
        return f"{len(run.data.classes):,} classes are too many for a self-contained page."
    return ""


def _loss_in_words(classes: int) -> str:
    guess = f"ln\u00a0{classes:,}\u00a0=\u00a0{math.log(classes):.2f}\u00a0nats"
    return (
        "Loss is the mean negative log-likelihood per image in nats, the unit of the natural logarithm: a network that "
        f"guesses among {classes:,} classes has a loss of {guess}."
    )


def _thinned(chart: Chart) -> Chart:
    """A chart of few enough points for a page."""
    lines = []
    for line in chart.lines:
        kept = spread(len(line.xs), POINTS).tolist()
        lines.append(replace(line, xs=tuple(line.xs[at] for at in kept), ys=tuple(line.ys[at] for at in kept)))
    return replace(chart, lines=tuple(lines))


def spread(count: int, most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """At most `most` of the indices below `count`, spread evenly, the first and the last among them."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(np.int64))


def _epochs(run: Run) -> Table:
    """A row per epoch, with the lecture's own values where the recipe is its own; of very many epochs some."""
    every, own = run.metrics.rows(), lecture.is_lecture_experiment(run.config)
    rows = [every[place] for place in spread(len(every), POINTS)]
    reconstructs = run.config.reconstructs
    split = (rows[-1].reconstruction if reconstructs else rows[-1].measured)[0] if rows else None
    name = "reconstruction error" if reconstructs else "accuracy"
    measured = f"{name.capitalize()} on the {split} images; seconds of training and evaluation together."
    some = "" if len(rows) == len(every) else f" {len(rows):,} of {len(every):,} epochs; metrics.csv has all."
    header = ("epoch", "training loss", name, "seconds", "images per second")
    return Table(
        caption=f"{measured if split else ''}{some}".strip(),
        header=(*header, "the lecture's loss", "the lecture's accuracy") if own else header,
        rows=tuple(_epoch(row, reconstructs=reconstructs) + (_lecture(row.epoch) if own else ()) for row in rows),
        summary="Every epoch in numbers",
        folded=len(rows) > FEW_EPOCHS,
    )


def _epoch(row: EpochMetrics, *, reconstructs: bool) -> tuple[str, ...]:
    seconds = None if row.train_seconds is None else row.train_seconds + (row.evaluation_seconds or 0)
    return (
        f"{row.epoch:,}",
        _cell(row.train_loss, "{:z.4f}"),
        _cell(row.reconstruction[1], "{:z.4f}") if reconstructs else _cell(row.measured[1], "{:.2f} %", of=100),
        _cell(seconds, "{:.2f}"),
        _cell(row.images_per_second, "{:,.0f}"),
    )


def _lecture(epoch: int) -> tuple[str, str]:
    if not 1 <= epoch <= len(lecture.ACCURACY):
        return "", ""
    printed = lecture.LOSS_AS_PRINTED[epoch - 1]
    loss = None if printed is None else lecture.loss_per_image(printed)
    return _cell(loss, "{:z.4f}"), _cell(lecture.ACCURACY[epoch - 1], "{:.2f} %", of=100)


def _classes(evaluation: Evaluation) -> Table:
    """A row per class."""
    return Table(
        caption="Recall is the fraction of the images of a class that are recognised, precision the fraction of the "
        "answers with this class that are right; 95 % Wilson intervals.",
        header=("class", "images", "recall", "interval (%)", "precision", "interval (%)"),
        rows=tuple(map(_class, evaluation.by_class)),
        summary="Each class in numbers",
        folded=True,
    )


def _class(score: ClassScore) -> tuple[str, ...]:
    return (
        score.name,
        f"{score.images:,}",
        f"{100 * score.recall:.1f} %",
        _range(score.recall_interval),
        _cell(score.precision, "{:.1f} %", of=100),
        "" if score.precision is None else _range(score.precision_interval),
    )


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def _cell(value: float | None, form: str, of: int = 1) -> str:
    """A number as it is shown; nothing where there is none."""
    return "" if value is None or not np.isfinite(value) else form.format(of * value)
