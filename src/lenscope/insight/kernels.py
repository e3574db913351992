"""The convolution kernels before and after training, and what lies between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.errors import UsageError, unknown_name
from lenscope.insight.movement import choose_frames
from lenscope.insight.operators import bank, best_match
from lenscope.training.fit import steps_per_epoch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.insight.operators import Match
    from lenscope.runs.film import Film
    from lenscope.runs.run import Run


@dataclass(frozen=True, eq=False)
class Kernels:
    """One row of kernels of a layer.

    Attributes:
        layer: such as `conv1`.
        title: what the row shows, in words.
        labels: what each tile is.
        initial: before training; float32, shape (tiles, height, width), or (tiles, 3, height, width) where each tile is
            a kernel of three colours.
        trained: after it; the same shape.
        scale: the largest magnitude of a weight or a difference in the whole layer, so that all pictures of a layer
            share one zero-centred scale.
    """

    layer: str
    title: str
    labels: tuple[str, ...]
    initial: NDArray[np.float32]
    trained: NDArray[np.float32]
    scale: float

    @property
    def coloured(self) -> bool:
        """Whether each tile has a red, a green and a blue part."""
        return self.initial.ndim == 4

    @property
    def difference(self) -> NDArray[np.float32]:
        """Trained minus initial; the lecture draws its negative."""
        return self.trained - self.initial

    @property
    def match(self) -> Match:
        """What first derivative each trained tile, or part, resembles most, and how much; of shape (tiles, …)."""
        return best_match(self.trained, "first")

    @property
    def templates(self) -> NDArray[np.float32]:
        """Those derivatives with the tiles' signs, the largest weight 1, shaped as `trained`; 0 for a constant."""
        match = self.match
        found = bank(*self.trained.shape[-2:], "first").templates[match.templates]
        largest = np.abs(found).max((-2, -1), keepdims=True)
        own: NDArray[np.float32] = (found / largest * match.signs[..., None, None]).astype(np.float32)
        return own


@dataclass(frozen=True, eq=False)
class KernelFilm:
    """A row of kernels through training.

    Attributes:
        layer: such as `conv1`.
        title: what the row shows, in words.
        labels: what each tile is.
        steps: after which each frame was taken; int64, shape (S,).
        epochs: the same in epochs; float64, shape (S,).
        frames: float32, shape (S, tiles, height, width), or (S, tiles, 3, height, width) as in `Kernels`.
        scale: as in `Kernels`.
    """

    layer: str
    title: str
    labels: tuple[str, ...]
    steps: NDArray[np.int64]
    epochs: NDArray[np.float64]
    frames: NDArray[np.float32]
    scale: float


def compare_kernels(run: Run, layer: str = "conv1", kernel: int = 0) -> Kernels:
    """The kernels of a layer, initial and latest.

    Args:
        run: a run with at least its first snapshot.
        layer: `conv1`: each kernel is a tile (of colour images with a red, a green and a blue part); `conv2`: one
            kernel, its input channels as tiles, as in the lecture.
        kernel: which kernel of the layer where one is shown, from 0.

    Raises:
        UsageError: a layer or a kernel that the network lacks.
        RunError: a film that is missing or broken.
    """
    frames = _frames(run.film, layer)
    row = _row(frames, layer, kernel, coloured=is_coloured(layer, frames.shape[2]))
    return Kernels(layer, row.title, row.labels, frames[0][row.tiles], frames[-1][row.tiles], common_scale(frames))


def film_kernels(run: Run, layer: str = "conv1", kernel: int = 0, most: int = 60) -> KernelFilm:
    """The same kernels through training, in at most so many frames that show best what changed; errors as above."""
    film = run.film
    kept = choose_frames(film, most)
    frames = _frames(film, layer)
    row = _row(frames, layer, kernel, coloured=is_coloured(layer, frames.shape[2]))
    epochs = film.steps[kept] / steps_per_epoch(run.config, run.data.train_images)
    moving = frames[kept][(slice(None), *row.tiles)]
    return KernelFilm(layer, row.title, row.labels, film.steps[kept], epochs, moving, common_scale(frames))


@dataclass(frozen=True)
class _Row:
    """Which kernels of a layer (out, in, …) are shown, and what they are called."""

    title: str
    labels: tuple[str, ...]
    tiles: tuple[int | slice, int | slice]


def _frames(film: Film, layer: str) -> NDArray[np.float32]:
    if not film.kernels:
        raise UsageError(f"{layer}: this network has no convolutions, so there are no kernels to show")
    if layer not in film.kernels:
        raise unknown_name("layer", layer, film.kernels)
    return film.kernels[layer]  # (S, out, in, h, w)


def is_coloured(layer: str, inputs: int) -> bool:
    """Whether the kernels of a layer look at red, green and blue: those of the first, of three input channels."""
    return layer == "conv1" and inputs == 3


def _row(frames: NDArray[np.float32], layer: str, kernel: int, *, coloured: bool) -> _Row:
    outputs, inputs = frames.shape[1:3]
    if not 0 <= kernel < outputs:
        raise UsageError(f"--kernel {kernel}: {layer} has {outputs} kernels, 0 to {outputs - 1}")
    if inputs == 1 or coloured:
        title = "each kernel, in colour and by channel" if coloured else "each kernel"
        return _Row(title, tuple(f"kernel {k}" for k in range(outputs)), (slice(None), slice(None) if coloured else 0))
    labels = tuple(f"channel {channel}" for channel in range(inputs))
    return _Row(f"kernel {kernel} of {outputs}, its input channels", labels, (kernel, slice(None)))


def common_scale(frames: NDArray[np.float32]) -> float:
    """Of a layer's frames (S, …), the largest magnitude of a first or last weight or of their difference."""
    initial, trained = frames[0], frames[-1]
    return float(max(np.abs(initial).max(), np.abs(trained).max(), np.abs(trained - initial).max()))
