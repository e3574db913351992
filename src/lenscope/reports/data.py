"""What the page's scripts read: the insight as JSON, long arrays as base64."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.insight.answers import form_for
from lenscope.insight.kernels import is_coloured
from lenscope.insight.operators import FAMILIES, bank
from lenscope.reports.program import network_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from lenscope.insight.curves import Curve
    from lenscope.insight.insight import Insight, LayerInsight, Measured
    from lenscope.insight.mistakes import Evaluation
    from lenscope.insight.movement import Movement
    from lenscope.insight.operators import Match
    from lenscope.runs.run import Run

IMAGE_BYTES = 450_000  # of all images in a page
MOST_CLASSES = 1_000  # of more, names and weights are too much for a page
IN_A_CELL, WORST, SAMPLE = 12, 24, 40
POINTS = 500  # of a curve, and rows of its table


def page_data(insight: Insight) -> dict[str, Any]:
    """Everything that the page's scripts need; `look` is None where the page cannot run the network."""
    classes = list(insight.run.data.classes)
    layers = [_layer(layer) for layer in insight.layers]
    page: dict[str, Any] = {"curves": _both_curves(insight), "layers": layers, "classes": classes}
    page |= {"images": None, "look": None, "mistakes": None}
    if insight.measured is None or len(classes) > MOST_CLASSES or insight.run.config.reconstructs:
        return page
    chosen = ChosenImages(insight.measured)
    confusion = insight.measured.evaluation.confusion
    cells = [[int(label), int(answer), int(confusion[label, answer])] for label, answer in np.argwhere(confusion)]
    return page | {
        "images": chosen.as_json(),
        "look": _look(insight.run, insight.measured, chosen),
        "mistakes": {"confusion": cells, "cells": chosen.cells, "worst": chosen.worst},
    }


def _look(run: Run, measured: Measured, chosen: ChosenImages) -> dict[str, Any] | None:
    """What the section needs that runs the network; None where it is one that the page cannot run."""
    network, part, evaluation = run.architecture, measured.part, measured.evaluation
    if not network.has_maps:
        return None
    images = measured.ablations.images if measured.ablations else 0
    shown, form, rule = evaluation.shown, form_for(run.data), run.unsure_rule
    return {
        "network": network_program(network, measured.weights),
        "sample": chosen.sample,
        "part": evaluation.part,
        "form": asdict(form) if form.centred else None,
        "leastLead": rule and rule.least_lead,
        "measuredOn": f"{images:,} {'' if images == len(part) else f'of {len(part):,} '}{shown}",
    }


def comparison_data(insights: Sequence[Insight], names: Sequence[str]) -> dict[str, Any]:
    """What the page of several runs needs: their names, their curves and their kernels."""
    runs = []
    for insight, name in zip(insights, names, strict=True):
        layers = [_weights(layer) | _first_scores(layer) for layer in insight.layers]
        returns = insight.run.config.reconstructs  # whose errors have no place among the losses of classifications
        curves = {"loss": [], "accuracy": []} if returns else _both_curves(insight)
        runs.append({"name": name, "curves": curves, "layers": layers})
    return {"runs": runs}


def _first_scores(layer: LayerInsight) -> dict[str, Any]:
    match = layer.matches["trained"]["first"]
    return {"score": plain(match.scores, 4), "p": plain(match.p_values, 4)}


def _both_curves(insight: Insight) -> dict[str, Any]:
    title = "Reconstruction error, a pixel" if insight.run.config.reconstructs else "Loss, nats an image"
    return {"title": title, "loss": _curves(insight.curves.loss), "accuracy": _curves(insight.curves.accuracy)}


