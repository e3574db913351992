"""The words and tables of the report's sections, as texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.insight import lecture
from lenscope.insight.answers import form_for
from lenscope.insight.story import NETWORKS, how_it_ended
from lenscope.nets.layers import by
from lenscope.nets.summary import summarise
from lenscope.reports.data import MOST_CLASSES, POINTS, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lenscope.insight.insight import Insight
    from lenscope.insight.intervals import Interval
    from lenscope.insight.mistakes import ClassScore, Evaluation
    from lenscope.runs.run import Run
    from lenscope.training.events import EpochMetrics


@dataclass(frozen=True)
class Table:
    """Cells as texts; the first of a row names it."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] = ()


def note_on(section: str, insight: Insight) -> str:
    """What stands under a section's heading."""
    if section == "kernels" and not insight.layers:
        return "This network has no convolutions, so there are no kernels to show."
    missing = _what_is_missing(section, insight) if section in {"look", "mistakes"} else ""
    return missing or _what_is_there(section, insight)


def _what_is_missing(section: str, insight: Insight) -> str:
    """Why a section that shows the network's answers is empty, or nothing."""
    run, measured = insight.run, insight.measured
    if run.config.reconstructs:
        return NO_CLASSES
    if measured is None:
        return f"There are no trained weights of this run to show. {how_it_ended(run)}".strip()
    if len(run.data.classes) > MOST_CLASSES:
        return f"{len(run.data.classes):,} classes are too many for a page that carries all that it shows."
    if section == "look" and not run.architecture.has_maps:
        return f"The page runs a LeNet alone, and this is a {NETWORKS[run.config.network]}."
    return ""


def _what_is_there(section: str, insight: Insight) -> str:
    run, measured = insight.run, insight.measured
    if section == "look" and measured is not None:
        draws = " or draw one" if form_for(run.data).centred else ""
        return NOTES[section].format(draws=draws)
    if section == "mistakes" and measured is not None:
        evaluation = measured.evaluation
        total, wrong = len(evaluation.labels), len(evaluation.labels) - evaluation.right
        return f"{wrong:,} of {total:,} {evaluation.shown} are wrong, {100 * wrong / total:.2f} %."
    if section == "learning" and run.config.reconstructs:
        return f"{RETURNS} {STACK}" if run.config.network == "mlp-autoencoder" else RETURNS
    if section == "learning" and lecture.is_lecture_experiment(run.config):
        return f"{NOTES[section]} {LECTURE}"
    return NOTES[section]


def note_on_comparison(runs: Sequence[Run]) -> str:
    """What is to be said of the curves of several runs, where some have none there or no kernels."""
    left_out = [run.name for run in runs if run.config.reconstructs]
    if not left_out:
        return ""
    return f" Of {', '.join(left_out)}, which learn without labels, the reconstruction error stands under Differences."


def kernels_of(insights: Sequence[Insight]) -> str:
    """What the kernels' section of several runs shows."""
    if not any(insight.layers for insight in insights):
        return "None of these networks has convolutions, so there are no kernels to show."
    return "Kernels of the same number under one another; the bar moves all of them through their films."


NOTES = {
    "learning": "Epoch 0 is before training. Loss is the mean negative log-likelihood of an image, in nats.",
    "kernels": "Each square is a weight. Move the bar, or let it play, to see how every kernel came from its start "
    "to what it is; the difference is what training has added. The scores say how much a kernel looks like an "
    "operator that computes a gradient, a second derivative or a wave; p says what share of random kernels do "
    "as well, since the best match of many is good for noise, too.",
    "look": "The trained network runs here, in this page: choose an image{draws}, and point at any value to see "
    "where it comes from.",
    "shapes": "The batch size changes no parameter; it is only the first index of each output.",
    "made": "The command repeats it; the file that it takes is the text below it.",
}
MEANINGS = {
    "change": "‖w − w₀‖ / ‖w₀‖: how far the kernel w has gone from its start w₀, in lengths of that start.",
    "cosine": "of the angle between the kernel and its start: 1 is the same direction, 0 a right angle.",
    "moves": "how far it still went in an epoch at the end, in lengths of its start.",
    "dead": "the share of the measured images on which its map is zero everywhere.",
    "switched off": "what becomes of the accuracy, in percentage points, where its map is zero on every image.",
    "score": "the largest absolute correlation, means removed, with a bank of templates in steps of 5 degrees: first "
    "derivatives of Gaussians and Sobel's operators, second derivatives of Gaussians, or Gabor functions; 1 is the "
    "same picture, whatever its contrast.",
    "p, by chance": "the share of 9,999 random kernels, drawn as PyTorch draws initial weights, whose best match "
    "scores as high. For a difference it is a comparison and no test, since differences are smooth where "
    "images are; so it is for a run that began with another's weights.",
}
NO_CLASSES = (
    "An autoencoder names no classes. What it gives back of some images is in the run's plots/reconstructions.png."
)
RETURNS = (
    "Epoch 0 is before training. The reconstruction error is the mean squared error of a pixel, 0 to 1, of clean "
    "images; the training loss is the same of training images, with the noise and the penalties that the settings ask "
    "for."
)
STACK = (
    "The first half of the epochs trains layer 1, the second half layer 2, whose training loss is that of layer 1's "
    "code; the reconstruction error is always that through both layers."
)
LECTURE = (
    "The rings are what the lecture prints, its losses multiplied by its batch size of 100: what it prints is the mean "
    "loss of an image divided by that."
)


