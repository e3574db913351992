from __future__ import annotations

import errno
import hashlib
import os
import sys
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fixtures_data import random_images
from lenscope.data import cache, mapped
from lenscope.data.dataset import Dataset, Kept, Splits, resize
from lenscope.data.mapped import collect, map_file, unnamed, write_whole
from lenscope.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(autouse=True)
def small_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and a memory of 99 bytes."""
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mapped, "LARGE_BYTES", 99)


def blocks(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    return (images[start : start + 3] for start in range(0, len(images), 3))


def is_mapped(array: NDArray[np.uint8]) -> bool:
    return not array.flags.writeable and isinstance(array.base, np.ndarray | memoryview)


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_small_and_large_arrays_hold_the_same(count: int) -> None:
    images = random_images(count, 1, 4, 4)
    made = collect(blocks(images), images.shape)
    assert np.array_equal(made, images)
    assert is_mapped(made) == (images.nbytes > 99)


def test_a_file_without_a_name_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    images = random_images(30, 1, 4, 4)
    made = collect(blocks(images), images.shape)
    assert list((tmp_path / "cache").iterdir()) == []
    assert np.array_equal(made, images)


def test_a_kept_array_is_made_once(tmp_path: Path) -> None:
    images, kept = random_images(30, 1, 4, 4), tmp_path / "pack" / "train-4.u8"
    first = collect(blocks(images), images.shape, kept)
    assert kept.read_bytes() == images.tobytes() + hashlib.sha256(images.tobytes()).digest()
    again = collect(iter(()), images.shape, kept)
    assert np.array_equal(first, again)
    kept.write_bytes(b"cut")
    assert np.array_equal(collect(blocks(images), images.shape, kept), images)
    assert kept.read_bytes() == images.tobytes() + hashlib.sha256(images.tobytes()).digest()
    assert sorted(path.name for path in kept.parent.iterdir()) == [cache.LOCK, kept.name]


def test_where_another_process_writes_the_same_it_is_not_waited_for(tmp_path: Path) -> None:
    images, kept = random_images(30, 1, 4, 4), tmp_path / "pack" / "train-4.u8"
    with cache.held(kept.parent) as own:
        assert own
        assert np.array_equal(collect(blocks(images), images.shape, kept), images)
    assert not kept.exists()


def test_a_full_disk_is_one_line_and_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(mapped.os, "fsync", full)
    images = random_images(30, 1, 4, 4)
    with pytest.raises(StorageError, match="No space left on device; free space, or set LENSCOPE_CACHE to another"):
        collect(blocks(images), images.shape, tmp_path / "pack" / "train-4.u8")
    assert [path.name for path in (tmp_path / "pack").iterdir()] == [cache.LOCK]


def test_no_room_for_a_file_without_a_name_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    images = random_images(30, 1, 4, 4)
    with pytest.raises(StorageError, match=r"cache: cannot be written: No space left on device"):
        collect(blocks(images), images.shape)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    images = random_images(30, 1, 4, 4)
    for kept in (None, tmp_path / "cache" / "pack" / "train-4.u8"):
        with pytest.raises(StorageError, match=r"cache: cannot be written: .*; free space, or set LENSCOPE_CACHE"):
            collect(blocks(images), images.shape, kept)
    assert np.array_equal(collect(blocks(images[:2]), (2, 1, 4, 4)), images[:2])


def test_a_part_that_cannot_be_removed_hides_no_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_whole(tmp_path / "no" / "such" / "folder", [b"x"])


def test_an_offset_is_where_the_array_begins(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(range(20)))
    assert map_file(tmp_path / "x", (2, 4), 5).tolist() == [[5, 6, 7, 8], [9, 10, 11, 12]]
    assert bytes(unnamed([b"ab", np.array([1, 2], np.uint8)])) == b"ab\x01\x02"


def test_the_lock_is_one_processs_and_does_without_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cache.held(tmp_path) as own:
        assert own
        with cache.held(tmp_path) as second:
            assert not second
    with cache.held(tmp_path, wait=True) as again:
        assert again
    (tmp_path / "file").write_text("in the way")
    with cache.held(tmp_path / "file" / "pack") as unwritable:
        assert not unwritable
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with cache.held(tmp_path) as nowhere:
        assert not nowhere


def large(count: int = 40, side: int = 6) -> Dataset:
    images = random_images(count, 1, side, side)
    return Dataset(images, (np.arange(count) % 3).astype(np.uint8), ("a", "b", "c"), "some")


def test_whatever_is_made_of_a_large_set_is_mapped_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = large()
    made = [data.resized(8), data.take(np.arange(39, -1, -1)), *parts(Splits(data).hold_out(9, 1).keep(20, 1))]
    assert all(is_mapped(one.images) for one in made)
    monkeypatch.setattr(mapped, "LARGE_BYTES", 2**28)
    data = large()
    small = [data.resized(8), data.take(np.arange(39, -1, -1)), *parts(Splits(data).hold_out(9, 1).keep(20, 1))]
    assert not any(is_mapped(one.images) for one in small)
    for one, other in zip(made, small, strict=True):
        assert np.array_equal(one.images, other.images)
        assert one.sha256 == other.sha256


def parts(splits: Splits) -> tuple[Dataset, Dataset]:
    assert splits.validation is not None
    return splits.train, splits.validation


def test_a_hash_is_of_the_very_bytes_and_a_kept_copy_that_changed_is_made_again(tmp_path: Path) -> None:
    data = large()

    def kept() -> Dataset:
        path = tmp_path / "pack" / "train"
        return Dataset(data.images, data.labels, data.classes, data.name, _kept=Kept(path, packed=True))

    assert kept().sha256 == kept().take(np.arange(40)).sha256 == data.sha256
    assert kept().resized(8).sha256 == data.resized(8).sha256
    copy, expected = tmp_path / "pack" / "train-8.u8", resize(data.images, 8)
    assert copy.read_bytes() == expected.tobytes() + hashlib.sha256(expected.tobytes()).digest()
    before = copy.stat().st_ino
    assert np.array_equal(kept().resized(8).images, expected)
    assert copy.stat().st_ino == before
    copy.write_bytes(bytes(copy.stat().st_size))
    assert np.array_equal(kept().resized(8).images, expected)
    assert copy.stat().st_ino != before


def test_what_is_measured_takes_no_more_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    splits, taken = Splits(large()), []
    take = Dataset.take
    monkeypatch.setattr(Dataset, "take", lambda data, indices: taken.append(len(indices)) or take(data, indices))
    assert len(splits.to_measure(9, 1)) == 9
    assert taken == [9]
    assert splits.to_measure(9, 1).part == "validation"
