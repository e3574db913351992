"""Small data sets for tests: IDX folders, image folders, picture bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lenscope.data.idx import write_idx

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "t10k": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


def random_images(count: int, *shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_idx_folder(folder: Path, *, train: int = 6, test: int = 4) -> Path:
    """An MNIST look-alike of 5×7 images in 3 classes."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("t10k", test)):
        images, labels = NAMES[part]
        write_idx(folder / images, random_images(count, 5, 7))
        write_idx(folder / labels, (np.arange(count) % 3).astype(np.uint8))
    return folder


def picture(array: np.ndarray[Any, Any] | None = None, format_: str = "PNG", **options: Any) -> bytes:
    """A picture file's bytes; a grey 6×6 one by default."""
    stream = io.BytesIO()
    Image.fromarray(random_images(1, 6, 6)[0] if array is None else array).save(stream, format_, **options)
    return stream.getvalue()


def write_image_folder(root: Path, *, classes: tuple[str, ...] = ("a", "b"), each: int = 2, test: bool = True) -> Path:
    """`each` grey 6×6 pictures a class."""
    for part in ("train", "test") if test else ("train",):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for index in range(each):
                (root / part / name / f"{index}.png").write_bytes(picture())
    return root
