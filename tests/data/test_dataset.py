from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fixtures_data import random_images
from lenscope.data.dataset import Dataset, Splits
from lenscope.data.formats.idx import read_idx
from lenscope.data.published.catalogue import BUNDLED
from lenscope.data.resize import resize
from lenscope.errors import ConfigError, DataError

Array = np.ndarray[Any, Any]


def dataset(count: int = 10, channels: int = 1, side: int = 6) -> Dataset:
    images = random_images(count, channels, side, side)
    return Dataset(images, (np.arange(count) % 3).astype(np.uint8), ("a", "b", "c"), "some")


def by_pillow(images: Array, size: int) -> Array:
    return np.array([[resized_plane(Image.fromarray(plane), size) for plane in image] for image in images])


def resized_plane(plane: Image.Image, size: int) -> Array:
    """In one call; Pillow 13 takes the columns of tall images first, so for those the rows in a call of their own."""
    rows_first = plane.resize((size, plane.height), Image.Resampling.BILINEAR) if plane.height > plane.width else plane
    return np.asarray(rows_first.resize((size, size), Image.Resampling.BILINEAR))


def test_resizing_mnist_is_pillows_bilinear_bit_for_bit() -> None:
    images = read_idx(BUNDLED / "t10k-images-idx3-ubyte.gz")[:2000, None]
    assert np.array_equal(resize(images, 32), by_pillow(images, 32))


@pytest.mark.parametrize(
    ("channels", "shape", "size"),
    [(3, (28, 28), 32), (1, (7, 50), 20), (1, (64, 33), 32), (3, (1, 1), 75), (1, (200, 100), 1), (1, (100, 200), 75),
     (1, (300, 300), 32)],
)  # fmt: skip
def test_resizing_is_pillows_bilinear_for_any_shape(channels: int, shape: tuple[int, int], size: int) -> None:
    images = random_images(3, channels, *shape)
    assert np.array_equal(resize(images, size), by_pillow(images, size))


def test_colour_images_are_resized_as_pillow_resizes_colour() -> None:
    image = random_images(1, 19, 23, 3)[0]
    pillow = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(resize(image.transpose(2, 0, 1)[None], 32)[0].transpose(1, 2, 0), pillow)


def test_images_beyond_the_first_block_are_resized_too() -> None:
    images = random_images(10_003, 1, 3, 3)
    assert np.array_equal(resize(images, 4)[-5:], resize(images[-5:], 4))


def test_a_resized_set_is_kept_and_the_same_size_is_the_set_itself() -> None:
    data = dataset()
    assert data.resized(6) is data
    assert data.resized(9) is data.resized(9)
    assert data.resized(9).images.shape == (10, 1, 9, 9)
    assert data.take(np.array([1])).resized(9).images.shape == (1, 1, 9, 9)


def test_take_keeps_the_order_of_the_indices() -> None:
    data = dataset()
    taken = data.take(np.array([4, 0, 4]))
    assert np.array_equal(taken.images, data.images[[4, 0, 4]])
    assert taken.labels.tolist() == [1, 0, 1]
    assert (taken.name, taken.classes) == (data.name, data.classes)


def test_the_hash_depends_on_pixels_labels_and_shape_and_on_nothing_else() -> None:
    data = dataset()
    images, labels = data.images.copy(), data.labels.copy()
    same = Dataset(images[:, :, ::-1].copy()[:, :, ::-1], labels.astype(np.int64), ("x", "y", "z"), "other")
    assert same.sha256 == data.sha256
    images[3, 0, 2, 2] ^= 1
    assert Dataset(images, labels, data.classes, data.name).sha256 != data.sha256
    labels[0] += 1
    assert Dataset(data.images, labels, data.classes, data.name).sha256 != data.sha256
    assert Dataset(data.images.reshape(10, 1, 4, 9), data.labels, data.classes, "").sha256 != data.sha256


@pytest.mark.parametrize(("validation", "held_out"), [(3, 3), (0.25, 5), (1, 1), (19, 19), (0.51, 10)])
def test_hold_out_moves_that_many_images_and_loses_none(validation: float, held_out: int) -> None:
    splits = Splits(dataset(20), test=dataset(5)).hold_out(validation, seed=1)
    assert splits.validation is not None
    assert (len(splits.validation), len(splits.train)) == (held_out, 20 - held_out)
    both = np.concatenate([splits.train.images, splits.validation.images])
    assert sorted(map(bytes, both)) == sorted(map(bytes, dataset(20).images))
    assert splits.test is not None


def test_hold_out_depends_on_the_seed_alone() -> None:
    splits = Splits(dataset(20))
    assert splits.hold_out(0, 1) is splits
    first, again, other = (splits.hold_out(6, seed).validation for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)


@pytest.mark.parametrize("validation", [10, 11, 0.99, 0.01, -1])
def test_hold_out_leaves_something_on_either_side(validation: float) -> None:
    with pytest.raises(ConfigError, match="of 10 images, expected at least 1 on either side"):
        Splits(dataset(10)).hold_out(validation, 1)


def test_other_images_in_a_copy_are_not_resized_from_the_old_ones() -> None:
    small = dataset(3)
    small.resized(32)
    other = replace(small, images=255 - small.images)
    assert np.array_equal(other.resized(32).images, resize(other.images, 32))


