"""Fetching without a network: what the https transport answers is made up here, everything above it is real."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests

from fixtures_data import encode_idx, write_idx_folder
from lenscope.data import cache
from lenscope.data.published import catalogue, download, fetch, locate, verify
from lenscope.data.published.catalogue import BUNDLED, CATALOGUE
from lenscope.data.published.entry import DataFile
from lenscope.errors import DataError, IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE, TWO = "https://one.example/", "https://two.example/"


class Web:
    """Answers by address; counts what is asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | int | str | Exception] = {}
        self.asked: list[str] = []

    def send(self, request: requests.PreparedRequest, **_options: object) -> requests.Response:
        url = str(request.url)
        self.asked.append(url)
        answer = self.answers.get(url, 404)
        if isinstance(answer, Exception):
            raise answer
        response = requests.Response()
        response.url, response.request = url, request
        response.status_code = answer if isinstance(answer, int) else 302 if isinstance(answer, str) else 200
        if isinstance(answer, str):
            response.headers["Location"] = answer
        response.raw = io.BytesIO(answer if isinstance(answer, bytes) else b"")
        return response


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    web = Web()
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", web.send)
    return web


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A set named `tiny` in the catalogue; its files by name; an empty cache and working folder."""
    folder = write_idx_folder(tmp_path / "published")
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    known = tuple(
        DataFile(file.name, (f"sha256:{hashlib.sha256(contents[file.name]).hexdigest()}",))
        for file in CATALOGUE["mnist"].files
    )
    tiny = replace(CATALOGUE["mnist"], name="tiny", files=known, mirrors=(ONE, TWO), torchvision="Tiny", bundled=False)
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", tiny)
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "MAX_BYTES", 2**21)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return contents


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != cache.LOCK)


def test_files_come_from_the_first_mirror_once(
    web: Web, files: dict[str, bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    web.answers = {ONE + name: content for name, content in files.items()}
    paths = fetch.fetch("tiny")
    assert {name: path.read_bytes() for name, path in paths.items()} == files
    assert cached(tmp_path) == sorted(files)
    assert fetch.fetch("tiny") == paths
    assert len(web.asked) == 4
    assert capfd.readouterr() == ("", "")
    next(iter(paths.values())).unlink()
    fetch.fetch("tiny")
    assert len(web.asked) == 5


def test_the_next_mirror_is_asked_where_one_fails(web: Web, files: dict[str, bytes], tmp_path: Path) -> None:
    good = list(files.values())
    answers: list[bytes | int | Exception] = [
        good[0][:-9],  # cut
        b"<html>moved</html>",  # replaced
        503,
        requests.ConnectionError("unreachable"),
    ]
    web.answers = {ONE + name: answer for name, answer in zip(files, answers, strict=True)}
    web.answers |= {TWO + name: content for name, content in files.items()}
    fetch.fetch("tiny")
    assert len(web.asked) == 8
    assert cached(tmp_path) == sorted(files)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"short", "one.example sent bytes that differ from the published file"),
        (404, "one.example answered 404"),
        (requests.Timeout(), "one.example did not answer in time"),
        (requests.exceptions.SSLError(), "one.example has a certificate that cannot be trusted"),
        (requests.ConnectionError(), "one.example cannot be reached"),
        (requests.exceptions.ChunkedEncodingError(), "one.example broke off"),
        ("http://one.example/elsewhere", "one.example redirected to a URL without https"),
        (bytes(2**22), "one.example sent more than 2097152 bytes"),
    ],
)
def test_a_failure_is_reported_in_one_line_and_leaves_no_part_of_a_file(
    answer: bytes | int | str | Exception, reason: str, web: Web, files: dict[str, bytes], tmp_path: Path
) -> None:
    web.answers = dict.fromkeys((ONE + name for name in files), answer)
    with pytest.raises(DataError) as raised:
        fetch.fetch("tiny")
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(
        f"tiny could not be downloaded: {reason}, two.example answered 404; put the files train-images"
    )
    assert message.endswith(f"in {tmp_path / 'cache' / 'tiny'} or use --data-dir")
    assert cached(tmp_path) == []
    assert not any(url.startswith("http://") for url in web.asked)


PLAIN = "http://plain.example/"


@pytest.fixture
def without_https(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """`tiny` lies on a site that has no https, as SVHN does."""
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", replace(CATALOGUE["tiny"], mirrors=(PLAIN,)))


def test_a_site_without_https_is_used_if_the_catalogue_says_so_and_its_redirects_are_https(
    web: Web, files: dict[str, bytes], without_https: None, tmp_path: Path
) -> None:
    web.answers = {PLAIN + name: content[:-1] + b"x" for name, content in files.items()}
    with pytest.raises(DataError, match=r"plain\.example sent bytes that differ from the published file"):
        fetch.fetch("tiny")
    web.answers = {PLAIN + name: f"http://127.0.0.1/{name}" for name in files}
    with pytest.raises(DataError, match=r"plain\.example redirected to a URL without https"):
        fetch.fetch("tiny")
    assert cached(tmp_path) == []
    web.answers = dict(zip([PLAIN + name for name in files], files.values(), strict=True))
    first = PLAIN + next(iter(files))
    web.answers |= {first: "https://far.example/x", "https://far.example/x": web.answers[first]}
    assert {name: path.read_bytes() for name, path in fetch.fetch("tiny").items()} == files
    assert not any(url.startswith("http://127.0.0.1") for url in web.asked)


def test_a_cache_that_cannot_be_written_is_reported(web: Web, files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written: .*set LENSCOPE_CACHE"):
        fetch.fetch("tiny")


def test_the_users_cache_folder_is_used_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LENSCOPE_CACHE", raising=False)
    assert cache.cache_folder().name == "lenscope"


class Slow(BaseHTTPRequestHandler):
    """A mirror that sends a few bytes at a time: of the headers, or of a body that takes too long."""

    def do_GET(self) -> None:
        with suppress(OSError):  # nobody waits for it any more
            self.send_response(200)
            if self.path.startswith("/headers"):
                self.flush_headers()
            else:
                self.end_headers()
            while True:
                self.drip(bytes(2**14) if self.path.startswith("/endless") else b"x")

    def drip(self, content: bytes) -> None:
        self.wfile.write(content)
        self.wfile.flush()
        sleep(0.01)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads, server.block_on_close = True, False
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.mark.parametrize(
    ("kind", "total", "reason"),
    [
        ("headers", 9.0, "sent 0 bytes in 0.05 s, expected 10,000/s or more"),
        ("drips", 9.0, "sent 0 bytes in 0.05 s, expected 10,000/s or more"),
        ("endless", 0.2, "took more than 0 s"),
    ],
)
def test_a_mirror_that_is_too_slow_gives_way_to_the_next(
    kind: str, total: float, reason: str, slow: str, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "WINDOW_SECONDS", 0.05)
    monkeypatch.setattr(download, "TOTAL_SECONDS", total)
    monkeypatch.setattr(download, "MAX_BYTES", 2**30)
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", replace(CATALOGUE["tiny"], mirrors=(slow + kind, PLAIN)))
    send = requests.adapters.HTTPAdapter.send

    def answer(adapter: Any, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        if str(request.url).startswith(slow):
            return send(adapter, request, **options)
        web = Web()
        web.answers = {PLAIN + name: content for name, content in files.items()}
        return web.send(request)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", answer)
    assert {name: path.read_bytes() for name, path in fetch.fetch("tiny").items()} == files
    cache.cache_folder().rename("elsewhere")
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", replace(CATALOGUE["tiny"], mirrors=(slow + kind,)))
    with pytest.raises(DataError, match=f"127.0.0.1 {reason}"):
        fetch.fetch("tiny")


def test_a_download_that_is_interrupted_is_given_up(
    web: Web, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[download._Transfer] = []

    def interrupt(one: download._Transfer, _host: str) -> None:
        seen.append(one)
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_watch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("tiny")
    assert seen[0].is_abandoned


def test_what_a_killed_process_left_behind_is_swept(web: Web, files: dict[str, bytes]) -> None:
    web.answers = {ONE + name: content for name, content in files.items()}
    left = cache.cache_folder() / "tiny" / f"{cache.UNFINISHED}x" / "tmpx"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"the first half")
    fetch.fetch("tiny")
    assert not left.parent.exists()


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def archived(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """`tiny` comes in an archive, as EMNIST does."""
    content = zipped({f"gzip/{name}": data for name, data in files.items()} | {"../outside": b"x", "gzip/other": b"y"})
    known = DataFile("tiny.zip", (f"sha256:{hashlib.sha256(content).hexdigest()}",))
    entry = replace(CATALOGUE["tiny"], archive=known, mirrors=(ONE + "gzip.zip",))
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", entry)
    return content


def test_the_wanted_files_of_a_verified_archive_are_extracted(
    web: Web, files: dict[str, bytes], archived: bytes, tmp_path: Path
) -> None:
    web.answers = {ONE + "gzip.zip": archived + b"x"}
    with pytest.raises(DataError, match="sent bytes that differ"):
        fetch.fetch("tiny")
    assert cached(tmp_path) == []
    web.answers = {ONE + "gzip.zip": archived}
    paths = fetch.fetch("tiny")
    assert {name: path.read_bytes() for name, path in paths.items()} == files
    assert cached(tmp_path) == sorted([*files, "tiny.zip"])
    assert not (tmp_path / "outside").exists()


def test_a_data_dir_comes_first_in_each_layout(files: dict[str, bytes], tmp_path: Path) -> None:
    for below in ("", "Tiny/raw"):
        folder = write_idx_folder(tmp_path / f"mine{len(below)}" / below)
        found = locate.locate("tiny", tmp_path / f"mine{len(below)}")
        assert found is not None
        assert {path.parent for path in found.values()} == {folder}


def test_torchvisions_layout_is_found_in_the_working_folder_if_it_is_complete(files: dict[str, bytes]) -> None:
    assert locate.locate("tiny") is None
    for base in ("", "data"):
        write_idx_folder(Path(base, "Tiny/raw"))
        assert locate.locate("tiny") == {name: Path(base, "Tiny/raw", name) for name in CATALOGUE_NAMES}
    for base in ("", "data"):
        Path(base, "Tiny/raw", CATALOGUE_NAMES[2]).unlink()
    assert locate.locate("tiny") is None


CATALOGUE_NAMES = tuple(file.name for file in CATALOGUE["mnist"].files)


def test_unpacked_files_and_those_with_a_dot_are_found(tmp_path: Path) -> None:
    for name in ("train-images-idx3-ubyte", "train-images.idx3-ubyte", "train-images.idx3-ubyte.gz"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(b"x")
        assert locate.find_file(folder, "train-images-idx3-ubyte.gz") == folder / name


def test_the_bundle_is_found_in_any_working_folder_and_genuine(files: dict[str, bytes]) -> None:
    found = locate.locate("MNIST")
    assert found is not None
    assert {path.parent for path in found.values()} == {BUNDLED}
    assert {check.state for check in verify.verify("mnist")} == {"genuine"}


def test_a_data_dir_that_is_not_a_folder_and_an_unknown_name_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: not a folder; --data-dir"):
        locate.locate("mnist", tmp_path / "nowhere")
    with pytest.raises(UsageError, match="unknown data set"):
        locate.locate("tinny")


def test_verify_tells_wrong_missing_and_unknown_files(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [check.state for check in verify.verify("tiny")] == ["missing"] * 4
    folder = write_idx_folder(tmp_path / "mine")
    with (folder / CATALOGUE_NAMES[1]).open("ab") as file:
        file.write(b"x")
    checks = verify.verify("tiny", folder)
    assert [check.state for check in checks] == ["genuine", "wrong", "genuine", "genuine"]
    assert "SHA-256 is" in checks[1].detail
    unpacked = folder / CATALOGUE_NAMES[0].removesuffix(".gz")
    unpacked.write_bytes(gzip.decompress((folder / CATALOGUE_NAMES[0]).read_bytes()))
    (folder / CATALOGUE_NAMES[0]).unlink()
    assert verify.verify("tiny", folder)[0].state == "unknown"


def test_the_message_of_a_wrong_hash(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"\x1f\x8bx")
    got = hashlib.sha256(b"\x1f\x8bx").hexdigest()[:16]
    with pytest.raises(IntegrityError) as raised:
        verify.open_verified(path, CATALOGUE["mnist"].files[0], "mnist")
    assert str(raised.value) == (
        f"{path}: SHA-256 is {got}…, expected 440fcabf73cc546f… or 0b367032e93c5d0c…; "
        "delete the file and run 'lenscope data fetch mnist'"
    )


def test_md5_is_compared_where_nothing_else_is_known(tmp_path: Path) -> None:
    raw = gzip.compress(encode_idx(np.ones(3, np.uint8)))
    (tmp_path / "x").write_bytes(raw)
    good = DataFile("x", (f"md5:{hashlib.md5(raw, usedforsecurity=False).hexdigest()}",))
    assert len(verify.open_verified(tmp_path / "x", good, "qmnist")) == 11
    with pytest.raises(IntegrityError, match=r"MD5 is .*, expected ed72d4157d28c017…"):
        verify.open_verified(tmp_path / "x", CATALOGUE["qmnist"].files[0], "qmnist")


def test_a_set_that_was_compressed_again_is_known_by_its_content(tmp_path: Path) -> None:
    labels = CATALOGUE["mnist"].files[3]
    content = gzip.decompress((BUNDLED / labels.name).read_bytes())
    (tmp_path / "packed").write_bytes(gzip.compress(content, 1, mtime=5))
    (tmp_path / "plain").write_bytes(content)
    assert verify.open_verified(tmp_path / "packed", labels, "mnist") == content
    assert verify.open_verified(tmp_path / "plain", labels, "mnist") == content


@pytest.mark.parametrize("packed", [True, False])
def test_one_changed_label_or_pixel_is_caught(packed: bool, tmp_path: Path) -> None:
    for file in CATALOGUE["mnist"].files[2:]:
        content = bytearray(gzip.decompress((BUNDLED / file.name).read_bytes()))
        content[777] ^= 1
        (tmp_path / "x").write_bytes(gzip.compress(content, 1) if packed else content)
        with pytest.raises(IntegrityError):
            verify.open_verified(tmp_path / "x", file, "mnist")
