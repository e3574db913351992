"""The convolution kernels before, during and after training, as rows of tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.errors import UsageError, unknown_name
from lenscope.insight.drift import choose_frames
from lenscope.insight.operators import bank, best_match
from lenscope.training.fit import steps_per_epoch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.insight.operators import Match
    from lenscope.runs.files.film import Film
    from lenscope.runs.run import Run


@dataclass(frozen=True, eq=False)
class Kernels:
    """A row of kernels of a layer through training.

    Attributes:
        layer: such as `conv1`.
        title: the content of the row, in words.
        labels: the name of each tile.
        steps: number of steps before each frame; int64, shape (S,).
        epochs: number of epochs before each frame; float64, shape (S,).
        frames: float32, shape (S, tiles, height, width), or (S, tiles, 3, height, width) where each tile is a kernel of
            three colours; the first is the initial weights, the last the latest.
        scale: the largest magnitude of an initial or latest weight in the whole layer, or of their difference, so that
            all pictures of a layer share one zero-centred scale.
    """

    layer: str
    title: str
    labels: tuple[str, ...]
    steps: NDArray[np.int64]
    epochs: NDArray[np.float64]
    frames: NDArray[np.float32]
    scale: float

    @property
    def initial(self) -> NDArray[np.float32]:
        """The weights before training, shaped as a frame."""
        first: NDArray[np.float32] = self.frames[0]
        return first

    @property
    def trained(self) -> NDArray[np.float32]:
        """The latest weights, shaped as a frame."""
        last: NDArray[np.float32] = self.frames[-1]
        return last

    @property
    def coloured(self) -> bool:
        """Whether each tile has a red, a green and a blue channel."""
        return self.frames.ndim == 5

    @property
    def difference(self) -> NDArray[np.float32]:
        """Trained minus initial; the lecture draws its negative."""
        return self.trained - self.initial

    @property
    def match(self) -> Match:
        """The best match of each trained tile, or channel, among first derivatives; shape (tiles, …)."""
        return best_match(self.trained, "first")

    @property
    def templates(self) -> NDArray[np.float32]:
        """The best matches with the tiles' signs, largest weight 1, shaped as `trained`; 0 for a constant tile."""
        match = self.match
        found = bank(*self.trained.shape[-2:], "first").templates[match.templates]
        largest = np.abs(found).max((-2, -1), keepdims=True)
        own: NDArray[np.float32] = (found / largest * match.signs[..., None, None]).astype(np.float32)
        return own


def compare_kernels(run: Run, layer: str = "conv1", kernel: int = 0) -> Kernels:
    """The kernels of a layer in two frames, initial and latest; arguments and errors as for `film_kernels`."""
    return film_kernels(run, layer, kernel, 2)


def film_kernels(run: Run, layer: str = "conv1", kernel: int = 0, most: int = 60) -> Kernels:
    """The kernels of a layer through training.

    Args:
        run: a run with at least its first snapshot.
        layer: `conv1`: each kernel is a tile (for colour images with a red, a green and a blue channel); `conv2`: one
            kernel, its input channels as tiles, as in the lecture.
        kernel: the kernel that is shown where the layer has several input channels, from 0.
        most: the most frames, 2 or more; they are chosen to show the change best.

    Raises:
        UsageError: the network lacks the layer or the kernel.
        RunError: the film is missing or broken.
    """
    film = run.film
    frames = _frames(film, layer)
    title, labels, tiles = _row(frames, layer, kernel, coloured=is_coloured(layer, frames.shape[2]))
    kept = choose_frames(film, most)
    epochs = film.steps[kept] / steps_per_epoch(run.config, run.data.train_images)
    chosen = frames[kept][(slice(None), *tiles)]
    return Kernels(layer, title, labels, film.steps[kept], epochs, chosen, common_scale(frames))


def _frames(film: Film, layer: str) -> NDArray[np.float32]:
    if not film.kernels:
        raise UsageError(f"{layer}: this network has no convolutions, so there are no kernels to show")
    if layer not in film.kernels:
        raise unknown_name("layer", layer, film.kernels)
    return film.kernels[layer]  # (S, out, in, h, w)


def is_coloured(layer: str, inputs: int) -> bool:
    """Whether the kernels of a layer have red, green and blue weights: those of the first layer with three channels."""
    return layer == "conv1" and inputs == 3


def _row(
    frames: NDArray[np.float32], layer: str, kernel: int, *, coloured: bool
) -> tuple[str, tuple[str, ...], tuple[int | slice, int | slice]]:
    """The kernels of a layer (out, in, …) that are shown: their title, their labels, and an index for them."""
    outputs, inputs = frames.shape[1:3]
    if not 0 <= kernel < outputs:
        raise UsageError(f"--kernel {kernel}: {layer} has {outputs} kernels, 0 to {outputs - 1}")
    if inputs == 1 or coloured:
        title = "each kernel, in colour and by channel" if coloured else "each kernel"
        return title, tuple(f"kernel {k}" for k in range(outputs)), (slice(None), slice(None) if coloured else 0)
    labels = tuple(f"channel {channel}" for channel in range(inputs))
    return f"kernel {kernel} of {outputs}, its input channels", labels, (kernel, slice(None))


def common_scale(frames: NDArray[np.float32]) -> float:
    """The largest magnitude of a first or last weight of a layer's frames (S, …), or of their difference."""
    initial, trained = frames[0], frames[-1]
    return float(max(np.abs(initial).max(), np.abs(trained).max(), np.abs(trained - initial).max()))
