"""The setting fit: pictures and whole data sets become square alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lenscope
from fixtures_data import random_images, write_idx_folder
from lenscope.data import fit as fit_module
from lenscope.data import mapped
from lenscope.data.fit import fit_images, fit_square

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.config import FitName


def test_cropping_keeps_the_centre_and_padding_adds_the_mean_of_the_border() -> None:
    wide = np.array([[10, 20, 30, 40], [12, 99, 98, 42]], np.uint8)
    assert fit_square(wide, "crop").tolist() == [[20, 30], [99, 98]]
    mean = round((10 + 20 + 30 + 40 + 12 + 99 + 98 + 42) / 8)
    bar = [mean] * 4
    assert fit_square(wide, "pad").tolist() == [bar, *wide.tolist(), bar]
    assert fit_square(wide.T, "pad").tolist() == fit_square(wide, "pad").T.tolist()
    assert fit_square(wide, "squeeze") is wide
    assert fit_square(wide[:, :2], "pad").tolist() == wide[:, :2].tolist()


def test_the_odd_row_is_the_last() -> None:
    tall = np.array([[1], [2], [3], [4]], np.uint8).repeat(3, 1)
    assert fit_square(tall, "crop").tolist() == tall[:3].tolist()
    assert fit_square(tall, "pad")[:, :3].tolist() == tall.tolist()


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.sampled_from(["pad", "crop", "squeeze"]))
def test_a_data_set_becomes_square_as_its_pictures_do(height: int, width: int, channels: int, fit: FitName) -> None:
    images = random_images(4, channels, height, width)
    data = lenscope.Dataset(images, np.arange(4), tuple("abcd"), "mine")
    pictures = [image[0] if channels == 1 else image.transpose(1, 2, 0) for image in images]
    squares = [fit_square(picture, fit).reshape(*picture.shape[:0], -1, channels) for picture in pictures]
    found = fit_images(data, fit).images
    assert found.transpose(0, 2, 3, 1).reshape(4, -1, channels).tolist() == np.array(squares).tolist()


def test_large_images_become_square_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    data = lenscope.Dataset(random_images(5, 1, 4, 6), np.arange(5), tuple("abcde"), "mine")
    expected = fit_images(data, "pad").images
    monkeypatch.setattr(mapped, "LARGE_BYTES", 10)
    monkeypatch.setattr(fit_module, "_BLOCK_BYTES", 50)
    found = fit_images(data, "pad").images
    assert np.array_equal(found, expected)
    assert not found.flags.writeable


@pytest.mark.parametrize(("fit", "side"), [("squeeze", 5), ("pad", 7), ("crop", 5)])
def test_idx_files_and_arrays_become_square_and_squeezing_is_said(fit: Any, side: int, tmp_path: Path) -> None:
    folder = lenscope.load(write_idx_folder(tmp_path / "idx"), fit=fit)
    arrays = lenscope.load((random_images(6, 5, 7), np.arange(6) % 3), fit=fit)
    for splits in (folder, arrays):
        assert splits.train.images.shape[2:] == (side, 7 if fit == "squeeze" else side)
        assert [note[:50] for note in splits.notes] == (
            ["the images are 7×5 pixels and are squeezed to a squ"[:50]] if fit == "squeeze" else []
        )
    assert folder.test is not None
    assert np.array_equal(folder.train.images[:4], folder.test.images)
