"""What the kernels of an experiment's runs became: their scores against epoch, and their films, as rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lenscope.insight.findings import LayerFilm
from lenscope.insight.movement import choose_frames
from lenscope.insight.operators import FAMILIES, best_match
from lenscope.training.fit import steps_per_epoch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from lenscope.lab.rows import Rows
    from lenscope.lab.trials import Trial
    from lenscope.runs.run import Run

RARE = 0.01  # a kernel whose p is below looks more like an operator than 99 of 100 random ones
DIGITS = 4  # of a weight in a table
FILM = 24  # frames of a film in a table


def score_rows(trial: Trial, run: Run, epochs: Collection[int]) -> Iterator[dict[str, object]]:
    """A row for each layer and each of these epochs: how the kernels score, and how far they have moved.

    Scores are means over a layer's kernels, a kernel's part for one input channel counted as one; `_rare` is the
    share of them that scores higher than 99 of 100 random kernels; `per_epoch` is ‖w − w′‖/‖w₀‖ an epoch since the row
    before.
    """
    film, each = run.film, steps_per_epoch(run.config, run.data.train_images)
    frames = [frame for frame, step in enumerate(film.steps) if step % each == 0 and step // each in epochs]
    for layer, kernels in film.kernels.items():
        start, before = kernels[0], 0
        for frame in frames:
            passed = int(film.steps[frame] - film.steps[before]) / each
            moved = _norm(kernels[frame] - kernels[before]) / _norm(start)
            yield {
                "trial": trial.name,
                **trial.tags,
                "epoch": int(film.steps[frame]) // each,
                "layer": layer,
                "change": _short(_norm(kernels[frame] - start) / _norm(start)),
                "per_epoch": _short(moved / passed) if passed else None,
                **_scores(kernels[frame], "trained"),
                **_scores(kernels[frame] - start, "difference"),
            }
            before = frame


def film_rows(trial: Trial, run: Run, layer: str = "conv1") -> Iterator[dict[str, object]]:
    """A row for each kernel and input channel of a layer in each of a few frames, with its weights."""
    film, each = run.film, steps_per_epoch(run.config, run.data.train_images)
    for frame in choose_frames(film, FILM):
        kernels = film.kernels[layer][frame]
        for kernel, channel in np.ndindex(*kernels.shape[:2]):
            weights = kernels[kernel, channel].ravel()
            place = {"film": trial.name, "layer": layer, "epoch": int(film.steps[frame]) / each}
            yield place | {"kernel": kernel, "channel": channel} | {f"w{i}": _short(w) for i, w in enumerate(weights)}


def unit_rows(trial: Trial, run: Run, layer: str, most: int) -> Iterator[dict[str, object]]:
    """The same for the first units of a fully connected layer that sees square images, at both ends."""
    for epoch, weights in ((0, run.weights("initial")), (trial.config.epochs, run.weights())):
        units = weights[f"{layer}.weight"][:most]
        by_channel = units.reshape(len(units), run.data.channels, -1)
        for unit, channel in np.ndindex(*by_channel.shape[:2]):
            place = {"film": trial.name, "layer": layer, "epoch": float(epoch), "kernel": unit, "channel": channel}
            yield place | {f"w{i}": _short(w) for i, w in enumerate(by_channel[unit, channel])}


def films_of(rows: Rows) -> tuple[LayerFilm, ...]:
    """The films in a table of square kernels, as `film_rows` and `unit_rows` write it."""
    return tuple(_film(name, rows.where(film=name)) for name in rows.names("film"))


def _film(name: str, rows: Rows) -> LayerFilm:
    epochs = np.unique(rows.numbers("epoch"))
    outputs, inputs = (int(rows.numbers(column).max()) + 1 for column in ("kernel", "channel"))
    names = [column for column in rows.cells[0] if column.startswith("w")]
    side = round(len(names) ** 0.5)
    weights = np.stack([rows.numbers(column) for column in names], axis=1).astype(np.float32)
    return LayerFilm(name, rows.cells[0]["layer"], epochs, weights.reshape(len(epochs), outputs, inputs, side, side))


def _scores(kernels: NDArray[np.float32], source: str) -> dict[str, object]:
    scores: dict[str, object] = {}
    for family in FAMILIES:
        match = best_match(kernels, family)
        known = ~np.isnan(match.scores)
        scores[f"{source}_{family}"] = _short(match.scores[known].mean()) if known.any() else None
        scores[f"{source}_{family}_rare"] = _short((match.p_values[known] < RARE).mean()) if known.any() else None
    return scores


def _norm(values: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(values.astype(np.float64)))


def _short(value: float) -> float:
    return float(f"{float(value):.{DIGITS}g}")
