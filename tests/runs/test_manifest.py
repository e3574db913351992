from __future__ import annotations

import os
from pathlib import Path

import pytest

from lenscope.errors import RunError
from lenscope.runs.files.manifest import (
    LIMIT,
    TEXT_LIMIT,
    Fingerprint,
    Manifest,
    fingerprint,
    read_appended,
    read_bytes,
    read_static,
)

STATIC = Manifest(static={"a.json": fingerprint(b"hello")})
APPENDED = Manifest(appended={"a.csv": fingerprint(b"hello")})


def test_a_manifest_reads_back_whatever_the_order_of_its_files() -> None:
    manifest = Manifest({"b": fingerprint(b"1"), "a/c": fingerprint(b"")}, {"e": fingerprint(b"2")})
    text = manifest.to_json()
    assert Manifest.from_json(text, "m") == manifest
    assert text == Manifest(dict(reversed(manifest.static.items())), manifest.appended).to_json()


@pytest.mark.parametrize("got", ["2", "null", '"two\\nlines"', '"' + "x" * 1000 + '"'])
def test_a_manifest_of_another_format_is_refused(got: str) -> None:
    with pytest.raises(RunError, match=r"^m: format .*, expected 1; use a newer Lenscope$") as caught:
        Manifest.from_json(f'{{"format": {got}, "static": {{}}, "appended": {{}}}}'.encode(), "m")
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"format": 1}',
        b'{"format":' + b"[" * 100_000,
        b'{"format": 1, "static": {}, "appended": {"a": 3}}',
        b'{"format": 1, "static": {"a": {"sha256": "", "size": -1}}, "appended": {}}',
        b'{"format": 1, "static": {"a": {"sha256": "", "size": 1e999}}, "appended": {}}',
    ],
    ids=range(7),
)
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(RunError, match=r"^m: not a manifest; the run is broken$"):
        Manifest.from_json(text, "m")


def test_a_name_that_comes_twice_is_no_manifest() -> None:
    text = Manifest({"a4": fingerprint(b"1"), "a6": fingerprint(b"2")}).to_json().replace(b"a4", b"a6")
    with pytest.raises(RunError, match=r"^m: not a manifest; the run is broken$"):
        Manifest.from_json(text, "m")


@pytest.mark.parametrize("content", [b"hello", b"hell", b"hello!", b"jello", b""])
def test_a_static_file_counts_if_it_is_exactly_the_one_in_the_manifest(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    if content == b"hello":
        assert read_static(tmp_path, "a.json", STATIC) == b"hello"
        return
    with pytest.raises(RunError, match=r"a\.json: differs from the manifest"):
        read_static(tmp_path, "a.json", STATIC)


@pytest.mark.parametrize(("name", "limit"), [("a.json", TEXT_LIMIT), ("a.toml", TEXT_LIMIT), ("a.safetensors", LIMIT)])
def test_a_static_file_too_large_for_any_run_is_not_read(tmp_path: Path, name: str, limit: int) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(limit + 1)
    manifest = Manifest(static={name: Fingerprint(limit + 1, "")})
    with pytest.raises(RunError, match=rf"{name}: {limit + 1:,} bytes, expected at most {limit:,}"):
        read_static(tmp_path, name, manifest)


@pytest.mark.parametrize("content", [b"hello", b"hell", b"hello!", b"jello", b""])
def test_an_appended_file_counts_up_to_its_committed_length(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    if content.startswith(b"hello"):
        assert read_appended(tmp_path, "a.csv", APPENDED) == b"hello"
        return
    with pytest.raises(RunError, match=r"a\.csv: differs from the manifest"):
        read_appended(tmp_path, "a.csv", APPENDED)


def test_a_file_that_the_manifest_does_not_name_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    with pytest.raises(RunError, match="lacks a; the run did not get so far"):
        read_static(tmp_path, "a", Manifest())
    assert read_appended(tmp_path, "a", Manifest()) == b""
    assert read_appended(tmp_path, "not there", Manifest()) == b""


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"lacks a\.json"):
        read_static(tmp_path, "a.json", STATIC)
    with pytest.raises(RunError, match=r"lacks a\.csv; the file was deleted"):
        read_appended(tmp_path, "a.csv", APPENDED)


@pytest.mark.parametrize("size", [2**30, 2**40, 2**62, 10**30])
def test_memory_is_taken_for_what_is_there_and_not_for_what_is_claimed(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    claim = {"a": Fingerprint(size, fingerprint(b"hello").sha256)}
    with pytest.raises(RunError, match=r"a: (differs from the manifest|.* bytes, expected at most)"):
        read_static(tmp_path, "a", Manifest(static=claim))
    with pytest.raises(RunError, match="a: differs from the manifest"):
        read_appended(tmp_path, "a", Manifest(appended=claim))


def test_what_is_no_plain_file_is_not_read_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)  # so that to read it by mistake fails here and does not hang
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    assert [read_bytes(tmp_path / name, 10) for name in ("pipe", "endless", "loop", ".", "gone")] == [None] * 5
    os.close(writer)


def test_a_file_that_cannot_be_opened_is_as_if_it_were_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError("no")))
    assert read_bytes(tmp_path / "a", 5) is None


def test_while_a_file_is_replaced_old_and_new_content_are_valid(tmp_path: Path) -> None:
    replacing = Manifest({"a": fingerprint(b"old")}, {}, {"a": fingerprint(b"newer")})
    replacing = Manifest.from_json(replacing.to_json(), "here")
    for content in (b"old", b"newer"):
        (tmp_path / "a").write_bytes(content)
        assert read_static(tmp_path, "a", replacing) == content
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(RunError, match="differs from the manifest"):
        read_static(tmp_path, "a", replacing)