def test_a_set_is_shown_in_one_line() -> None:
    assert repr(dataset()) == "<Dataset some: 10 images, 1×6×6, 3 classes>"
    assert repr(Splits(dataset()).train) == "<Dataset some training: 10 images, 1×6×6, 3 classes>"


def test_every_part_is_resized() -> None:
    splits = Splits(dataset(), validation=dataset(4), test=None).resized(8)
    assert splits.train.images.shape[2:] == (8, 8)
    assert splits.validation is not None
    assert splits.validation.images.shape[2:] == (8, 8)
    assert splits.test is None
    assert (splits.name, splits.classes) == ("some", ("a", "b", "c"))


@pytest.mark.parametrize("kept", [1, 4, 10, 11, 29, 30])
def test_training_images_are_kept_of_each_class_equally_as_nearly_as_can_be(kept: int) -> None:
    labels = np.array([0] * 17 + [1] * 10 + [2] * 3)
    whole = Splits(Dataset(random_images(30, 1, 4, 4), labels, ("a", "b", "c"), "d"), test=dataset(5))
    got = whole.keep(kept, seed=3)
    counts, there = np.bincount(got.train.labels, minlength=3), np.bincount(labels)
    assert len(got.train) == kept
    assert all(counts.max() <= own + 1 for own, all_there in zip(counts, there, strict=True) if own < all_there)
    assert got.test is whole.test
    assert got.train.split == "training"
    images = {image.tobytes() for image in whole.train.images}
    chosen = [image.tobytes() for image in got.train.images]
    assert len(set(chosen)) == kept
    assert set(chosen) <= images


def test_the_kept_images_depend_on_the_seed_alone_and_fewer_are_among_more() -> None:
    whole = Splits(dataset(40))
    first, again, other, more = (whole.keep(n, seed).train.images for n, seed in ((9, 1), (9, 1), (9, 2), (20, 1)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert {image.tobytes() for image in first} < {image.tobytes() for image in more}


def test_what_is_kept_is_apart_from_what_is_held_out() -> None:
    whole = Splits(dataset(40)).hold_out(10, 1).keep(12, 1)
    assert whole.validation is not None
    assert not {i.tobytes() for i in whole.train.images} & {i.tobytes() for i in whole.validation.images}
    with pytest.raises(ConfigError, match="train_images: got 31, expected at most the 30 training images"):
        Splits(dataset(40)).hold_out(10, 1).keep(31, 1)


def test_without_test_and_validation_only_the_kept_images_are_measured() -> None:
    assert len(Splits(dataset(20)).to_measure(0, 1, 7)) == 7
    assert len(Splits(dataset(20)).to_measure(5, 1, 7)) == 5


@pytest.mark.parametrize("validation", [0.2, 13, 40])
def test_of_ten_classes_of_five_images_each_keeps_some_on_either_side(validation: float) -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), 5)
    whole = Splits(Dataset(random_images(50, 1, 2, 2), labels, tuple("abcdefghij"), "small"))
    for seed in range(20):
        divided = whole.hold_out(validation, seed)
        assert divided.validation is not None
        assert set(divided.validation.labels.tolist()) == set(divided.train.labels.tolist()) == set(range(10))


def test_classes_are_held_out_in_proportion_and_one_image_alone_stays() -> None:
    counts = np.array([600, 300, 97, 2, 1])
    labels = np.repeat(np.arange(5), counts)
    whole = Splits(Dataset(random_images(1000, 1, 1, 1), labels, tuple("abcde"), "uneven"))
    for share, expected in ((0.1, [59, 30, 10, 1, 0]), (0.5, [300, 150, 49, 1, 0]), (4, [1, 1, 1, 1, 0])):
        held_out = whole.hold_out(share, 1).validation
        assert held_out is not None
        assert np.bincount(held_out.labels, minlength=5).tolist() == expected


def test_without_stratify_the_same_images_are_held_out_as_by_earlier_releases() -> None:
    labels = np.arange(20) % 3
    images = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    held_out = Splits(Dataset(images, labels, ("a", "b", "c"), "d")).hold_out(6, 1, stratify=False)
    assert held_out.validation is not None
    assert held_out.validation.images.ravel().tolist() == [2, 3, 5, 12, 17, 19]
    measured = Splits(Dataset(images, labels, ("a", "b", "c"), "d")).to_measure(6, 1, stratify=False)
    assert measured.images.ravel().tolist() == [2, 3, 5, 12, 17, 19]


def test_names_that_are_not_utf8_are_escaped_and_stay_distinct() -> None:
    images, labels = np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 1])
    data = Dataset(images, labels, ("b", "\udcff\udcfe", "日"), "d\udcff")
    assert (data.classes, data.name) == (("b", "\\xff\\xfe", "日"), "d\\xff")
    with pytest.raises(DataError, match="two classes are called"):
        Dataset(images, labels, ("\\xff", "\udcff"), "d")


def test_a_validation_part_of_the_datas_own_is_kept_and_measured() -> None:
    train, validation = dataset(20), dataset(5)
    splits = Splits(train, validation=validation)
    assert splits.hold_out(0, 1) is splits
    with pytest.raises(
        ConfigError, match=r"validation: got 3, but the data have .* of their own; leave --validation out"
    ):
        splits.hold_out(3, 1)
    measured = splits.to_measure(None)
    assert (measured.split, measured.sha256) == ("validation", validation.sha256)
    assert splits.hashes == {"train": train.sha256, "validation": validation.sha256, "test": None}
