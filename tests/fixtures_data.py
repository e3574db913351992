"""Small data sets for tests: IDX folders, image folders, picture bytes."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lenscope.data.formats.idx import DTYPES

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.data.dataset import Splits

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


def encode_idx(array: np.ndarray[Any, Any]) -> bytes:
    """The bytes of an IDX file that contains an array of a type in DTYPES."""
    codes = {np.dtype(name).name: code for code, name in DTYPES.items()}
    header = struct.pack(f">HBB{array.ndim}I", 0, codes[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write an array as IDX, compressed if the path ends in `.gz`."""
    content = encode_idx(array)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def write_digits(folder: Path, splits: Splits, *, packed: bool = False) -> Path:
    """The splits of a grey data set as a folder of IDX files."""
    folder.mkdir()
    for part, data in (("train", splits.train), ("t10k", splits.test)):
        if data is not None:
            end = ".gz" if packed else ""
            write_idx(folder / f"{part}-images-idx3-ubyte{end}", data.images[:, 0])
            write_idx(folder / f"{part}-labels-idx1-ubyte{end}", data.labels)
    return folder


def write_image_folder(root: Path, *, classes: tuple[str, ...] = ("a", "b"), each: int = 2, test: bool = True) -> Path:
    """`each` grey 6×6 pictures a class."""
    for part in ("train", "test") if test else ("train",):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for index in range(each):
                (root / part / name / f"{index}.png").write_bytes(picture())
    return root


def cifar_batches(each: int) -> dict[str, bytes]:
    """CIFAR-10's six batches by name, with `each` random records."""
    records = random_images(6 * each, 1 + 3072)
    records[:, 0] %= 10
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    return {name: batch.tobytes() for name, batch in zip(names, records.reshape(6, each, -1), strict=True)}


def cifar_archive(each: int) -> bytes:
    """An archive like CIFAR-10's, with its other members, and the batches in another order."""
    others = {"batches.meta.txt": b"airplane\n", "readme.html": b"<html>"}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in {**others, **dict(reversed(cifar_batches(each).items()))}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), 1, mtime=0)
