from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fixtures_data import picture, random_images, write_image_folder
from lenscope.data import cache, folder, mapped, packing, packs
from lenscope.data.folder import load_folder
from lenscope.data.stack import Stack
from lenscope.errors import DataError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lenscope.data.dataset import Splits

Told = list[tuple[str, int, int]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and decoding in this process, but for the tests of processes."""
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures decoded in this process."""

    def decode_here(files: Iterator[tuple[str, int]], _processes: int, shrink: Any) -> Iterator[Any]:
        return (packing_decode(Path(path), shrink=shrink()) for path, _ in files)

    from lenscope.data.decoding import decode as packing_decode

    monkeypatch.setattr(packing, "decode_all", decode_here)


def same(one: Splits, other: Splits) -> bool:
    return all(
        np.array_equal(mine.images, theirs.images)
        and mine.labels.tolist() == theirs.labels.tolist()
        and mine.labels.dtype == theirs.labels.dtype
        and mine.sha256 == theirs.sha256
        and (mine.name, mine.source, mine.part) == (theirs.name, theirs.source, theirs.part)
        and mine.classes == theirs.classes
        for mine, theirs in zip((one.train, one.test), (other.train, other.test), strict=True)
        if mine is not None and theirs is not None
    ) and (one.test is None) == (other.test is None)


def fill(root: Path, kind: str) -> Path:
    """A folder of 40 pictures of one kind or of several."""
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


KINDS = ("grey", "without test", "colour", "sizes", "both", "one other size")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("here")
def test_the_same_bytes_come_in_memory_and_from_a_pack(kind: str, tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes", kind)
    read = load_folder(root)
    packed = load_folder(root, pack=True)
    again = load_folder(root)
    assert read.pack is None
    assert packed.pack is not None
    assert same(read, packed)
    assert same(read, again)
    assert again.pack == packed.pack
    assert not again.train.images.flags.writeable
    assert sorted(path.name for path in packed.pack.iterdir()) == [
        cache.LOCK, "images.u8", "labels", "pack.json", "source"
    ]  # fmt: skip


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


@pytest.mark.usefixtures("here")
def test_a_resized_copy_is_kept_in_the_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "LARGE_BYTES", 99)
    splits = load_folder(fill(tmp_path / "shapes", "grey"), pack=True)
    assert splits.pack is not None
    sized = splits.resized(8)
    assert (splits.pack / "train-8.u8").read_bytes()[:-32] == sized.train.images.tobytes()
    assert (splits.pack / "test-8.u8").stat().st_size == 21 * 64 + 32
    assert not sized.train.images.flags.writeable


@pytest.mark.usefixtures("here")
def test_a_changed_file_makes_a_new_pack_in_the_old_ones_place(tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes", "grey")
    other = load_folder(fill(tmp_path / "other", "grey"), pack=True)
    first = load_folder(root, pack=True)
    path = root / "train" / "b" / "3.png"
    path.write_bytes(picture(random_images(1, 6, 6, seed=99)[0]))
    second = load_folder(root, pack=True)
    assert first.pack is not None
    assert other.pack is not None
    assert second.pack != first.pack
    assert not first.pack.exists()
    assert other.pack.exists()
    assert np.array_equal(second.train.images[10, 0], random_images(1, 6, 6, seed=99)[0])
    assert first.train.images.sum() > 0  # who had it mapped still has it
    os.utime(path, ns=(1, 1))
    assert load_folder(root, pack=True).pack != second.pack


@pytest.mark.usefixtures("here")
def test_a_pack_that_is_written_is_not_deleted(tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes", "grey")
    first = load_folder(root, pack=True)
    assert first.pack is not None
    (root / "train" / "b" / "3.png").write_bytes(picture())
    with cache.held(first.pack):
        load_folder(root, pack=True)
    assert first.pack.exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("pack", [False, True])
def test_unreadable_pictures_are_told_together_or_left_out(pack: bool, tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes", "grey")
    (root / "train" / "a" / "0.png").write_bytes(picture()[:50])
    (root / "test" / "c" / "6.png").write_text("no picture")
    for _ in range(2):  # made, and found again
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


@pytest.mark.usefixtures("here")
def test_what_is_out_of_place_is_no_unreadable_picture(tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes", "grey")
    (root / "train" / "a" / "notes.txt").write_text("x")
    for pack in (False, True, False):
        with pytest.raises(DataError, match=r"1 defect, expected .*train/a/notes\.txt: not a picture"):
            load_folder(root, pack=pack, skip_unreadable=True)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("pack", [False, True])
def test_without_any_readable_training_picture_there_is_no_set(pack: bool, tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "x", classes=("a",), each=2)
    for path in (root / "train").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"2 defects, expected .*train/a/0\.png"):
        load_folder(root, pack=pack, skip_unreadable=True)
    for path in (root / "test").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"4 defects, expected .*train/a/0\.png"):
        load_folder(root, pack=pack, skip_unreadable=True)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("pack", [False, True])
def test_a_test_part_of_which_nothing_can_be_read_is_none(pack: bool, tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "x", classes=("a",), each=2)
    for path in (root / "test").rglob("*.png"):
        path.write_bytes(b"")
    splits = load_folder(root, pack=pack, skip_unreadable=True)
    assert splits.test is None
    assert len(splits.train) == 2


@pytest.mark.usefixtures("here")
def test_too_many_unreadable_pictures_are_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "x", "grey")
    for path in (root / "train").rglob("*.png"):
        path.write_bytes(b"")
    monkeypatch.setattr(packing, "MOST_UNREADABLE", 20)
    with pytest.raises(DataError, match="more than 20 pictures cannot be read; is it the right one"):
        load_folder(root, pack=True, skip_unreadable=True)


@pytest.mark.usefixtures("here")
def test_more_pixels_than_such_files_have_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path / "x", "grey")
    monkeypatch.setattr(packing, "SMALL_BYTES", 100)
    monkeypatch.setattr(packing, "MAX_RATIO", 0)
    with pytest.raises(DataError, match="its pictures take more than 100 bytes; make them smaller"):
        load_folder(root, pack=True)


@pytest.mark.usefixtures("here")
def test_a_folder_that_changes_while_it_is_packed_is_told(tmp_path: Path) -> None:
    root = fill(tmp_path / "x", "grey")

    def tell(_what: str, _done: int, _of: int) -> None:
        os.utime(root / "test" / "c" / "6.png", ns=(1, 1))

    with pytest.raises(DataError, match="files in it changed while they were packed; start again"):
        load_folder(root, pack=True, tell=tell)
    assert len(load_folder(root, pack=True).train) == 21


class StoppedError(Exception):
    pass


def stop_at(number: int, told: Told) -> Any:
    def tell(what: str, done: int, of: int) -> None:
        told.append((what, done, of))
        if done == number:
            raise StoppedError

    return tell


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [1, 6, 10, 14, 15, 20, 21])
def test_packing_goes_on_where_it_was(kind: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "NOTED_SECONDS", -1.0)
    root = fill(tmp_path / "shapes", kind)
    (root / "train" / "a" / "3.png").write_bytes(b"")
    expected = load_folder(root, skip_unreadable=True)
    told: Told = []
    with pytest.raises(StoppedError):
        load_folder(root, pack=True, tell=stop_at(number, told))
    [work] = (tmp_path / "cache" / "packs").glob("*/work")
    for file in work.iterdir():
        if file.name != "progress.json":  # what was not noted any more
            file.write_bytes(file.read_bytes() + b"half an image")
    told.clear()
    splits = load_folder(root, skip_unreadable=True, pack=True, tell=lambda *what: told.append(what))
    assert told[0][:2] == ("packing shapes", number)
    assert same(splits, expected)
    assert splits.skipped == expected.skipped
    assert not work.exists()


