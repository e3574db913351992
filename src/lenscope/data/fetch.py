"""Finding, fetching and verifying the files of a data set; every file with a known hash is checked when opened."""

from __future__ import annotations

import hashlib
import stat
import tempfile
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from lenscope.data.cache import cache_folder
from lenscope.data.catalogue import BUNDLED, find_entry
from lenscope.data.idx import is_gzip, read_bytes, unpack
from lenscope.errors import DataError, IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import requests

    from lenscope.data.entry import DataFile, Entry

SHA256 = "sha256"
# For connecting, and between two blocks of an answer.
TIMEOUT_SECONDS = (10, 60)
# Of a download, or of a file in an archive; the largest, EMNIST's archive, has 560 MB.
MAX_BYTES = 2**30
_BLOCK_BYTES = 2**20


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

    From each mirror in turn, over https, redirects included (SVHN's site has none). A file appears in the cache whole
    and verified, or not at all.

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
            archive = _download(entry.archive, entry.mirrors, cache_folder())
            return {file.name: extract(archive, f"gzip/{file.name}", folder / file.name) for file in entry.files}
        return {file.name: _download(file, [m + file.name for m in entry.mirrors], folder) for file in entry.files}
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


def extract(archive: Path, member: str, target: Path) -> Path:
    """Take one plain file out of a zip archive, to a path that the archive has no say in.

    Args:
        archive: the zip file.
        member: the exact name inside it; it must be there once, as an ordinary file.
        target: where it goes; it appears there whole or not at all.

    Returns:
        The target.

    Raises:
        DataError: a broken archive, or a member that is missing, double, no ordinary file, encrypted or too large.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as file, file.open(_plain_member(file, member)) as source:
            content = source.read(MAX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive}: cannot be unpacked: {error}; delete it and fetch anew") from None
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        whole = Path(folder, target.name)
        whole.write_bytes(content)
        return whole.replace(target)


def _plain_member(file: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    found = [info for info in file.infolist() if info.filename == member]
    kinds = {stat.S_IFMT(info.external_attr >> 16) for info in found}
    if len(found) != 1 or not kinds <= {0, stat.S_IFREG} or found[0].file_size > MAX_BYTES:
        raise zipfile.BadZipFile(f"expected '{member}' once, as an ordinary file of at most {MAX_BYTES} bytes")
    return found[0]


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


def _download(file: DataFile, urls: Iterable[str], folder: Path) -> Path:
    """The path of a file in a folder, downloaded from the first address that gives its published bytes."""
    import pooch  # type: ignore[import-untyped]
    import requests

    pooch.get_logger().setLevel("ERROR")
    reasons = []
    for url in urls:
        try:
            return Path(pooch.retrieve(url, file.published[0], file.name, folder, downloader=download))
        except requests.RequestException as error:
            reasons.append(f"{urlsplit(url).hostname} {_reason(error)}")
        except ValueError:  # pooch's for a wrong hash
            reasons.append(f"{urlsplit(url).hostname} sent other bytes than were published")
        except DataError as error:
            reasons.append(str(error))
    raise DataError(", ".join(reasons))


def download(url: str, output: str, _pooch: object) -> None:
    """Write what an address answers to a file, at most MAX_BYTES; pooch's signature of a downloader.

    Over https alone, redirects included; of an address of the catalogue without https, that first answer alone is not.

    Raises:
        requests.RequestException: no connection, an error status, a cut answer, or a redirect to another scheme.
        DataError: more than MAX_BYTES.
    """
    import requests

    with requests.Session() as session, Path(output).open("wb") as file:
        plain = session.adapters.pop("http://")  # so that nothing carries a redirect to http
        if url.startswith("http://"):
            session.mount(url, plain)
        with session.get(url, stream=True, timeout=TIMEOUT_SECONDS, headers={"Accept-Encoding": "identity"}) as answer:
            answer.raise_for_status()
            for block in answer.iter_content(_BLOCK_BYTES):
                file.write(block)
                if file.tell() > MAX_BYTES:
                    raise DataError(f"{urlsplit(url).hostname} sent more than {MAX_BYTES} bytes")


def _reason(error: requests.RequestException) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answered {error.response.status_code}"
    reasons = {
        requests.Timeout: "did not answer in time",
        requests.exceptions.SSLError: "has a certificate that cannot be trusted",
        requests.ConnectionError: "cannot be reached",
        requests.exceptions.InvalidSchema: "redirected to an address without https",
    }
    return next((text for kind, text in reasons.items() if isinstance(error, kind)), "broke off")


def _digest(data: bytes | memoryview, like: str) -> str:
    """The hash of some bytes as `algorithm:hexadecimal`, by the algorithm of `like`."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()}"


def _short(digest: str) -> str:
    return f"{digest.partition(':')[2][:16]}…"


def _readable(digest: str) -> str:
    algorithm = {"sha256": "SHA-256", "md5": "MD5"}[digest.partition(":")[0]]
    return f"{algorithm} is {_short(digest)}"
