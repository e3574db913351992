"""Small data sets for tests: IDX folders, image folders, picture bytes."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lenscope.data import cifar
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


def cifar_batches(each: int, *, seed: int = 0) -> dict[str, bytes]:
    """CIFAR-10's six batches by their names in the archive, of so many random records."""
    records = random_images(6 * each, 1 + 3072, seed=seed)
    records[:, 0] %= 10
    names = [f"{cifar.FOLDER}/{name}" for name in (*cifar.TRAIN, cifar.TEST)]
    return {name: batch.tobytes() for name, batch in zip(names, records.reshape(6, each, 3073), strict=True)}


def tar(members: list[tuple[str | tarfile.TarInfo, bytes]], format_: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar of these members, ordinary files unless a TarInfo says otherwise; a TarInfo's size is left as it is."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format_) as archive:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            if info is not member:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def cifar_archive(each: int) -> bytes:
    """An archive like CIFAR-10's, with what else it holds."""
    folder = tarfile.TarInfo(cifar.FOLDER)
    folder.type = tarfile.DIRTYPE
    others = [(f"{cifar.FOLDER}/batches.meta.txt", b"airplane\n"), (f"{cifar.FOLDER}/readme.html", b"<html>")]
    shuffled = sorted(cifar_batches(each).items(), reverse=True)
    return gzip.compress(tar([(folder, b""), *others, *shuffled]), 1, mtime=0)
