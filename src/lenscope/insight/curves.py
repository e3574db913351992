"""The course of a run: charts of loss and accuracy against epoch, with the lecture's points where they belong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lenscope.insight import lecture
from lenscope.insight.section import Chart, Line

if TYPE_CHECKING:
    from lenscope.config import TrainConfig
    from lenscope.insight.section import Split
    from lenscope.runs.files.metrics import Metrics
    from lenscope.runs.run import Run

NAMES: dict[Split, str] = {"train": "training (mean over the epoch)", "validation": "validation", "test": "test"}
LOSS = Chart("loss", "Loss (nats per image)", "Epoch", "Negative log-likelihood (nats per image)", ())
ERROR = Chart("loss", "Reconstruction error", "Epoch", "Mean squared error per pixel (pixels 0 to 1)", ())
ACCURACY = Chart("accuracy", "Accuracy", "Epoch", "Accuracy", (), format="percent")


@dataclass(frozen=True)
class Curves:
    """Charts against epoch under one title: the loss and the accuracy; of an autoencoder the loss alone.

    The loss is in nats per image or, of an autoencoder, the mean squared error per pixel; the accuracy is a fraction. A
    line holds finite values only; lines without any are left out.
    """

    title: str
    charts: tuple[Chart, ...]


def trace_curves(run: Run) -> Curves:
    """The curves of a run so far."""
    return curves_of(run.metrics, run.config, run.name)


def curves_of(metrics: Metrics, config: TrainConfig, title: str) -> Curves:
    """The curves of metrics that may still grow."""
    charts = (ERROR,) if config.reconstructs else (LOSS, ACCURACY)
    return Curves(title, tuple(replace(chart, lines=_lines(metrics, config, chart.name)) for chart in charts))


def as_errors(chart: Chart) -> Chart:
    """A chart of a loss or an accuracy on logarithmic axes, an accuracy as the error that it leaves."""
    if chart.format == "percent":
        lines = (replace(line, ys=tuple(1 - y for y in line.ys)) for line in chart.lines)
        chart = replace(chart, title="Error (1 − accuracy)", y_label="Error", lines=tuple(lines))
    return replace(chart, log_x=True, log_y=True)


def _lines(metrics: Metrics, config: TrainConfig, kind: str) -> tuple[Line, ...]:
    lines = []
    for split, name in NAMES.items():
        values = getattr(metrics, f"{split}_{kind}")
        measured = np.isfinite(values)
        if measured.any():
            epochs = metrics.epoch[measured].astype(float)
            lines.append(Line(name, tuple(epochs.tolist()), tuple(values[measured].tolist()), split=split))
    return (*lines, _lecture_line(kind, config.epochs)) if lecture.is_lecture_experiment(config) else tuple(lines)


def _lecture_line(kind: str, epochs: int) -> Line:
    printed = [lecture.loss_per_image(loss) for loss in lecture.LOSS_AS_PRINTED if loss is not None]
    values = tuple(printed if kind == "loss" else lecture.ACCURACY)[:epochs]
    return Line("Lecture 29", tuple(np.arange(1.0, len(values) + 1).tolist()), values, points=True, split="lecture")
