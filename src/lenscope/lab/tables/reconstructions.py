"""A few test images and their reconstructions by autoencoders, as rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lenscope.config import Autoencoding
from lenscope.insight.section import Pictures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from lenscope.data.dataset import Dataset, Splits
    from lenscope.lab.execution.trials import Trial
    from lenscope.lab.tables.rows import Rows
    from lenscope.runs.run import Run

ORIGINAL = "the images"


def reconstruction_rows(runs: Sequence[tuple[Trial, Run]], splits: Splits, count: int) -> Iterator[dict[str, object]]:
    """A row for each of the first test images, and for its reconstruction by each run; pixels in hexadecimal."""
    if not runs or splits.test is None:
        return
    images = splits.test.take(np.arange(min(count, len(splits.test)))).resized(runs[0][1].architecture.image_size)
    yield from _rows(ORIGINAL, images.images)
    for trial, run in runs:
        yield from _rows(str(trial.tags["start"]), reconstruct(run, images))


def reconstruct(run: Run, images: Dataset) -> NDArray[np.uint8]:
    """An autoencoder's reconstructions of images without noise; uint8, shape (N, C, H, W)."""
    from lenscope.pytorch import reconstruction

    *_, back = reconstruction.reconstruct(run.network(), images.images, Autoencoding(), 0, 1)
    return (back.clip(0, 1) * 255).round().astype(np.uint8)


def pictures_of(rows: Rows) -> tuple[Pictures, ...]:
    """The images in a table written by `reconstruction_rows`."""
    return tuple(Pictures(name, _decoded(rows.where(name=name))) for name in rows.names("name"))


def _rows(name: str, images: NDArray[np.uint8]) -> Iterator[dict[str, object]]:
    channels, height, width = images.shape[1:]
    for place, image in enumerate(images):
        shape = {"channels": channels, "height": height, "width": width}
        yield {"name": name, "image": place, **shape, "pixels": image.tobytes().hex()}


def _decoded(rows: Rows) -> NDArray[np.uint8]:
    shape = [int(rows.numbers(side)[0]) for side in ("channels", "height", "width")]
    pixels = b"".join(bytes.fromhex(row["pixels"]) for row in rows.cells)
    return np.frombuffer(pixels, np.uint8).reshape(-1, *shape)
