"""How well an autoencoder gives images back, and what it makes of some of them."""

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
    """What an autoencoder gives back of a set.

    Attributes:
        dataset: the name of the set.
        part: which part of it: `training`, `validation`, `test`, or an empty string.
        errors: the mean squared error of a pixel of each clean image, pixels from 0 to 1; float32, shape (N,).
        given: some of the images, of each class in turn; float32, shape (n, C, H, W), 0 to 1.
        seen: the same with the noise of training, where it has any on pixels.
        returned: what the network made of them, cut to 0 to 1.
        own_errors: of each of these, between what was given and what came back; float32, shape (n,).
        corruption: the noise in words; `none` without.
    """

    dataset: str
    part: str
    errors: NDArray[np.float32]
    given: NDArray[np.float32]
    seen: NDArray[np.float32]
    returned: NDArray[np.float32]
    own_errors: NDArray[np.float32]
    corruption: str

    @property
    def shown(self) -> str:
        """What the images are called, such as `mnist test images`."""
        return " ".join(filter(None, (self.dataset, self.part, "images")))

    @property
    def error(self) -> float:
        """The mean squared error of a pixel."""
        return float(self.errors.mean(dtype=np.float64))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"data": self.dataset, "part": self.part, "images": len(self.errors), "error": self.error}


def reconstruct_run(run: Run, part: Dataset) -> Reconstructions:
    """What a run's autoencoder gives back of images.

    Raises:
        UsageError: a run of another network, or images of other channels than those it was trained on.
        RunError: a run without trained weights.
    """
    if not run.config.reconstructs:
        raise UsageError(f"{run.name}: a {run.config.network} gives no images back; 'lenscope evaluate' measures it")
    if part.channels != run.data.channels:
        raise UsageError(f"{part.name}: got {part.channels} channels, expected the {run.data.channels} of {run.name}")
    with needed_by(f"the network {run.config.network}"):
        from lenscope.pytorch.reconstruction import measure_errors, reconstruct

    module, sized = run.network(), part.resized(run.architecture.image_size)
    how, chosen = run.config.autoencode, sized.take(_one_of_each(sized))
    given, seen, returned = reconstruct(module, chosen.images, how, run.config.seed, run.config.epochs)
    own = np.square(returned - given).reshape(len(given), -1).mean(1)
    noisy = seen is not given
    words = ",".join(f"{name}={value:g}" for name, value in how if noisy and name in {"masking", "gaussian"} and value)
    errors, shown = measure_errors(module, sized.images), returned.clip(0, 1)
    return Reconstructions(part.name, part.part, errors, given, seen, shown, own, words or "none")


def _one_of_each(part: Dataset) -> NDArray[np.int64]:
    """The first image of each of the first classes, or more of each where there are few classes."""
    found = [np.flatnonzero(part.labels == label)[:SHOWN] for label in range(len(part.classes))]
    turns = [int(own[turn]) for turn in range(SHOWN) for own in found if len(own) > turn]
    return np.array(turns[:SHOWN], np.int64)
