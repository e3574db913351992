"""CIFAR-10's binary version: a tar.gz of batches of records, each a label and the red, green and blue of 32×32 pixels.

The archive is read as a stream and nothing is extracted: a name inside it is compared, and never used as a path. (The
site's "Python version" is a pickle, which could carry code.)
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.checks import check_labels
from lenscope.data.entry import Labelled
from lenscope.errors import DataError

if TYPE_CHECKING:
    import tarfile

    from lenscope.data.entry import DataFile, OpenFile

FOLDER = "cifar-10-batches-bin"
TRAIN, TEST = tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"
BATCHES = frozenset({*TRAIN, TEST})
BATCH = 10_000  # records in each of these files
SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32
# Beside its batches the archive holds a list of the classes, a page and their folder.
MAX_MEMBERS, MAX_OTHER_BYTES = 20, 2**20


@dataclass(frozen=True)
class CifarReader:
    """Reads CIFAR-10's binary archive.

    Attributes:
        archive: the tar.gz as published.
    """

    archive: DataFile

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The archive alone."""
        return (self.archive,)

    def read(self, open_file: OpenFile, classes: int) -> tuple[Labelled, Labelled]:
        """The five training batches in their order, and the test batch."""
        content, source = open_file(self.archive)
        try:
            batches = _unpack(content)
        except Exception as error:  # noqa: BLE001 - what tarfile and gzip raise on broken files is not bounded
            reason = error if isinstance(error, DataError) else "it is broken or cut"
            raise DataError(f"{source}: not CIFAR-10's archive: {reason}; get the file anew") from None
        train, test = b"".join(batches.pop(name) for name in TRAIN), batches.pop(TEST)
        return _decode(train, classes, f"{source}: training part"), _decode(test, classes, f"{source}: {TEST}")


class _Bounded:
    """Gzip, unpacked as it is read; an error as soon as more comes than CIFAR-10 has."""

    def __init__(self, packed: bytes | memoryview) -> None:
        import gzip

        self._unpacked = gzip.GzipFile(fileobj=io.BytesIO(packed))
        self._left = len(BATCHES) * BATCH * RECORD_BYTES + MAX_OTHER_BYTES

    def read(self, size: int = -1, /) -> bytes:
        content = self._unpacked.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise DataError("it holds more than CIFAR-10")
        return content


def _unpack(content: bytes | memoryview) -> dict[str, bytes]:
    """The content of every batch by its name; what else the archive holds is passed over."""
    from tarfile import open as open_archive

    stream, batches = _Bounded(content), {}
    with open_archive(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]  # it needs `read` alone
        for number, member in enumerate(archive):
            if number == MAX_MEMBERS:
                raise DataError(f"it has more than {MAX_MEMBERS} members")
            folder, _, name = member.name.partition("/")
            if folder == FOLDER and name in BATCHES:
                _check_member(member, is_second=name in batches)
                batches[name] = archive.extractfile(member).read()

    stream.read()  # to the end, where gzip compares its checksum
    if missing := sorted(BATCHES - set(batches)):
        raise DataError(f"no {FOLDER}/{missing[0]} in it")
    return batches


def _check_member(member: tarfile.TarInfo, *, is_second: bool) -> None:
    from tarfile import AREGTYPE, REGTYPE

    if is_second:
        raise DataError(f"{member.name} is in it twice")
    if member.type not in {REGTYPE, AREGTYPE} or member.sparse is not None:
        raise DataError(f"{member.name} is not an ordinary file")
    if member.size != BATCH * RECORD_BYTES:
        raise DataError(f"{member.name} has {member.size} bytes, expected {BATCH * RECORD_BYTES}")


def _decode(records: bytes, classes: int, source: str) -> Labelled:
    rows = np.frombuffer(records, np.uint8).reshape(-1, RECORD_BYTES)
    labels, images = rows[:, 0].copy(), rows[:, 1:].reshape(-1, *SHAPE)
    check_labels(labels, images, classes, source)
    return Labelled(np.ascontiguousarray(images), labels)