@pytest.mark.usefixtures("here")
def test_what_ends_while_a_pack_is_completed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, told = fill(tmp_path / "shapes", "grey"), []

    def stopped(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as broken:
        broken.setattr(packs, "complete", stopped)
        with pytest.raises(StoppedError):
            load_folder(root, pack=True)
    splits = load_folder(root, pack=True, tell=lambda *what: told.append(what))
    assert told == [("packing shapes", 42, 42)]
    assert same(splits, load_folder(root))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"files": 3}', b'{"files": 9, "count": 9, "shape": [1, 6, 6], "mixed": 0, "unreadable": []}',
     b'{"files": 9, "count": 2, "shape": [1, 6, 6], "mixed": 0, "unreadable": []}'],
)  # fmt: skip
def test_a_broken_note_begins_anew(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "NOTED_SECONDS", -1.0)
    root, told = fill(tmp_path / "shapes", "grey"), []
    with pytest.raises(StoppedError):
        load_folder(root, pack=True, tell=stop_at(5, []))
    [work] = (tmp_path / "cache" / "packs").glob("*/work")
    (work / "progress.json").write_bytes(content)
    splits = load_folder(root, pack=True, tell=lambda *what: told.append(what))
    assert told[0] == ("packing shapes", 0, 42)
    shutil.rmtree(tmp_path / "cache")
    assert same(splits, load_folder(root))