def describe_learning(run: Run) -> Table:
    """A row an epoch, with the lecture's own figures where the recipe is its own; of very many epochs some."""
    every, own = run.metrics.rows(), lecture.is_lecture_experiment(run.config)
    rows = [every[place] for place in spread(len(every), POINTS)]
    returns = run.config.reconstructs
    part = (rows[-1].reconstruction if returns else rows[-1].measured)[0] if rows else None
    name = "reconstruction error" if returns else "accuracy"
    measured = f"{name.capitalize()} is that on the {part} images; seconds are those of training and evaluation."
    measured = measured if part else ""
    some = "" if len(rows) == len(every) else f" {len(rows):,} of {len(every):,} epochs; metrics.csv has all."
    header = ("epoch", "training loss", name, "seconds", "images a second")
    return Table(
        caption=f"{measured}{some}".strip(),
        header=(*header, "the lecture's loss", "the lecture's accuracy") if own else header,
        rows=tuple(_epoch(row, returns=returns) + (_lecture(row.epoch) if own else ()) for row in rows),
    )


def _epoch(row: EpochMetrics, *, returns: bool) -> tuple[str, ...]:
    seconds = None if row.train_seconds is None else row.train_seconds + (row.evaluation_seconds or 0)
    return (
        f"{row.epoch:,}",
        cell(row.train_loss, "{:z.4f}"),
        cell(row.reconstruction[1], "{:z.4f}") if returns else cell(row.measured[1], "{:.2f} %", of=100),
        cell(seconds, "{:.2f}"),
        cell(row.images_per_second, "{:,.0f}"),
    )


def _lecture(epoch: int) -> tuple[str, str]:
    if not 1 <= epoch <= len(lecture.ACCURACY):
        return "", ""
    printed = lecture.LOSS_AS_PRINTED[epoch - 1]
    loss = None if printed is None else lecture.loss_per_image(printed)
    return cell(loss, "{:z.4f}"), cell(lecture.ACCURACY[epoch - 1], "{:.2f} %", of=100)


def describe_classes(evaluation: Evaluation | None) -> Table | None:
    """A row a class; None where nothing was measured, or there are too many."""
    if evaluation is None or len(evaluation.classes) > MOST_CLASSES:
        return None
    return Table(
        caption="Recall is the share of a class that is found, precision the share that is right of what is called it; "
        "95 % Wilson intervals.",
        header=("class", "images", "recall", "interval", "precision", "interval"),
        rows=tuple(map(_class, evaluation.by_class)),
    )


def _class(score: ClassScore) -> tuple[str, ...]:
    called = score.precision is not None
    return (
        score.name,
        f"{score.images:,}",
        f"{100 * score.recall:.1f} %",
        _range(score.recall_interval),
        cell(score.precision, "{:.1f} %", of=100),
        _range(score.precision_interval) if called else "",
    )


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def describe_shapes(run: Run) -> Table:
    """The recap of the network: a row a layer."""
    network = run.architecture
    recap = summarise(network, (run.data.channels, network.image_size, network.image_size))
    layers = tuple(
        (layer.name, layer.kind, by(layer.output), layer.kernel, f"{layer.parameters:,}",
         cell(layer.multiply_adds, "{:,}"), f"{layer.parameter_bytes:,}")
        for layer in recap.layers
    )  # fmt: skip
    return Table(
        caption="Multiply-adds are those of one image going forward; bytes are those of the parameters.",
        header=("layer", "kind", "output", "kernel", "parameters", "multiply-adds", "bytes"),
        rows=(("input", "", by(recap.input_shape), "", "", "", ""), *layers),
        total=("total", "", "", "", f"{recap.parameters:,}", f"{recap.multiply_adds:,}", f"{recap.parameter_bytes:,}"),
    )


def describe_making(run: Run) -> dict[str, object]:
    """The command, the settings, and machine, software and hashes by name."""
    apart = {"data", "packages", "resumed"}
    table = {name: value for name, value in run.environment.items() if name not in apart}
    table |= {f"{name} version": version for name, version in run.environment.get("packages", {}).items()}
    table |= {
        "data": run.data.name,
        "its source": run.data.source,
        "its licence": run.data.licence,
        "its images": run.data.form and run.data.form.described,
        "SHA-256 of the training images and labels": run.data.train_sha256,
        "SHA-256 of the test images and labels": run.data.test_sha256,
    }
    weights = {name: entry for name, entry in run.committed.static.items() if name.startswith("weights/")}
    table |= {f"SHA-256 of {name}": entry.sha256 for name, entry in sorted(weights.items())}
    if run.resumed:
        table["went on"] = "; ".join(f"after step {one.step:,} at {one.at}" for one in run.resumed)
    return {
        "command": "lenscope train --config config.toml",
        "config": run.config.to_toml(),
        "environment": [(name, str(value)) for name, value in table.items() if value is not None],
    }


def cell(value: float | None, form: str, of: int = 1) -> str:
    """A number as it is shown; nothing where there is none."""
    return "" if value is None or not np.isfinite(value) else form.format(of * value)
