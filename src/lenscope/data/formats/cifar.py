"""CIFAR-10's binary version: a tar.gz of batches of records, each a label and the red, green and blue of 32×32 pixels.

The SHA-256 of the archive is compared before it is opened here, and nothing is extracted to the disk. (The site's
"Python version" is a pickle, which could carry code.)
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.formats.reader import Labelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lenscope.data.formats.reader import Opened

TRAIN, TEST = tuple(f"data_batch_{number}.bin" for number in range(1, 6)), ("test_batch.bin",)
SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32


def read_cifar(files: Iterator[Opened]) -> tuple[Labelled, Labelled]:
    """The five training batches in their order, and the test batch, from the archive."""
    import tarfile

    batches = {}
    with tarfile.open(fileobj=io.BytesIO(next(files).content), mode="r|gz") as archive:
        for member in archive:
            if file := archive.extractfile(member):
                batches[member.name.rpartition("/")[2]] = file.read()
    return _decode(batches, TRAIN), _decode(batches, TEST)


def _decode(batches: dict[str, bytes], names: tuple[str, ...]) -> Labelled:
    records = np.frombuffer(b"".join(batches[name] for name in names), np.uint8).reshape(-1, RECORD_BYTES)
    return Labelled(np.ascontiguousarray(records[:, 1:].reshape(-1, *SHAPE)), records[:, 0].copy())
