"""An insight as plain values, for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.insight.operators import FAMILIES, bank
from lenscope.insight.story import facts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.insight.drift import Drift
    from lenscope.insight.insight import Insight, LayerInsight
    from lenscope.insight.mistakes import Evaluation
    from lenscope.insight.operators import Match


def insight_facts(insight: Insight) -> dict[str, Any]:
    """All numbers of an insight, by kernel; None where a number does not apply. Units: fractions, nats, pixels."""
    measured = insight.measured
    evaluation = insight.evaluation
    return {
        "run": str(insight.run.path),
        "sentence": insight.sentence,
        "facts": dict(facts_of(insight.run, insight.result)),
        "evaluation": evaluation and _evaluation(evaluation),
        "reconstruction": insight.reconstructions and insight.reconstructions.as_dict(),
        "ablated_images": measured and measured.ablations and measured.ablations.images,
        "layers": [_layer(layer) for layer in insight.layers],
    }


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "images": evaluation.shown,
        "count": len(evaluation.labels),
        "right": evaluation.right,
        "accuracy": evaluation.accuracy,
        "accuracy_interval": evaluation.accuracy_interval,
        "loss": evaluation.loss,
        "confusion": evaluation.confusion.tolist(),
        "by_class": [asdict(score) for score in evaluation.by_class],
    }


def _layer(layer: LayerInsight) -> dict[str, Any]:
    return {
        "layer": layer.layer,
        "shape": list(layer.frames.shape[1:]),
        "scale": layer.scale,
        "steps": layer.steps.tolist(),
        "epochs": layer.epochs.tolist(),
        "random_scores": {family: interval._asdict() for family, interval in layer.chance.items()},
        "mean_scores": {
            source: {family: _mean_scores(course) for family, course in courses.items()}
            for source, courses in layer.courses.items()
        },
        "kernels": [_kernel(layer, kernel) for kernel in range(layer.frames.shape[1])],
    }


def _mean_scores(course: NDArray[np.float64]) -> list[float | None]:
    """The mean over all kernels at each frame; None where no kernel has a score."""
    kept = [frame[np.isfinite(frame)] for frame in course]
    return [float(scores.mean()) if len(scores) else None for scores in kept]


def _kernel(layer: LayerInsight, kernel: int) -> dict[str, Any]:
    return {
        "kernel": kernel,
        **_drift(layer.drift.kernels, kernel),
        "dead": None if layer.dead is None else _number(layer.dead[kernel]),
        "ablation": asdict(layer.ablations[kernel]) if layer.ablations else None,
        "channels": [_slice(layer, kernel, channel) for channel in range(layer.frames.shape[2])],
    }


def _slice(layer: LayerInsight, kernel: int, channel: int) -> dict[str, Any]:
    size = layer.frames.shape[-2:]
    scores = {
        source: {family: _match(matches[family], (kernel, channel), size, family) for family in FAMILIES}
        for source, matches in layer.matches.items()
    }
    return {"channel": channel, **_drift(layer.drift.slices, (kernel, channel)), **scores}


def _drift(drift: Drift, at: int | tuple[int, int]) -> dict[str, Any]:
    per_epoch = drift.per_epoch
    return {
        "change": _number(drift.change[at]),
        "cosine": _number(drift.cosine[at]),
        "per_epoch": None if per_epoch is None else _number(per_epoch[at]),
    }


def _match(match: Match, at: tuple[int, int], size: tuple[int, ...], family: str) -> dict[str, Any] | None:
    if match.templates[at] < 0:
        return None
    name = bank(*size, family).names[match.templates[at]]
    return {
        "score": _number(match.scores[at]),
        "p": _number(match.p_values[at]),
        "best": name,
        "sign": int(match.signs[at]),
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
