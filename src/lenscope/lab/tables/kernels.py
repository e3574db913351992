"""The kernels of runs as rows of a table: their scores by epoch, and their films."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lenscope.insight.drift import choose_frames
from lenscope.insight.operators import FAMILIES, best_match
from lenscope.insight.section import LayerFilm
from lenscope.training.fit import steps_per_epoch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from lenscope.lab.execution.trials import Trial
    from lenscope.lab.tables.rows import Rows
    from lenscope.runs.run import Run

RARE = 0.01  # a kernel whose p-value is below looks more like an operator than 99 of 100 random ones
DIGITS = 4  # of a number in a table
FILM = 24  # frames of a film in a table


def score_rows(trial: Trial, run: Run, epochs: Collection[int]) -> Iterator[dict[str, object]]:
    """A row for each layer and epoch: the scores of the kernels, and their drift.

    Scores are means over a layer's kernels, one per output and input channel; `_rare` is the share of kernels that
    score higher than 99 of 100 random ones; `change` is ‖w − w₀‖/‖w₀‖ of the layer; `per_epoch` is ‖w − w′‖/‖w₀‖
    divided by the epochs since the previous row, whose weights are w′.
    """
    film, each = run.film, steps_per_epoch(run.config, run.data.train_images)
    frames = [frame for frame, step in enumerate(film.steps) if step % each == 0 and step // each in epochs]
    for layer, kernels in film.kernels.items():
        start, before = kernels[0], 0
        for frame in frames:
            passed = int(film.steps[frame] - film.steps[before]) / each
            moved = _norm(kernels[frame] - kernels[before]) / _norm(start)
            yield {
                **trial.row,
                "epoch": int(film.steps[frame]) // each,
                "layer": layer,
                "change": _rounded(_norm(kernels[frame] - start) / _norm(start)),
                "per_epoch": _rounded(moved / passed) if passed else None,
                **_scores(kernels[frame], "trained"),
                **_scores(kernels[frame] - start, "difference"),
            }
            before = frame


def film_rows(trial: Trial, run: Run, layer: str = "conv1") -> Iterator[dict[str, object]]:
    """A row with the weights of each kernel and input channel of a layer, in each of a few frames."""
    film, each = run.film, steps_per_epoch(run.config, run.data.train_images)
    for frame in choose_frames(film, FILM):
        yield from _weight_rows(trial.name, layer, int(film.steps[frame]) / each, film.kernels[layer][frame])


def unit_rows(trial: Trial, run: Run, layer: str, most: int) -> Iterator[dict[str, object]]:
    """As `film_rows`, for the first units of a fully connected layer over square images, before and after training."""
    for epoch, weights in ((0.0, run.weights("initial")), (float(trial.config.epochs), run.weights())):
        units = weights[f"{layer}.weight"][:most]
        yield from _weight_rows(trial.name, layer, epoch, units.reshape(len(units), run.data.channels, -1))


def _weight_rows(name: str, layer: str, epoch: float, kernels: NDArray[np.float32]) -> Iterator[dict[str, object]]:
    for kernel, channel in np.ndindex(*kernels.shape[:2]):
        cells = {"film": name, "layer": layer, "epoch": epoch, "kernel": kernel, "channel": channel}
        yield cells | {f"w{i}": _rounded(w) for i, w in enumerate(kernels[kernel, channel].ravel())}


def films_of(rows: Rows) -> tuple[LayerFilm, ...]:
    """The films in a table written by `film_rows` or `unit_rows`."""
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
        scores[f"{source}_{family}"] = _rounded(match.scores[known].mean()) if known.any() else None
        scores[f"{source}_{family}_rare"] = _rounded((match.p_values[known] < RARE).mean()) if known.any() else None
    return scores


def _norm(values: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(values.astype(np.float64)))


def _rounded(value: float | np.floating) -> float:
    return float(f"{float(value):.{DIGITS}g}")
