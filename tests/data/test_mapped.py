from __future__ import annotations

import errno
import os
import shutil
import tempfile
from copy import copy
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fixtures_data import random_images
from lenscope.data import cache, mapped
from lenscope.data.dataset import Dataset, Splits
from lenscope.data.mapped import CachedCopy, collect, unnamed
from lenscope.data.resize import resize
from lenscope.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(autouse=True)
def small_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and more than 99 bytes are large."""
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mapped, "LARGE_BYTES", 99)


IMAGES = random_images(30, 1, 4, 4)


def blocks(images: NDArray[np.uint8] = IMAGES) -> Iterator[NDArray[np.uint8]]:
    return (images[start : start + 3] for start in range(0, len(images), 3))


def is_mapped(array: NDArray[np.uint8]) -> bool:
    return not array.flags.writeable and isinstance(array.base, np.ndarray | memoryview)


@pytest.mark.parametrize("count", [1, 6, 7, 30])
def test_small_and_large_arrays_have_the_same_content(count: int, tmp_path: Path) -> None:
    images = IMAGES[:count]
    made = collect(blocks(images), images.shape)
    assert np.array_equal(made, images)
    assert is_mapped(made) == (images.nbytes > 99)
    assert not list(tmp_path.glob("cache/*"))
    assert bytes(unnamed([b"ab", np.array([1, 2], np.uint8)])) == b"ab\x01\x02"


def test_a_cached_copy_is_made_once_and_again_where_it_or_its_source_changed(tmp_path: Path) -> None:
    cached = CachedCopy(tmp_path / "pack" / "train-4.u8", "source")
    assert np.array_equal(collect(blocks(), IMAGES.shape, cached), IMAGES)
    assert np.array_equal(collect(iter(()), IMAGES.shape, cached), IMAGES)
    whole = cached.path.read_bytes()
    for broken in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), bytes([whole[0] ^ 1]) + whole[1:]):
        cached.path.write_bytes(broken)
        assert np.array_equal(collect(blocks(), IMAGES.shape, cached), IMAGES)
        assert cached.path.read_bytes() == whole
    other = cached._replace(made_of="another source")
    assert np.array_equal(collect(blocks(IMAGES[::-1]), IMAGES.shape, other), IMAGES[::-1])
    assert sorted(path.name for path in cached.path.parent.iterdir()) == [cache.LOCK, cached.path.name]


def test_a_copy_that_another_process_is_writing_is_not_waited_for(tmp_path: Path) -> None:
    cached = CachedCopy(tmp_path / "pack" / "train-4.u8", "source")
    with cache.workspace(cached.path.parent):
        assert np.array_equal(collect(blocks(), IMAGES.shape, cached), IMAGES)
    assert not cached.path.exists()


def test_an_array_stays_the_one_that_was_written_or_checked(tmp_path: Path) -> None:
    cached = CachedCopy(tmp_path / "pack" / "train-4.u8", "source")
    written, checked = (collect(blocks(), IMAGES.shape, cached) for _ in range(2))
    collect(blocks(IMAGES[::-1]), IMAGES.shape, cached._replace(made_of="another version"))
    assert np.array_equal(written, IMAGES)
    assert np.array_equal(checked, IMAGES)


def test_a_full_disk_and_a_cache_that_cannot_be_written_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cached = CachedCopy(tmp_path / "cache" / "train-4.u8", "source")
    for module, name in ((mapped, "_write"), (tempfile, "TemporaryFile")):
        with monkeypatch.context() as broken:
            broken.setattr(module, name, full)
            with pytest.raises(StorageError, match="No space left on device; free space, or set LENSCOPE_CACHE to an"):
                collect(blocks(), IMAGES.shape, cached if module is mapped else None)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [cache.LOCK]
    (tmp_path / "cache" / cache.LOCK).unlink()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("in the way")
    for where in (None, cached):
        with pytest.raises(StorageError, match=r"cache.*: cannot be written: .*; free space, or set LENSCOPE_CACHE"):
            collect(blocks(), IMAGES.shape, where)
    assert np.array_equal(collect(blocks(IMAGES[:2]), (2, 1, 4, 4)), IMAGES[:2])


def large() -> Dataset:
    images = random_images(40, 1, 6, 6)
    return Dataset(images, (np.arange(40) % 3).astype(np.uint8), ("a", "b", "c"), "some")


def test_all_that_is_computed_from_a_large_set_is_mapped_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def derived(data: Dataset) -> list[Dataset]:
        splits = Splits(data).hold_out(9, 1).keep(20, 1)
        assert splits.validation is not None
        return [data.resized(8), data.take(np.arange(39, -1, -1)), splits.train, splits.validation]

    made = derived(large())
    assert all(is_mapped(one.images) for one in made)
    monkeypatch.setattr(mapped, "LARGE_BYTES", 2**28)
    small = derived(large())
    assert not any(is_mapped(one.images) for one in small)
    assert [one.sha256 for one in made] == [one.sha256 for one in small]


def test_a_resized_copy_belongs_to_the_images_and_not_to_its_place(tmp_path: Path) -> None:
    images, place = large().images, tmp_path / "pack" / "train"
    for source in (images, 255 - images):
        data = Dataset(source, large().labels, ("a", "b", "c"), "some", _cached_at=place)
        assert np.array_equal(data.resized(8).images, resize(source, 8))
        assert np.array_equal(data.take(np.arange(9)).resized(8).images, resize(source[:9], 8))
        assert [path.name for path in place.parent.glob("*.u8")] == ["train-8.u8"]
        assert (place.parent / "train-8.u8").read_bytes()[:-32] == resize(source, 8).tobytes()
    there = copy(data)  # as another process gets it
    assert there.sha256 == data.sha256
    shutil.rmtree(place.parent)
    assert np.array_equal(there.resized(9).images, resize(255 - images, 9))
    assert not place.parent.exists()


def test_only_the_images_that_are_measured_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    splits, taken = Splits(large()), []
    take = Dataset.take
    monkeypatch.setattr(Dataset, "take", lambda data, indices: taken.append(len(indices)) or take(data, indices))
    assert len(splits.to_measure(9, 1)) == 9
    assert taken == [9]
    assert splits.to_measure(9, 1).split == "validation"
