"""Folders of pictures: read into memory or from a pack, they are the same data set."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fixtures_data import picture, random_images, write_image_folder
from lenscope.data import cache, mapped, packs
from lenscope.data.folders import folder
from lenscope.data.folders.decoding import decode
from lenscope.data.folders.folder import load_folder
from lenscope.data.folders.stack import Stack
from lenscope.errors import DataError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lenscope.config import FitName
    from lenscope.data.dataset import Splits


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are decoded in this process."""

    def decode_here(
        paths: Path, _count: int, _processes: int, shrink: Callable[[], bool], fit: FitName
    ) -> Iterator[Any]:
        lines = paths.read_text("utf-8").splitlines()
        return (decode(Path(json.loads(line)), shrink=shrink(), fit=fit) for line in lines)

    monkeypatch.setattr(folder, "decode_all", decode_here)


def same(one: Splits, other: Splits) -> bool:
    return all(
        np.array_equal(mine.images, theirs.images)
        and mine.labels.tolist() == theirs.labels.tolist()
        and mine.labels.dtype == theirs.labels.dtype
        and mine.sha256 == theirs.sha256
        and (mine.name, mine.source, mine.split) == (theirs.name, theirs.source, theirs.split)
        and mine.classes == theirs.classes
        for mine, theirs in zip((one.train, one.test), (other.train, other.test), strict=True)
        if mine is not None and theirs is not None
    ) and (one.test is None) == (other.test is None)


def fill(root: Path, kind: str = "grey") -> Path:
    """A folder of 21 training and 21 test pictures of one kind or of several."""
    write_image_folder(root, classes=("a", "b", "c"), each=7, test=kind != "without test")
    paths = sorted(root.rglob("*.png"))
    for number, path in enumerate(paths):
        path.write_bytes(picture(random_images(1, 6, 6, seed=number)[0]))
    if kind in {"colour", "both"}:
        paths[9].write_bytes(picture(random_images(1, 6, 6, 3)[0]))
    if kind == "one other size":
        paths[-1].write_bytes(picture(random_images(1, 32, 40)[0]))
        for path in paths[:-1]:
            path.write_bytes(picture(random_images(1, 32, 32)[0]))
    if kind in {"sizes", "both"}:
        paths[5].write_bytes(picture(random_images(1, 9, 40)[0]))
        paths[13].write_bytes(picture(random_images(1, 32, 32, 3)[0]))
    return root


@pytest.mark.parametrize("kind", ["without test", "colour", "sizes", "both", "one other size"])
@pytest.mark.usefixtures("here")
def test_a_folder_is_the_same_in_memory_and_from_a_pack(kind: str, tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes", kind)
    read, packed, again = load_folder(root), load_folder(root, pack=True), load_folder(root)
    assert read.pack is None
    assert packed.pack is not None
    assert again.pack == packed.pack
    assert same(read, packed)
    assert same(read, again)
    assert read.train.images.flags.writeable
    assert not again.train.images.flags.writeable
    assert sorted(path.name for path in packed.pack.iterdir()) == [cache.LOCK, "pack"]


@pytest.mark.usefixtures("here")
def test_many_files_and_large_pictures_are_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "shapes", "both")
    read = load_folder(root)
    monkeypatch.setattr(folder, "FEW_FILES", 41)
    many = load_folder(root)
    assert many.pack is not None
    shutil.rmtree(many.pack)
    monkeypatch.setattr(folder, "FEW_FILES", 42)
    assert load_folder(root).pack is None
    monkeypatch.setattr(mapped, "LARGE_BYTES", 20_000)
    large = load_folder(root)
    assert large.pack is not None
    assert same(read, many)
    assert same(read, large)
    sized = large.resized(40)
    assert (large.pack / "train-40.u8").read_bytes()[:-32] == sized.train.images.tobytes()
    assert not sized.train.images.flags.writeable


