"""How far kernels drift from their initial weights during training, and which snapshots show it best."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.runs.files.film import Film


@dataclass(frozen=True, eq=False)
class Drift:
    """The drift of parts of a layer: float64 arrays, one value per part, NaN for a part whose initial weights are zero.

    Attributes:
        change: ‖w − w₀‖ / ‖w₀‖ from the first snapshot to the last.
        cosine: of the angle between the first and the last, −1 to 1; NaN where either is zero.
        per_epoch: ‖w − w′‖ / ‖w₀‖ per epoch, w′ the snapshot before the last; None for a single snapshot.
    """

    change: NDArray[np.float64]
    cosine: NDArray[np.float64]
    per_epoch: NDArray[np.float64] | None


@dataclass(frozen=True)
class LayerDrift:
    """The drift of a layer.

    Attributes:
        kernels: of each kernel with all its input channels; arrays of shape (out,).
        slices: of each input channel of each kernel; arrays of shape (out, in). Those that a table leaves unconnected
            (C3 of LeNet1998) are NaN.
    """

    kernels: Drift
    slices: Drift


def measure_drift(film: Film, steps_per_epoch: int) -> dict[str, LayerDrift]:
    """The drift of the kernels of each layer, from the first snapshot of a film to the last.

    Args:
        film: of at least one snapshot.
        steps_per_epoch: 1 or more.
    """
    before = int(np.searchsorted(film.steps, film.steps[-1])) - 1
    epochs = (film.steps[-1] - film.steps[before]) / steps_per_epoch if before >= 0 else None
    return {
        name: LayerDrift(
            kernels=_drift(frames.reshape(*frames.shape[:2], -1), before, epochs),
            slices=_drift(frames.reshape(*frames.shape[:3], -1), before, epochs),
        )
        for name, frames in film.kernels.items()
    }


def choose_frames(film: Film, most: int = 60) -> NDArray[np.int64]:
    """The snapshots that show best how the kernels changed: all, or some spread evenly over the change.

    The change is the length of the path, Σ ‖wₛ₊₁ − wₛ‖ / ‖w₀‖, summed over the layers.

    Args:
        film: the kernels over time.
        most: the most snapshots to choose, 2 or more.

    Returns:
        Indices into the film, ascending, including the first and the last; int64. Fewer than `most` where one change
        is larger than the spacing.
    """
    if len(film) <= most:
        return np.arange(len(film))
    path = np.concatenate([[0.0], np.cumsum(sum(map(_steps_of_path, film.kernels.values())))])
    wanted = np.linspace(0, path[-1], most)[1:-1]
    after = np.searchsorted(path, wanted).clip(1, len(path) - 1)
    nearest = np.where(wanted - path[after - 1] <= path[after] - wanted, after - 1, after)
    return np.unique([0, *nearest, len(film) - 1])


def _drift(frames: NDArray[np.float32], before: int, epochs: float | None) -> Drift:
    """The drift of parts whose values are the last axis of frames (S, …, values)."""
    first, last = frames[0].astype(np.float64), frames[-1].astype(np.float64)
    start, end = _norm(first), _norm(last)
    per_epoch = None if epochs is None else _ratio(_norm(last - frames[before]), start) / epochs
    cosine = _ratio((first * last).sum(-1), start * end)
    return Drift(_ratio(_norm(last - first), start), cosine.clip(-1, 1), per_epoch)


def _steps_of_path(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """The change of a layer between successive snapshots, relative to its initial norm; float64, shape (S − 1,)."""
    rows = frames.reshape(len(frames), -1)
    steps = np.array([_norm(after - before) for before, after in pairwise(rows)])
    return steps / (float(_norm(rows[0])) or 1.0)


def _norm(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The Euclidean norm of the last axis."""
    norms: NDArray[np.float64] = np.sqrt(np.square(values, dtype=np.float64).sum(-1))
    return norms


def _ratio(of: NDArray[np.float64], to: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quotient, NaN where the divisor is zero."""
    quotient: NDArray[np.float64] = np.divide(of, to, out=np.full(to.shape, np.nan), where=to > 0)
    return quotient