def damage_images(pack: Path) -> None:
    (pack / "images.u8").write_bytes((pack / "images.u8").read_bytes()[:-1])


def damage_labels(pack: Path) -> None:
    (pack / "labels").write_bytes(b"\xff" * (pack / "labels").stat().st_size)


def lose_labels(pack: Path) -> None:
    (pack / "labels").unlink()


def flip(pack: Path, place: int) -> None:
    content = bytearray((pack / "pack.json").read_bytes())
    content[place] ^= 2
    (pack / "pack.json").write_bytes(content)


@pytest.mark.usefixtures("here")
def test_a_pack_that_is_not_whole_is_made_anew(tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes", "grey")
    expected, first = load_folder(root), load_folder(root, pack=True)
    pack = first.pack
    assert pack is not None
    (pack / "train-9.u8").write_bytes(b"of the pack that is broken")
    length = (pack / "pack.json").stat().st_size
    for damage in (
        damage_images,
        damage_labels,
        lose_labels,
        *(lambda p, n=n: flip(p, n) for n in range(0, length, 40)),
    ):
        damage(pack)
        told: Told = []
        splits = load_folder(root, pack=True, tell=lambda *what, told=told: told.append(what))
        assert told[0] == ("packing shapes anew, since its pack is broken", 0, 42)
        assert same(splits, expected)
        assert not (pack / "train-9.u8").exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["images.u8", "labels"])
