"""Downloading a file from a mirror into the cache, verified."""

from __future__ import annotations

import threading
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lenscope.data.cache import workspace
from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import requests

    from lenscope.data.published.entry import DataFile

# The largest file, EMNIST's archive, has 560 MB.
MAX_BYTES = 2**30
# For connecting, and between two parts of a response, however small.
TIMEOUT_SECONDS = (10, 60)
# The least rate, over each window; EMNIST's archive takes two hours at eight times this rate.
WINDOW_SECONDS, LEAST_BYTES_PER_SECOND = 60.0, 10_000
TOTAL_SECONDS = 2 * 3600.0
_BLOCK_BYTES = 2**14  # 1.6 seconds at the least rate


def download(file: DataFile, urls: Iterable[str], folder: Path) -> Path:
    """The path of a file in a folder of the cache, downloaded from the first URL that sends its published bytes.

    Raises:
        DataError: no URL sent them; with the reason for each.
        OSError: the folder cannot be written.
    """
    import pooch  # type: ignore[import-untyped]
    import requests

    pooch.get_logger().setLevel("ERROR")
    target, reasons, expected = folder / file.name, [], file.published[0]
    with workspace(folder) as unfinished:
        if target.is_file() and pooch.hashes.hash_matches(target, expected):
            return target
        for url in urls:
            host = urlsplit(url).hostname
            try:
                found = pooch.retrieve(url, expected, file.name, unfinished, downloader=_download)
                return Path(found).replace(target)
            except requests.RequestException as error:
                reasons.append(f"{host} {_reason(error)}")
            except ValueError:  # pooch's for a wrong hash
                reasons.append(f"{host} sent bytes that differ from the published file")
            except DataError as error:
                reasons.append(str(error))
    raise DataError(", ".join(reasons))


def _download(url: str, output: str, _pooch: object) -> None:
    """Write the response of a URL to a file, within the limits above; the signature is that of pooch's downloaders.

    Raises:
        requests.RequestException: no connection, an error status, a cut response, or a redirect to another scheme.
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
    """A thread that writes the response of a URL to a file.

    A thread, because no timeout of a socket ends a connection that sends a byte now and then. An abandoned one ends
    with its connection, or with the process.

    Attributes:
        bytes: the number of bytes written.
        ended: set when it has ended.
        error: why it failed.
        is_abandoned: whether it should stop.
    """

    def __init__(self, url: str, output: Path) -> None:
        super().__init__(daemon=True)
        self._url, self._output = url, output
        self.bytes, self.ended, self.is_abandoned = 0, threading.Event(), False
        self.error: Exception | None = None

    def run(self) -> None:
        """Over https alone, redirects included; for a URL without https, only the first request is without it."""
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
        requests.exceptions.InvalidSchema: "redirected to a URL without https",
    }
    return next((text for kind, text in reasons.items() if isinstance(error, kind)), "broke off")
