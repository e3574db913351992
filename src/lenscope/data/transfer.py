"""How a file gets into the cache: downloaded from a mirror, or taken out of an archive; whole, or not at all."""

from __future__ import annotations

import stat
import threading
import zipfile
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lenscope.data.cache import part_of
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import requests

    from lenscope.data.entry import DataFile

# Of a download, or of a file in an archive; the largest, EMNIST's archive, has 560 MB.
MAX_BYTES = 2**30
# For connecting, and between two parts of an answer, however small.
TIMEOUT_SECONDS = (10, 60)
# In each window an answer must bring as much as this rate; EMNIST's archive takes two hours at eight times of it.
WINDOW_SECONDS, LEAST_BYTES_PER_SECOND = 60.0, 10_000
TOTAL_SECONDS = 2 * 3600.0
_BLOCK_BYTES = 2**14  # a second and a half at the least rate


def download(file: DataFile, urls: Iterable[str], folder: Path) -> Path:
    """The path of a file in a folder, downloaded from the first address that gives its published bytes.

    Raises:
        DataError: no address gave them, each with its reason.
        OSError: the folder cannot be written.
    """
    import pooch  # type: ignore[import-untyped]
    import requests

    pooch.get_logger().setLevel("ERROR")
    target, reasons = folder / file.name, []
    if target.is_file() and pooch.hashes.hash_matches(target, file.published[0]):
        return target
    for url in urls:
        try:
            with part_of(folder) as part:
                found = pooch.retrieve(url, file.published[0], file.name, part, downloader=_download)
                return Path(found).replace(target)
        except requests.RequestException as error:
            reasons.append(f"{urlsplit(url).hostname} {_reason(error)}")
        except ValueError:  # pooch's for a wrong hash
            reasons.append(f"{urlsplit(url).hostname} sent other bytes than were published")
        except DataError as error:
            reasons.append(str(error))
    raise DataError(", ".join(reasons))


def _download(url: str, output: str, _pooch: object) -> None:
    """Write what an address answers to a file, within the limits above; pooch's signature of a downloader.

    Raises:
        requests.RequestException: no connection, an error status, a cut answer, or a redirect to another scheme.
        DataError: more than MAX_BYTES, or too slow.
        OSError: the file cannot be written.
    """
    transfer = _Transfer(url, Path(output))
    transfer.start()
    try:
        _watch(transfer, urlsplit(url).hostname)
    finally:
        transfer.is_abandoned = True
    if transfer.error:
        raise transfer.error


def _watch(transfer: _Transfer, host: str | None) -> None:
    """Wait for the end of a transfer; raises DataError where it is too slow."""
    deadline, before = monotonic() + TOTAL_SECONDS, 0
    while not transfer.ended.wait(max(0, min(WINDOW_SECONDS, deadline - monotonic()))):
        got = transfer.bytes - before
        if monotonic() >= deadline:
            slow = f"took more than {TOTAL_SECONDS:,.0f} s"
        elif got < LEAST_BYTES_PER_SECOND * WINDOW_SECONDS:
            slow = f"sent {got:,} bytes in {WINDOW_SECONDS:g} s, expected {LEAST_BYTES_PER_SECOND:,}/s or more"
        else:
            before = transfer.bytes
            continue
        raise DataError(f"{host} {slow}")


class _Transfer(threading.Thread):
    """What an address answers, on its way to a file.

    It is a thread of its own, since no time limit of a socket ends a connection that sends a byte now and then. One
    that is abandoned ends with its connection, or with the process.

    Attributes:
        bytes: how many have been written.
        ended: set when it has ended.
        error: why it failed.
        is_abandoned: nobody waits for it.
    """

    def __init__(self, url: str, output: Path) -> None:
        super().__init__(daemon=True)
        self._url, self._output = url, output
        self.bytes, self.ended, self.is_abandoned = 0, threading.Event(), False
        self.error: Exception | None = None

    def run(self) -> None:
        """Over https alone, redirects included; of an address without https, that first answer alone is not."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self.error = error
        finally:
            self.ended.set()

    def _run(self) -> None:
        import requests

        with requests.Session() as session, self._output.open("wb") as file:
            plain = session.adapters.pop("http://")  # so that nothing carries a redirect to http
            if self._url.startswith("http://"):
                session.mount(self._url, plain)
            identity = {"Accept-Encoding": "identity"}
            with session.get(self._url, stream=True, timeout=TIMEOUT_SECONDS, headers=identity) as answer:
                answer.raise_for_status()
                for block in answer.iter_content(_BLOCK_BYTES):
                    file.write(block)
                    self.bytes = file.tell()
                    if self.bytes > MAX_BYTES:
                        raise DataError(f"{urlsplit(self._url).hostname} sent more than {MAX_BYTES} bytes")
                    if self.is_abandoned:
                        return


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
        OSError: the target cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as file, file.open(_plain_member(file, member)) as source:
            content = source.read(MAX_BYTES + 1)
    except Exception as error:  # noqa: BLE001 - what zipfile raises on broken files is not bounded
        known = isinstance(error, zipfile.BadZipFile | NotImplementedError | RuntimeError)
        reason = error if known else "it is broken or cut"
        raise DataError(f"{archive}: cannot be unpacked: {reason}; delete it and fetch it again") from None
    with part_of(target.parent) as folder:
        whole = folder / target.name
        whole.write_bytes(content)
        return whole.replace(target)


def _plain_member(file: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    found = [info for info in file.infolist() if info.filename == member]
    kinds = {stat.S_IFMT(info.external_attr >> 16) for info in found}
    if len(found) != 1 or not kinds <= {0, stat.S_IFREG} or found[0].file_size > MAX_BYTES:
        raise zipfile.BadZipFile(f"expected '{member}' once, as an ordinary file of at most {MAX_BYTES} bytes")
    return found[0]
