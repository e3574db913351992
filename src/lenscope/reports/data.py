"""What the scripts of the sections made by hand read: kernels, the running network and its mistakes, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.insight.answers import form_for
from lenscope.insight.operators import FAMILIES, bank
from lenscope.insight.reconstructions import first_of_each
from lenscope.reports.program import network_program
from lenscope.reports.section_data import packed, plain, weights_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lenscope.insight.drift import Drift
    from lenscope.insight.insight import Insight, LayerInsight, Measured
    from lenscope.insight.mistakes import Evaluation
    from lenscope.insight.operators import Match
    from lenscope.runs.run import Run

IMAGE_BYTES = 450_000  # of all images in a page
MOST_CLASSES = 1_000  # with more, names and weights are too large for a page
IN_A_CELL, WORST, SAMPLE = 12, 24, 40


def page_data(insight: Insight) -> dict[str, Any]:
    """The kernels, the images, the network and its mistakes; None where there are none, or the page cannot run it."""
    classes = list(insight.run.data.classes)
    layers = [_layer(layer) for layer in insight.layers]
    page: dict[str, Any] = {"layers": layers, "classes": classes, "images": None, "look": None, "mistakes": None}
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
    """The data of the section that runs the network; None for a network that the page cannot run."""
    network, split, evaluation = run.architecture, measured.split, measured.evaluation
    if not network.has_maps:
        return None
    images = measured.ablations.images if measured.ablations else 0
    shown, form, rule = evaluation.shown, form_for(run.data), run.unsure_rule
    return {
        "network": network_program(network, measured.weights),
        "sample": chosen.sample,
        "part": evaluation.split,
        "form": asdict(form) if form.centred else None,
        "leastLead": rule and rule.least_lead,
        "measuredOn": f"{images:,} {'' if images == len(split) else f'of {len(split):,} '}{shown}",
    }


class ChosenImages:
    """The images that a page contains: a sample, the most confident mistakes, and some of each wrong cell.

    Attributes:
        sample, worst: their indices among the images of the page.
        cells: the indices of mistakes by `label,prediction`.
    """

    def __init__(self, measured: Measured) -> None:
        evaluation, split, size = measured.evaluation, measured.split, measured.network.image_size
        self._evaluation, self._split, self._size = evaluation, split, size
        first = [*_sample(evaluation), *evaluation.worst(WORST).tolist()]
        by_cell = list(_behind_cells(evaluation))
        most = max(len(first), IMAGE_BYTES // (split.channels * size * size))
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
        """The images at the network's size, with their labels and predictions."""
        indices, evaluation = np.array(self._indices, np.int64), self._evaluation
        taken = self._split.take(indices).resized(self._size)
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
    """The first images of each class, and the first mistakes."""
    labels, classes = evaluation.labels, len(evaluation.classes)
    each = max(1, min(3, SAMPLE // classes))
    first = first_of_each(labels, classes, each)[:SAMPLE]
    wrong = np.flatnonzero(labels != evaluation.predicted)[:6]
    return list(dict.fromkeys(int(index) for index in [*first, *wrong]))


def _behind_cells(evaluation: Evaluation) -> Iterator[int]:
    """Mistakes by cell, the most confident first: one of each cell, then a second one of each, and so on."""
    worst = evaluation.worst(len(evaluation.labels))
    seen: dict[tuple[int, int], int] = {}
    ranked = []
    for index in worst.tolist():
        cell = (int(evaluation.labels[index]), int(evaluation.predicted[index]))
        seen[cell] = rank = seen.get(cell, -1) + 1
        if rank < IN_A_CELL:
            ranked.append((rank, index))
    return (index for _, index in sorted(ranked, key=lambda entry: entry[0]))


def _layer(layer: LayerInsight) -> dict[str, Any]:
    """A layer's kernels through the film, and the numbers under them."""
    height, width = layer.frames.shape[-2:]
    used = {family: _used_templates(layer, family) for family in FAMILIES}
    return {
        **weights_data(layer.layer, layer.epochs, layer.frames),
        "steps": layer.steps.tolist(),
        **_drift(layer.drift.slices),
        "whole": _drift(layer.drift.kernels),
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


def _drift(drift: Drift) -> dict[str, Any]:
    return {
        "change": plain(drift.change, 4),
        "cosine": plain(drift.cosine, 4),
        "per_epoch": None if drift.per_epoch is None else plain(drift.per_epoch, 6),
    }


def _ablations(layer: LayerInsight) -> list[dict[str, Any]] | None:
    return [asdict(entry) for entry in layer.ablations] or None