class ChosenImages:
    """The images that a page carries: a sample to look through, the worst mistakes, and some of each wrong cell.

    Attributes:
        sample, worst: their places among the images that are carried.
        cells: the same by `label,answer`.
    """

    def __init__(self, measured: Measured) -> None:
        evaluation, part, size = measured.evaluation, measured.part, measured.network.image_size
        self._evaluation, self._part, self._size = evaluation, part, size
        first = [*_sample(evaluation), *evaluation.worst(WORST).tolist()]
        by_cell = list(_behind_cells(evaluation))
        most = max(len(first), IMAGE_BYTES // (part.channels * size * size))
        self._indices = list(dict.fromkeys([*first, *by_cell]))[:most]
        places = {index: place for place, index in enumerate(self._indices)}
        self.sample = [places[index] for index in _sample(evaluation)]
        self.worst = [places[index] for index in evaluation.worst(WORST).tolist()]
        self.cells: dict[str, list[int]] = {}
        for index in by_cell:
            if index in places:
                cell = f"{evaluation.labels[index]},{evaluation.predicted[index]}"
                self.cells.setdefault(cell, []).append(places[index])

    def as_json(self) -> dict[str, Any]:
        """The images at the network's size, with what they are and what they were called."""
        indices, evaluation = np.array(self._indices, np.int64), self._evaluation
        taken = self._part.take(indices).resized(self._size)
        return {
            "channels": taken.channels,
            "size": self._size,
            "count": len(indices),
            "pixels": packed(taken.images),
            "labels": evaluation.labels[indices].tolist(),
            "predicted": evaluation.predicted[indices].tolist(),
            "confidence": plain(evaluation.confidence[indices], 4),
        }


def _sample(evaluation: Evaluation) -> list[int]:
    """The first images of each class, and the first mistakes: fixed, whatever the network."""
    labels, classes = evaluation.labels, len(evaluation.classes)
    each = max(1, min(3, SAMPLE // classes))
    firsts = [np.flatnonzero(labels == label)[:each] for label in range(classes)]
    by_turns = [found[turn] for turn in range(each) for found in firsts if len(found) > turn]
    wrong = np.flatnonzero(labels != evaluation.predicted)[:6]
    return list(dict.fromkeys(int(index) for index in [*by_turns[:SAMPLE], *wrong]))


def _behind_cells(evaluation: Evaluation) -> Iterator[int]:
    """Mistakes by cell, the most confident first: one of each cell, then a second of each, and so on."""
    worst = evaluation.worst(len(evaluation.labels))
    seen: dict[tuple[int, int], int] = {}
    ranked = []
    for index in worst.tolist():
        cell = (int(evaluation.labels[index]), int(evaluation.predicted[index]))
        seen[cell] = rank = seen.get(cell, -1) + 1
        if rank < IN_A_CELL:
            ranked.append((rank, index))
    return (index for _, index in sorted(ranked, key=lambda entry: entry[0]))


def _curves(curves: tuple[Curve, ...]) -> list[dict[str, Any]]:
    return [_curve(curve, spread(len(curve.epochs), POINTS)) for curve in curves]


def _curve(curve: Curve, kept: NDArray[np.int64]) -> dict[str, Any]:
    return {"name": curve.name, "epochs": plain(curve.epochs[kept], 7), "values": plain(curve.values[kept], 6)}


def _weights(layer: LayerInsight) -> dict[str, Any]:
    """A layer's kernels through the film."""
    outputs, inputs, height, width = layer.frames.shape[1:]
    return {
        "name": layer.layer,
        "outputs": outputs,
        "inputs": inputs,
        "coloured": is_coloured(layer.layer, inputs),
        "height": height,
        "width": width,
        "scale": layer.scale,
        "epochs": plain(layer.epochs, 7),
        "initial": packed(layer.frames[0].astype("<f4")),
        "trained": packed(layer.frames[-1].astype("<f4")),
        "frames": packed((layer.frames / (layer.scale or 1)).astype("<f2")),  # float16 reaches from 6e-8 to 65,504
    }


def _layer(layer: LayerInsight) -> dict[str, Any]:
    """The same, and the numbers under them."""
    height, width = layer.frames.shape[-2:]
    used = {family: _used_templates(layer, family) for family in FAMILIES}
    return {
        **_weights(layer),
        "steps": layer.steps.tolist(),
        **_movement(layer.movement.slices),
        "whole": _movement(layer.movement.kernels),
        "scores": {
            source: {family: _match(match, used[family]) for family, match in matches.items()}
            for source, matches in layer.matches.items()
        },
        "courses": {
            source: {family: packed(course.astype("<f2")) for family, course in courses.items()}
            for source, courses in layer.courses.items()
        },
        "chance": {family: interval._asdict() for family, interval in layer.chance.items()},
        "templates": {family: _templates(height, width, family, used[family]) for family in FAMILIES},
        "dead": None if layer.dead is None else plain(layer.dead, 5),
        "ablation": _ablations(layer),
    }


def _used_templates(layer: LayerInsight, family: str) -> list[int]:
    best = np.concatenate([matches[family].templates.ravel() for matches in layer.matches.values()])
    return sorted(int(index) for index in np.unique(best) if index >= 0)


def _templates(height: int, width: int, family: str, used: list[int]) -> list[dict[str, Any]]:
    own = bank(height, width, family)
    return [{"name": own.names[index], "values": plain(own.templates[index].ravel(), 4)} for index in used]


def _match(match: Match, used: list[int]) -> dict[str, Any]:
    places = {index: place for place, index in enumerate(used)}
    best = [
        [[places[int(index)], int(sign)] if index >= 0 else None for index, sign in zip(*row, strict=True)]
        for row in zip(match.templates, match.signs, strict=True)
    ]
    return {"score": plain(match.scores, 4), "p": plain(match.p_values, 4), "best": best}


def _movement(movement: Movement) -> dict[str, Any]:
    return {
        "change": plain(movement.change, 4),
        "cosine": plain(movement.cosine, 4),
        "per_epoch": None if movement.per_epoch is None else plain(movement.per_epoch, 6),
    }


def _ablations(layer: LayerInsight) -> list[dict[str, Any]] | None:
    return [asdict(entry) for entry in layer.ablations] or None


def spread(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of the indices below count, spread evenly, the first and the last among them."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(np.int64))


def plain(values: NDArray[Any], digits: int) -> Any:
    """An array as nested lists of numbers with so many significant digits; None where one is not finite."""
    if values.ndim:
        return [plain(part, digits) for part in values]
    return float(f"{float(values):.{digits}g}") if np.isfinite(values) else None


def packed(values: NDArray[Any]) -> str:
    """An array's bytes as base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
