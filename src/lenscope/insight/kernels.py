"""The convolution kernels before and after training, and what lies between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.runs.run import Run


@dataclass(frozen=True, eq=False)
class Kernels:
    """One row of kernels of a layer.

    Attributes:
        layer: such as `conv1`.
        title: what the row shows, in words.
        labels: what each tile is.
        initial: before training; float32, shape (tiles, height, width).
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
    def difference(self) -> NDArray[np.float32]:
        """Trained minus initial; the lecture draws its negative."""
        return self.trained - self.initial


def compare_kernels(run: Run, layer: str = "conv1", kernel: int = 0) -> Kernels:
    """The kernels of a layer, initial and latest.

    Args:
        run: a run with at least its first snapshot.
        layer: `conv1`: each kernel is a tile (with three input channels, those of `kernel`); `conv2`: one kernel,
            its input channels as tiles, as in the lecture.
        kernel: which kernel of the layer where one is shown, from 0.

    Raises:
        UsageError: a layer or a kernel that the network lacks.
        RunError: a film that is missing or broken.
    """
    film = run.film
    if layer not in film.kernels:
        raise unknown_name("layer", layer, film.kernels)
    frames = film.kernels[layer]  # (S, out, in, h, w)
    initial, trained = frames[0], frames[-1]
    scale = float(max(np.abs(initial).max(), np.abs(trained).max(), np.abs(trained - initial).max()))
    if not 0 <= kernel < len(initial):
        raise UsageError(f"--kernel {kernel}: {layer} has {len(initial)} kernels, 0 to {len(initial) - 1}")
    tiles: tuple[int | slice, int | slice]
    if initial.shape[1] == 1:
        tiles, labels, title = (slice(None), 0), [f"kernel {k}" for k in range(len(initial))], "each kernel"
    else:
        tiles, title = (kernel, slice(None)), f"kernel {kernel} of {len(initial)}, its input channels"
        labels = [f"channel {channel}" for channel in range(initial.shape[1])]
    return Kernels(layer, title, tuple(labels), initial[tiles], trained[tiles], scale)