@pytest.mark.usefixtures("here")
def test_a_pack_is_replaced_when_a_file_has_changed_even_if_it_kept_size_and_mtime(tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes")
    other, first = load_folder(fill(tmp_path / "other"), pack=True), load_folder(root, pack=True)
    path = root / "train" / "a" / "0.png"
    before = path.stat()
    images = (random_images(1, 6, 6, seed=seed)[0] for seed in range(100, 999))
    changed = next(image for image in images if len(picture(image)) == before.st_size)
    path.write_bytes(picture(changed))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = load_folder(root, pack=True)
    assert np.array_equal(second.train.images[-21, 0], changed)
    assert second.pack == first.pack != other.pack
    assert len(list((tmp_path / "cache" / "packs").iterdir())) == 2
    assert first.train.images.sum() > 0  # still mapped


@pytest.mark.usefixtures("here")
def test_notes_are_of_the_folder_as_it_is_and_not_of_the_pack(tmp_path: Path) -> None:
    root = fill(tmp_path / "data")
    assert load_folder(root, pack=True).notes == ()
    (root / "unlabelled").mkdir()
    assert load_folder(root).notes == ("unlabelled has no labels; it is ignored",)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("pack", [False, True])
def test_unreadable_pictures_are_named_together_or_left_out(pack: bool, tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes")
    (root / "train" / "a" / "0.png").write_bytes(picture()[:50])
    (root / "test" / "c" / "6.png").write_text("no picture")
    for _ in range(2):  # from the files, and from the pack
        with pytest.raises(DataError, match=r"2 defects, expected .*train/a/0\.png: .*; test/c/6\.png: not a pict"):
            load_folder(root, pack=pack)
        splits = load_folder(root, pack=pack, skip_unreadable=True)
        assert (splits.pack is not None) == pack
        assert [path for path, _ in splits.skipped] == ["train/a/0.png", "test/c/6.png"]
        assert splits.test is not None
        assert (len(splits.train), len(splits.test)) == (20, 20)
        assert splits.train.labels.tolist() == [0] * 6 + [1] * 7 + [2] * 7
        assert np.array_equal(splits.train.images[0, 0], random_images(1, 6, 6, seed=22)[0])
        assert splits.resized(8).skipped == splits.skipped
    (root / "train" / "a" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"3 defects, expected .*train/a/notes\.txt: not a picture"):
        load_folder(root, pack=pack, skip_unreadable=True)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("pack", [False, True])
def test_a_test_split_may_be_unreadable_but_a_training_split_may_not(pack: bool, tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "x", classes=("a",), each=2)
    for path in (root / "test").rglob("*.png"):
        path.write_bytes(b"")
    splits = load_folder(root, pack=pack, skip_unreadable=True)
    assert splits.test is None
    assert len(splits.train) == 2
    for path in (root / "train").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"4 defects, expected .*train/a/0\.png"):
        load_folder(root, pack=pack, skip_unreadable=True)


@pytest.mark.usefixtures("here")
def test_a_folder_of_unreadable_pictures_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "x")
    (root / "train" / "a" / "0.png").write_bytes(b"")
    monkeypatch.setattr(folder, "MOST_UNREADABLE", 0)
    with pytest.raises(DataError, match="more than 0 pictures cannot be read; is it the right folder"):
        load_folder(root, pack=True, skip_unreadable=True)


@pytest.mark.usefixtures("here")
def test_more_pixels_than_such_files_have_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "x")
    monkeypatch.setattr(folder, "SMALL_BYTES", 100)
    monkeypatch.setattr(folder, "MAX_RATIO", 0)
    with pytest.raises(DataError, match="its pictures take more than 100 bytes; make them smaller"):
        load_folder(root, pack=True)


@pytest.mark.usefixtures("here")
def test_a_published_set_is_not_packed_while_another_process_packs_it_and_old_copies_go(mnist: Splits) -> None:
    pack = packs.Pack(packs.folder_of("x"), "key", "mnist", "x")
    with cache.workspace(pack.folder):
        assert packs.pack_splits(pack, mnist) is mnist
    (pack.folder / "train-40.u8").write_bytes(b"of the pack before")
    assert packs.pack_splits(pack, mnist).pack == pack.folder
    assert not (pack.folder / "train-40.u8").exists()


@pytest.mark.usefixtures("here")
def test_a_change_while_a_folder_is_packed_is_reported(tmp_path: Path) -> None:
    root = fill(tmp_path / "x")

    def change(_what: str, _done: int, _of: int) -> None:
        os.utime(root / "train" / "a" / "0.png", ns=(1, 1))

    with pytest.raises(DataError, match="files in it changed while they were packed; start again"):
        load_folder(root, pack=True, progress=change)
    assert len(load_folder(root, pack=True).train) == 21


