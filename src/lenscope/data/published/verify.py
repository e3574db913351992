"""Comparing the files of a published data set with their published hashes."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lenscope.data.formats.idx import is_gzip, read_bytes, unpack
from lenscope.data.published.catalogue import find_entry
from lenscope.data.published.locate import locate
from lenscope.errors import DataError, IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.data.published.entry import DataFile

SHA256 = "sha256"


@dataclass(frozen=True)
class FileCheck:
    """The result of `verify` for a file.

    Attributes:
        name: the file's published name.
        path: its path, or None if it was not found.
        state: `genuine`; `wrong`: it differs from the published file; `unknown`: readable, without a known hash;
            `missing`.
        detail: what is wrong, in one line, or an empty string.
    """

    name: str
    path: Path | None
    state: Literal["genuine", "wrong", "unknown", "missing"]
    detail: str = ""


def verify(name: str, data_dir: Path | None = None) -> tuple[FileCheck, ...]:
    """Read every file of a data set and compare it with what was published; raises UsageError for an unknown name."""
    entry = find_entry(name)
    found = locate(name, data_dir) or {}
    return tuple(_check(file, found.get(file.name), entry.name) for file in entry.files)


def open_verified(path: Path, file: DataFile, name: str) -> bytes | memoryview:
    """The content of a file, uncompressed if it is gzip, checked against its known hashes.

    A file that was compressed again is accepted if the hash of its content is known and right.

    Args:
        path: of the file.
        file: what is known about it.
        name: of the data set, for an error message.

    Raises:
        IntegrityError: a hash is known and differs.
        DataError: the file cannot be read or uncompressed.
    """
    raw = read_bytes(path)
    expected = _expected(raw, file)
    if not expected or any(_digest(raw, known) == known for known in expected):
        return _unpacked(raw, path, file)
    with suppress(DataError):
        content = _unpacked(raw, path, file)
        if _digest(content, SHA256) in file.content:
            return content
    raise IntegrityError(
        f"{path}: {_readable(_digest(raw, expected[0]))}, expected {' or '.join(_short(known) for known in expected)}; "
        f"delete the file and run 'lenscope data fetch {name}'"
    )


def _unpacked(raw: bytes | memoryview, path: Path, file: DataFile) -> bytes | memoryview:
    return unpack(raw, str(path)) if file.gzipped else raw


def _check(file: DataFile, path: Path | None, name: str) -> FileCheck:
    if path is None:
        return FileCheck(file.name, None, "missing", f"not found; run 'lenscope data fetch {name}'")
    try:
        open_verified(path, file, name)
        known = _expected(read_bytes(path), file)
    except DataError as error:
        return FileCheck(file.name, path, "wrong", str(error))
    return FileCheck(file.name, path, "genuine" if known else "unknown")


def _expected(raw: bytes | memoryview, file: DataFile) -> tuple[str, ...]:
    return file.packed if file.gzipped and is_gzip(raw) else file.content


def _digest(data: bytes | memoryview, like: str) -> str:
    """The hash of some bytes as `algorithm:hexadecimal`, by the algorithm of `like`."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()}"


def _short(digest: str) -> str:
    return f"{digest.partition(':')[2][:16]}…"


def _readable(digest: str) -> str:
    algorithm = {"sha256": "SHA-256", "md5": "MD5"}[digest.partition(":")[0]]
    return f"{algorithm} is {_short(digest)}"
