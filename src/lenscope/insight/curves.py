"""The course of a run: loss and accuracy against epoch, and the lecture's points where they belong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.insight import lecture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.runs.metrics import Metrics
    from lenscope.runs.run import Run


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a picture: finite points only, epochs float64 and values float64, both (n,)."""

    name: str
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curves:
    """Loss and accuracy as a fraction, each against epoch; curves without points are left out.

    The loss is in nats an image or, of an autoencoder, which has no accuracy, the mean squared error of a pixel.
    """

    title: str
    loss: tuple[Curve, ...]
    accuracy: tuple[Curve, ...]
    reconstructs: bool = False


def trace_curves(run: Run) -> Curves:
    """The curves of a run so far."""
    return curves_of(run.metrics, run.config, run.name)


def curves_of(metrics: Metrics, config: TrainConfig, title: str) -> Curves:
    """The curves of metrics that may still grow."""
    curves: dict[str, list[Curve]] = {"loss": [], "accuracy": []}
    for kind, found in curves.items():
        for part in ("train", "validation", "test"):
            values = getattr(metrics, f"{part}_{kind}")
            there = np.isfinite(values)
            if there.any():
                found.append(Curve(part, metrics.epoch[there].astype(float), values[there]))
        if lecture.is_lecture_experiment(config):
            found.append(_lecture_curve(kind, config.epochs))
    return Curves(title, tuple(curves["loss"]), tuple(curves["accuracy"]), config.reconstructs)


def _lecture_curve(kind: str, epochs: int) -> Curve:
    if kind == "loss":
        values = [lecture.loss_per_image(loss) for loss in lecture.LOSS_AS_PRINTED if loss is not None]
    else:
        values = list(lecture.ACCURACY)
    shown = values[:epochs]
    return Curve("lecture", np.arange(1.0, len(shown) + 1), np.array(shown))
