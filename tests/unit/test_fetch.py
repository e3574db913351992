"""Fetching without a network: what the https transport answers is made up here, everything above it is real."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
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

from fixtures_data import write_idx_folder
from lenscope.data import cache, catalogue, fetch, transfer
from lenscope.data.catalogue import BUNDLED, CATALOGUE
from lenscope.data.entry import DataFile
from lenscope.data.idx import encode_idx
from lenscope.data.idx_reader import IdxReader, Part
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
    parts = []
    for images, labels in zip(CATALOGUE["mnist"].files[::2], CATALOGUE["mnist"].files[1::2], strict=True):
        known = [
            DataFile(f.name, (f"sha256:{hashlib.sha256(contents[f.name]).hexdigest()}",)) for f in (images, labels)
        ]
        parts.append(Part(*known))
    tiny = replace(
        CATALOGUE["mnist"], name="tiny", reader=IdxReader(*parts), mirrors=(ONE, TWO), torchvision="Tiny", bundled=False
    )
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", tiny)
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(transfer, "MAX_BYTES", 2**21)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return contents


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_files_come_from_the_first_mirror_whole_and_only_once(
    web: Web, files: dict[str, bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    web.answers = {ONE + name: content for name, content in files.items()}
    paths = fetch.fetch("tiny")
    assert {name: path.read_bytes() for name, path in paths.items()} == files
    assert cached(tmp_path) == sorted(files)
    assert fetch.fetch("tiny") == paths
    assert len(web.asked) == 4
    assert capfd.readouterr() == ("", "")


def test_what_is_in_the_cache_already_is_not_fetched_again(web: Web, files: dict[str, bytes]) -> None:
    web.answers = {ONE + name: content for name, content in files.items()}
    next(iter(fetch.fetch("tiny").values())).unlink()
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
        (b"short", "one.example sent other bytes than were published"),
        (404, "one.example answered 404"),
        (requests.Timeout(), "one.example did not answer in time"),
        (requests.exceptions.SSLError(), "one.example has a certificate that cannot be trusted"),
        (requests.ConnectionError(), "one.example cannot be reached"),
        (requests.exceptions.ChunkedEncodingError(), "one.example broke off"),
        ("http://one.example/elsewhere", "one.example redirected to an address without https"),
        (bytes(2**22), "one.example sent more than 2097152 bytes"),
    ],
)
def test_a_failure_is_told_in_one_line_and_leaves_no_part_of_a_file(
    answer: bytes | int | str | Exception, reason: str, web: Web, files: dict[str, bytes], tmp_path: Path
) -> None:
    web.answers = dict.fromkeys((ONE + name for name in files), answer)
    with pytest.raises(DataError) as raised:
        fetch.fetch("tiny")
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(
        f"tiny could not be fetched: {reason}, two.example answered 404; put the files train-images"
    )
    assert message.endswith(f"in {tmp_path / 'cache' / 'tiny'} or use --data-dir")
    assert cached(tmp_path) == []
    assert not any(url.startswith("http://") for url in web.asked)


def test_a_redirect_to_https_is_followed(web: Web, files: dict[str, bytes]) -> None:
    web.answers = {ONE + name: f"https://far.example/{name}" for name in files}
    web.answers |= {f"https://far.example/{name}": content for name, content in files.items()}
    assert len(fetch.fetch("tiny")) == 4


PLAIN = "http://plain.example/"


@pytest.fixture
def without_https(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """`tiny` lies on a site that has no https, as SVHN does."""
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", replace(CATALOGUE["tiny"], mirrors=(PLAIN,)))


def test_a_site_without_https_is_asked_where_the_catalogue_says_so(
    web: Web, files: dict[str, bytes], without_https: None
) -> None:
    web.answers = {PLAIN + name: content for name, content in files.items()}
    assert {name: path.read_bytes() for name, path in fetch.fetch("tiny").items()} == files


def test_what_a_site_without_https_changes_is_caught(
    web: Web, files: dict[str, bytes], without_https: None, tmp_path: Path
) -> None:
    web.answers = {PLAIN + name: content[:-1] + b"x" for name, content in files.items()}
    with pytest.raises(DataError, match=r"plain\.example sent other bytes than were published"):
        fetch.fetch("tiny")
    assert cached(tmp_path) == []


def test_a_site_without_https_leads_to_https_alone(web: Web, files: dict[str, bytes], without_https: None) -> None:
    web.answers = {PLAIN + name: f"http://127.0.0.1/{name}" for name in files}
    with pytest.raises(DataError, match=r"plain\.example redirected to an address without https"):
        fetch.fetch("tiny")
    web.answers = {PLAIN + name: f"https://far.example/{name}" for name in files}
    web.answers |= {f"https://far.example/{name}": content for name, content in files.items()}
    assert len(fetch.fetch("tiny")) == 4
    assert not any(url.startswith("http://127.0.0.1") for url in web.asked)


def test_a_cache_that_cannot_be_written_is_told(web: Web, files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written: .*set LENSCOPE_CACHE"):
        fetch.fetch("tiny")


def test_the_users_cache_folder_is_used_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LENSCOPE_CACHE", raising=False)
    assert fetch.cache_folder().name == "lenscope"


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
    monkeypatch.setattr(transfer, "WINDOW_SECONDS", 0.05)
    monkeypatch.setattr(transfer, "TOTAL_SECONDS", total)
    monkeypatch.setattr(transfer, "MAX_BYTES", 2**30)
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
    fetch.cache_folder().rename("elsewhere")
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", replace(CATALOGUE["tiny"], mirrors=(slow + kind,)))
    with pytest.raises(DataError, match=f"127.0.0.1 {reason}"):
        fetch.fetch("tiny")


def test_a_download_that_is_interrupted_is_given_up(
    web: Web, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[transfer._Transfer] = []

    def interrupt(one: transfer._Transfer, _host: str) -> None:
        seen.append(one)
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer, "_watch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("tiny")
    assert seen[0].is_abandoned


def test_what_a_killed_process_left_is_swept_once_it_is_old_and_nobodys(web: Web, files: dict[str, bytes]) -> None:
    web.answers = {ONE + name: content for name, content in files.items()}
    folder = fetch.cache_folder() / "tiny"
    dead, young, alive = (folder / f"{cache.PART}{name}" for name in ("dead", "young", "alive"))
    for part in (dead, young, alive):
        part.mkdir(parents=True)
        (part / "tmpx").write_bytes(b"the first half")
        (part / cache.LOCK).touch()
        if part != young:
            os.utime(part, (0, 0))
    with cache.held(alive) as own:
        assert own
        fetch.fetch("tiny")
    assert (dead.exists(), young.exists(), alive.exists()) == (False, True, True)


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


def test_of_an_archive_the_wanted_files_alone_are_taken(
    web: Web, files: dict[str, bytes], archived: bytes, tmp_path: Path
) -> None:
    web.answers = {ONE + "gzip.zip": archived}
    paths = fetch.fetch("tiny")
    assert {name: path.read_bytes() for name, path in paths.items()} == files
    assert cached(tmp_path) == sorted([*files, "tiny.zip"])
    assert not (tmp_path / "outside").exists()


def test_an_archive_that_is_not_the_published_one_is_not_opened(web: Web, archived: bytes, tmp_path: Path) -> None:
    web.answers = {ONE + "gzip.zip": archived + b"x"}
    with pytest.raises(DataError, match="sent other bytes"):
        fetch.fetch("tiny")
    assert cached(tmp_path) == []


def test_a_data_dir_comes_first_in_each_layout(files: dict[str, bytes], tmp_path: Path) -> None:
    for below in ("", "Tiny/raw"):
        folder = write_idx_folder(tmp_path / f"mine{len(below)}" / below)
        found = fetch.locate("tiny", tmp_path / f"mine{len(below)}")
        assert found is not None
        assert {path.parent for path in found.values()} == {folder}


def test_torchvisions_layout_is_found_in_the_working_folder(files: dict[str, bytes]) -> None:
    assert fetch.locate("tiny") is None
    write_idx_folder(Path("Tiny/raw"))
    assert fetch.locate("tiny") == {name: Path("Tiny/raw", name) for name in CATALOGUE_NAMES}
    write_idx_folder(Path("data/Tiny/raw"))
    assert fetch.locate("tiny") == {name: Path("data/Tiny/raw", name) for name in CATALOGUE_NAMES}


CATALOGUE_NAMES = tuple(file.name for file in CATALOGUE["mnist"].files)


def test_a_folder_that_lacks_a_file_is_passed_over(files: dict[str, bytes]) -> None:
    (write_idx_folder(Path("Tiny/raw")) / CATALOGUE_NAMES[2]).unlink()
    assert fetch.locate("tiny") is None


def test_unpacked_files_and_those_with_a_dot_are_found(tmp_path: Path) -> None:
    for name in ("train-images-idx3-ubyte", "train-images.idx3-ubyte", "train-images.idx3-ubyte.gz"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(b"x")
        assert fetch.find_file(folder, "train-images-idx3-ubyte.gz") == folder / name


def test_the_bundle_is_found_wherever_one_stands(files: dict[str, bytes]) -> None:
    found = fetch.locate("MNIST")
    assert found is not None
    assert {path.parent for path in found.values()} == {BUNDLED}


def test_a_data_dir_that_is_no_folder_and_an_unknown_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: not a folder; --data-dir"):
        fetch.locate("mnist", tmp_path / "nowhere")
    with pytest.raises(UsageError, match="unknown data set"):
        fetch.locate("tinny")


def test_the_bundle_is_genuine() -> None:
    assert {check.state for check in fetch.verify("mnist")} == {"genuine"}


def test_verify_tells_wrong_missing_and_unknown_files(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [check.state for check in fetch.verify("tiny")] == ["missing"] * 4
    folder = write_idx_folder(tmp_path / "mine")
    with (folder / CATALOGUE_NAMES[1]).open("ab") as file:
        file.write(b"x")
    checks = fetch.verify("tiny", folder)
    assert [check.state for check in checks] == ["genuine", "wrong", "genuine", "genuine"]
    assert "SHA-256 is" in checks[1].detail
    unpacked = folder / CATALOGUE_NAMES[0].removesuffix(".gz")
    unpacked.write_bytes(gzip.decompress((folder / CATALOGUE_NAMES[0]).read_bytes()))
    (folder / CATALOGUE_NAMES[0]).unlink()
    assert fetch.verify("tiny", folder)[0].state == "unknown"


def test_the_message_of_a_wrong_hash(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"\x1f\x8bx")
    got = hashlib.sha256(b"\x1f\x8bx").hexdigest()[:16]
    with pytest.raises(IntegrityError) as raised:
        fetch.open_verified(path, CATALOGUE["mnist"].files[0], "mnist")
    assert str(raised.value) == (
        f"{path}: SHA-256 is {got}…, expected 440fcabf73cc546f… or 0b367032e93c5d0c…; "
        "delete the file and run 'lenscope data fetch mnist'"
    )


def test_md5_is_compared_where_nothing_else_is_known(tmp_path: Path) -> None:
    raw = gzip.compress(encode_idx(np.ones(3, np.uint8)))
    (tmp_path / "x").write_bytes(raw)
    good = DataFile("x", (f"md5:{hashlib.md5(raw, usedforsecurity=False).hexdigest()}",))
    assert len(fetch.open_verified(tmp_path / "x", good, "qmnist")) == 11
    with pytest.raises(IntegrityError, match=r"MD5 is .*, expected ed72d4157d28c017…"):
        fetch.open_verified(tmp_path / "x", CATALOGUE["qmnist"].files[0], "qmnist")


def test_a_set_that_was_packed_anew_is_known_by_its_content(tmp_path: Path) -> None:
    labels = CATALOGUE["mnist"].files[3]
    content = gzip.decompress((BUNDLED / labels.name).read_bytes())
    (tmp_path / "packed").write_bytes(gzip.compress(content, 1, mtime=5))
    (tmp_path / "plain").write_bytes(content)
    assert fetch.open_verified(tmp_path / "packed", labels, "mnist") == content
    assert fetch.open_verified(tmp_path / "plain", labels, "mnist") == content


@pytest.mark.parametrize("packed", [True, False])
def test_one_changed_label_or_pixel_is_caught(packed: bool, tmp_path: Path) -> None:
    for file in CATALOGUE["mnist"].files[2:]:
        content = bytearray(gzip.decompress((BUNDLED / file.name).read_bytes()))
        content[777] ^= 1
        (tmp_path / "x").write_bytes(gzip.compress(content) if packed else content)
        with pytest.raises(IntegrityError):
            fetch.open_verified(tmp_path / "x", file, "mnist")