def test_a_pack_whose_bytes_changed_is_made_anew_and_the_hash_is_of_what_is_used(name: str, tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes", "grey")
    expected, first = load_folder(root), load_folder(root, pack=True)
    assert first.pack is not None
    path = first.pack / name
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    told: Told = []
    splits = load_folder(root, pack=True, tell=lambda *what: told.append(what))
    assert told[0] == ("packing shapes anew, since its pack is broken", 0, 42)
    assert same(splits, expected)
    assert load_folder(root, pack=True).pack == first.pack


@pytest.mark.usefixtures("here")
def test_a_picture_that_changed_and_kept_its_size_and_time_makes_another_pack(tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes", "grey")
    first = load_folder(root, pack=True)
    path = min((root / "train").rglob("*.png"))
    before, content = path.stat(), bytearray(path.read_bytes())
    other = next(picture for n in range(999) if len(picture := png(n)) == len(content) and picture != content)
    path.write_bytes(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    again = load_folder(root, pack=True)
    assert again.train.sha256 != first.train.sha256
    shutil.rmtree(tmp_path / "cache")
    assert same(again, load_folder(root))


def png(seed: int) -> bytes:
    return picture(random_images(1, 6, 6, seed=seed)[0])


def forge(pack: Path, **facts: object) -> None:
    found = json.loads((pack / "pack.json").read_bytes())["facts"] | facts
    text = json.dumps(found, sort_keys=True)
    (pack / "pack.json").write_text(json.dumps({"facts": found, "sha256": packs._digest(text)}))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "facts",
    [
        {"labels": "object"},
        {"images": {"train": "x"}},
        {"shape": [1, 6, 7]},
        {"classes": ["a"]},
        {"other": 1},
        {"images": {"train": 0}},
        {"images": {"test": 42}},
    ],
)
def test_a_forged_pack_is_made_anew(facts: dict[str, object], tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes", "grey")
    first = load_folder(root, pack=True)
    assert first.pack is not None
    forge(first.pack, **facts)
    assert same(load_folder(root, pack=True), load_folder(root))


@pytest.mark.usefixtures("here")
def test_a_cache_that_cannot_be_written_is_one_line_and_no_obstacle_for_few(tmp_path: Path) -> None:
    root = fill(tmp_path / "shapes", "grey")
    (tmp_path / "cache").write_text("in the way")
    assert len(load_folder(root).train) == 21
    with pytest.raises(StorageError, match=r"packs/.*: cannot be written: .*set LENSCOPE_CACHE to another folder"):
        load_folder(root, pack=True)


@pytest.mark.usefixtures("here")
def test_a_full_disk_is_one_line_and_packing_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, told = fill(tmp_path / "shapes", "grey"), []
    monkeypatch.setattr(packing, "NOTED_SECONDS", -1.0)
    add = Stack.add

    def full(stack: Stack, image: Any) -> None:
        if stack.count == 11:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(stack, image)

    with monkeypatch.context() as broken:
        broken.setattr(Stack, "add", full)
        with pytest.raises(StorageError, match="work: cannot be written: No space left on device; free space, or set"):
            load_folder(root, pack=True)
    splits = load_folder(root, pack=True, tell=lambda *what: told.append(what))
    assert told[0] == ("packing shapes", 11, 42)
    shutil.rmtree(tmp_path / "cache")
    assert same(splits, load_folder(root))


@pytest.mark.usefixtures("here")
def test_where_there_are_no_locks_each_process_works_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_lock", lambda _descriptor, **_: False)
    root, told = fill(tmp_path / "shapes", "grey"), []
    with pytest.raises(StoppedError):
        load_folder(root, pack=True, tell=stop_at(5, []))
    splits = load_folder(root, pack=True, tell=lambda *what: told.append(what))
    assert told[0] == ("waiting for another process that packs the same folder", 0, 0)
    assert told[1] == ("packing shapes", 0, 42)
    assert splits.pack is not None
    assert not list(splits.pack.glob("work*"))
    shutil.rmtree(tmp_path / "cache")
    assert same(splits, load_folder(root))


@pytest.mark.usefixtures("here")
def test_a_pack_that_goes_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError

    root = fill(tmp_path / "shapes", "grey")
    load_folder(root, pack=True)
    monkeypatch.setattr(packs, "map_file", gone)
    assert load_folder(root).pack is None
    monkeypatch.setattr(packs, "complete", lambda *_: None)
    with pytest.raises(DataError, match="its pack in the cache was deleted meanwhile; start again"):
        load_folder(root, pack=True)


PACK = """
import sys
from pathlib import Path
from lenscope.data import packing
from lenscope.data.folder import load_folder
packing.NOTED_SECONDS = 0.01
def tell(what, done, of):
    if done == {at}:
        print(what, flush=True)
        if {waits}:
            sys.stdin.read()
load_folder(Path({root!r}), pack=True, tell=tell)
"""


def packing_elsewhere(root: Path, at: int, *, waits: bool) -> subprocess.Popen[str]:
    program = PACK.format(at=at, waits=waits, root=str(root))
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, text=True)


def test_a_killed_process_leaves_what_another_goes_on_with(tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    write_image_folder(root, each=400, test=False)
    other = packing_elsewhere(root, 500, waits=True)
    assert other.stdout
    assert other.stdout.readline() == "packing shapes\n"
    time.sleep(0.05)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    told: Told = []
    splits = load_folder(root, pack=True, tell=lambda *what: told.append(what))
    assert 0 < told[0][1] <= 500
    shutil.rmtree(tmp_path / "cache")
    assert same(splits, load_folder(root))


def test_the_second_process_waits_for_the_first_and_finds_its_pack(tmp_path: Path) -> None:
    root, told = fill(tmp_path / "shapes", "grey"), []
    other = packing_elsewhere(root, 20, waits=True)
    assert other.stdout
    assert other.stdin
    assert other.stdout.readline() == "packing shapes\n"

    def tell(*what: Any) -> None:
        told.append(what)
        other.stdin.close()  # it may go on

    splits = load_folder(root, pack=True, tell=tell)
    assert other.wait() == 0
    other.stdout.close()
    assert told == [("waiting for another process that packs the same folder", 0, 0)]
    shutil.rmtree(tmp_path / "cache")
    assert same(splits, load_folder(root))
