"""The reconstruction error of an autoencoder on a set, and some of its reconstructions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.errors import UsageError, needed_by

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.data.dataset import Dataset
    from lenscope.runs.run import Run

SHOWN = 10  # images of a picture


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """The reconstructions of a set by an autoencoder.

    Attributes:
        dataset: the name of the set.
        split: `training`, `validation`, `test`, or an empty string.
        errors: the mean squared error per pixel of each clean image, pixels from 0 to 1; float32, shape (N,).
        given: some of the images, of each class in turn; float32, shape (n, C, H, W), 0 to 1.
        seen: these images with the noise of training, where training adds noise to pixels.
        returned: their reconstructions, clipped to 0 to 1.
        own_errors: the mean squared error per pixel of each of these before clipping; float32, shape (n,).
        corruption: the noise in words, or `none`.
    """

    dataset: str
    split: str
    errors: NDArray[np.float32]
    given: NDArray[np.float32]
    seen: NDArray[np.float32]
    returned: NDArray[np.float32]
    own_errors: NDArray[np.float32]
    corruption: str

    @property
    def shown(self) -> str:
        """The name of the images, such as `mnist test images`."""
        return " ".join(filter(None, (self.dataset, self.split, "images")))

    @property
    def error(self) -> float:
        """The mean squared error per pixel."""
        return float(self.errors.mean(dtype=np.float64))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"data": self.dataset, "part": self.split, "images": len(self.errors), "error": self.error}


def reconstruct_run(run: Run, split: Dataset) -> Reconstructions:
    """Reconstruct images with a run's autoencoder.

    Raises:
        UsageError: the network is not an autoencoder, or the images differ in channels from its training images.
        RunError: the run has no trained weights.
    """
    if not run.config.reconstructs:
        raise UsageError(f"{run.name}: {run.config.network} is not an autoencoder; measure it with 'lenscope evaluate'")
    if split.channels != run.data.channels:
        raise UsageError(
            f"{split.name}: got {split.channels} channels, expected {run.data.channels}, as {run.name} was trained on"
        )
    with needed_by(f"the network {run.config.network}"):
        from lenscope.pytorch.reconstruction import measure_errors, reconstruct

    module, sized = run.network(), split.resized(run.architecture.image_size)
    how, chosen = run.config.autoencode, sized.take(first_of_each(sized.labels, len(sized.classes), SHOWN)[:SHOWN])
    given, seen, returned = reconstruct(module, chosen.images, how, run.config.seed, run.config.epochs)
    own = np.square(returned - given).reshape(len(given), -1).mean(1)
    noisy = seen is not given
    words = ",".join(f"{name}={value:g}" for name, value in how if noisy and name in {"masking", "gaussian"} and value)
    errors, shown = measure_errors(module, sized.images), returned.clip(0, 1)
    return Reconstructions(split.name, split.split, errors, given, seen, shown, own, words or "none")


def first_of_each(labels: NDArray[np.integer], classes: int, most: int) -> NDArray[np.int64]:
    """The indices of the first image of each class, then of the second ones, up to `most` of each; int64."""
    found = [np.flatnonzero(labels == label)[:most] for label in range(classes)]
    return np.array([own[turn] for turn in range(most) for own in found if len(own) > turn], np.int64)
