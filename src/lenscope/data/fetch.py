"""Finding, fetching and verifying the files of a data set; every file with a known hash is checked when opened."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lenscope.data.cache import cache_folder
from lenscope.data.catalogue import BUNDLED, find_entry
from lenscope.data.idx import is_gzip, read_bytes, unpack
from lenscope.data.transfer import download, extract
from lenscope.errors import DataError, IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lenscope.data.entry import DataFile, Entry

SHA256 = "sha256"


@dataclass(frozen=True)
class FileCheck:
    """What `verify` says of a file.

    Attributes:
        name: the file's published name.
        path: where it lies, or None if it was not found.
        state: `genuine`; `wrong`: other bytes than published; `unknown`: whole, but no hash of it is known; `missing`.
        detail: what is wrong, in one line, or an empty string.
    """

    name: str
    path: Path | None
    state: Literal["genuine", "wrong", "unknown", "missing"]
    detail: str = ""


def locate(name: str, data_dir: Path | None = None) -> dict[str, Path] | None:
    """The files of a data set that are on this computer already.

    Looked for, packed or not, in `data_dir` (and below it as torchvision lays files out), the package (MNIST), the
    cache, torchvision's layout in `./data` and `.`, and where Debian's packages put them; all in one folder.

    Returns:
        The path of each file by its published name, or None if no folder holds all of them.

    Raises:
        UsageError: an unknown name, or a `data_dir` that is not a folder.
    """
    entry = find_entry(name)
    if data_dir is not None and not data_dir.is_dir():
        raise UsageError(f"{data_dir}: not a folder; --data-dir is the folder that holds the files of {entry.name}")
    for folder in _folders(entry, data_dir):
        found = {file.name: _find(folder, file) for file in entry.files}
        if all(found.values()):
            return {file: path for file, path in found.items() if path}
    return None


def find_file(folder: Path, name: str) -> Path | None:
    """A file under one of the names that are in use: packed or not, `-idx3-ubyte` or `.idx3-ubyte`; None if absent."""
    dotted = name.replace("-idx", ".idx")
    names = (name, dotted, name.removesuffix(".gz"), dotted.removesuffix(".gz"))
    return next((folder / each for each in names if (folder / each).is_file()), None)


def _find(folder: Path, file: DataFile) -> Path | None:
    if file.gzipped:
        return find_file(folder, file.name)
    return folder / file.name if (folder / file.name).is_file() else None


def fetch(name: str, data_dir: Path | None = None) -> dict[str, Path]:
    """The files of a data set; those that are not on this computer are downloaded into the cache.

    From each mirror in turn, over https, redirects included (SVHN's site has none), where one fails or is too slow. A
    file appears in the cache whole and verified, or not at all.

    Args:
        name: a name of the catalogue.
        data_dir: where to look first.

    Returns:
        The path of each file by its published name.

    Raises:
        UsageError: an unknown name, or a `data_dir` that is not a folder.
        DataError: no mirror gave the published bytes, or the cache cannot be written.
    """
    found = locate(name, data_dir)
    if found:
        return found
    entry = find_entry(name)
    folder = cache_folder() / entry.name
    try:
        if entry.archive:
            archive = download(entry.archive, entry.mirrors, cache_folder())
            return {file.name: extract(archive, f"gzip/{file.name}", folder / file.name) for file in entry.files}
        return {file.name: download(file, [m + file.name for m in entry.mirrors], folder) for file in entry.files}
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written: {error.strerror}; set LENSCOPE_CACHE to another folder"
        ) from None
    except DataError as error:
        names = ", ".join(file.name for file in entry.files)
        raise DataError(
            f"{entry.name} could not be fetched: {error}; put the files {names} in {folder} or use --data-dir"
        ) from None


def verify(name: str, data_dir: Path | None = None) -> tuple[FileCheck, ...]:
    """Read every file of a data set and compare it with what was published; raises UsageError for an unknown name."""
    entry = find_entry(name)
    found = locate(name, data_dir) or {}
    return tuple(_check(file, found.get(file.name), entry.name) for file in entry.files)


def open_verified(path: Path, file: DataFile, name: str) -> bytes | memoryview:
    """The content of a file, unpacked where it is gzip, checked against the hashes that are known of it.

    A packing that nobody knows is welcome if the content's hash is known and right.

    Args:
        path: where it lies.
        file: what is known of it.
        name: the data set, for the advice in an error.

    Raises:
        IntegrityError: a hash is known and differs.
        DataError: the file cannot be read or unpacked.
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


def _folders(entry: Entry, data_dir: Path | None) -> Iterator[Path]:
    layouts = [Path(entry.torchvision, "raw")] if entry.torchvision else []
    if data_dir is not None:
        yield from (data_dir, *(data_dir / layout for layout in layouts))
    if entry.bundled:
        yield BUNDLED
    yield cache_folder() / entry.name
    yield from (Path(base, layout) for base in ("data", "") for layout in layouts)
    yield from entry.system_folders


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