def with_json(content: bytes, **changes: object) -> bytes:
    """A pack that says something else, with a valid SHA-256."""
    size = int.from_bytes(content[-40:-32], "little")
    text = json.dumps(json.loads(content[-40 - size : -40]) | changes).encode()
    return content[: -40 - size] + text + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "cut": lambda content: content[:-1],
    "an image": lambda content: b"\xff" + content[1:],
    "a label": lambda content: content[: 42 * 36] + b"\1" + content[42 * 36 + 1 :],
    "the JSON": lambda content: content.replace(b'"classes"', b'"clasess"'),
    "its length": lambda content: content[:-33] + b"\xff" + content[-32:],
    "its hash": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "another key": lambda content: with_json(content, key="0"),
    "other labels": lambda content: with_json(content, labels="object"),
    "another shape": lambda content: with_json(content, shape=[1, 6, 7]),
    "fewer classes": lambda content: with_json(content, classes=["a"]),
    "no training images": lambda content: with_json(content, images={"test": 42}),
    "no counts": lambda content: with_json(content, images={"train": "x"}),
}


@pytest.mark.usefixtures("here")
def test_a_pack_that_is_not_as_it_was_written_is_made_again(tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes")
    expected, first = load_folder(root), load_folder(root, pack=True)
    assert first.pack is not None
    whole = (first.pack / "pack").read_bytes()
    for damage in DAMAGES.values():
        (first.pack / "pack").write_bytes(damage(whole))
        calls: list[tuple[str, int, int]] = []
        splits = load_folder(root, pack=True, progress=lambda *call, calls=calls: calls.append(call))
        assert calls[0] == ("packing shapes", 0, 42)
        assert calls[-1] == ("packing shapes", 42, 42)
        assert same(splits, expected)
        assert (first.pack / "pack").read_bytes() == whole


@pytest.mark.usefixtures("here")
def test_a_cache_that_cannot_be_written_concerns_packs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "shapes")
    (tmp_path / "cache").write_text("in the way")
    assert len(load_folder(root).train) == 21
    with pytest.raises(StorageError, match=r"packs/.*: cannot be written: .*set LENSCOPE_CACHE to another folder"):
        load_folder(root, pack=True)
    (tmp_path / "cache").unlink()

    def full(_stack: Stack, _image: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Stack, "add", full)
    with pytest.raises(StorageError, match="cannot be written: No space left on device; free space, or set"):
        load_folder(root, pack=True)
    [left] = (tmp_path / "cache" / "packs").iterdir()
    assert [path.name for path in left.iterdir()] == [cache.LOCK]


@pytest.mark.usefixtures("here")
def test_a_pack_that_is_deleted_meanwhile_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "shapes")
    load_folder(root, pack=True)
    monkeypatch.setattr(packs, "open_pack", lambda _pack: None)
    assert load_folder(root).pack is None
    with pytest.raises(DataError, match="its pack in the cache was deleted meanwhile; start again"):
        load_folder(root, pack=True)


PACK = """
import sys
from pathlib import Path
from lenscope.data.folders.folder import load_folder
def wait(what, done, of):
    if done == 20:
        print(what, flush=True)
        sys.stdin.read()
load_folder(Path({root!r}), pack=True, progress=wait)
"""


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_second_process_waits_for_the_first_and_uses_its_pack_or_sweeps_up(is_killed: bool, tmp_path: Path) -> None:
    root, calls = fill(tmp_path / "shapes"), []
    pipe = subprocess.PIPE
    first = subprocess.Popen([sys.executable, "-c", PACK.format(root=str(root))], stdin=pipe, stdout=pipe, text=True)
    assert first.stdout
    assert first.stdin
    assert first.stdout.readline() == "packing shapes\n"
    [place] = (tmp_path / "cache" / "packs").iterdir()
    assert list(place.glob(f"{cache.UNFINISHED}*"))

    def progress(*call: Any) -> None:
        calls.append(call)
        if is_killed:
            first.send_signal(signal.SIGKILL)
        elif not first.stdin.closed:
            first.stdin.close()  # so that it continues

    splits = load_folder(root, pack=True, progress=progress)
    assert first.wait() == (-signal.SIGKILL if is_killed else 0)
    first.stdout.close()
    if is_killed:
        first.stdin.close()
    waiting = ("waiting for another process that packs the same folder", 0, 0)
    assert calls[:2] == ([waiting, ("packing shapes", 0, 42)] if is_killed else [waiting])
    assert not list(place.glob(f"{cache.UNFINISHED}*"))
    shutil.rmtree(tmp_path / "cache")
    assert same(splits, load_folder(root))


@pytest.mark.usefixtures("here")
def test_without_locks_each_process_works_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "shapes")
    monkeypatch.setattr(cache, "lock_file", lambda _descriptor, **_: None)
    with cache.workspace(packs.folder_of(str(root))) as others:
        (others / "images-0").write_bytes(b"of another process")
        splits = load_folder(root, pack=True)
        assert (others / "images-0").exists()
    shutil.rmtree(tmp_path / "cache")
    assert same(splits, load_folder(root))
