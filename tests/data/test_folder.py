from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fixtures_data import picture, random_images, write_image_folder
from lenscope.data.folders.folder import load_folder
from lenscope.data.resize import resize
from lenscope.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_of_grey_images_of_one_size(tmp_path: Path) -> None:
    splits = load_folder(write_image_folder(tmp_path / "shapes", classes=("square", "disc"), each=3))
    assert splits.classes == ("disc", "square")
    assert splits.train.images.shape == (6, 1, 6, 6)
    assert splits.train.images.dtype == np.uint8
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert splits.train.labels.dtype == np.int64
    assert np.array_equal(splits.train.images[0, 0], random_images(1, 6, 6)[0])
    assert (splits.name, splits.train.licence) == ("shapes", "")
    assert splits.train.source == str(tmp_path / "shapes")
    assert splits.test is not None
    assert splits.test.images.shape == (6, 1, 6, 6)


@pytest.mark.parametrize(("names", "order"), [(("10", "9", "0"), "0 9 10"), (("10", "9", "x"), "10 9 x")])
def test_whole_numbers_are_sorted_as_numbers_and_other_names_as_names(
    names: tuple[str, ...], order: str, tmp_path: Path
) -> None:
    splits = load_folder(write_image_folder(tmp_path, classes=names, test=False))
    assert splits.classes == tuple(order.split())
    assert splits.test is None


def test_one_colour_image_makes_three_channels(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path)
    colour = random_images(1, 6, 6, 3)[0]
    (root / "test" / "b" / "0.png").write_bytes(picture(colour))
    splits = load_folder(root)
    assert splits.test is not None
    assert splits.train.images.shape[1] == 3
    assert np.array_equal(splits.train.images[0], np.stack([random_images(1, 6, 6)[0]] * 3))
    assert np.array_equal(splits.test.images[2], colour.transpose(2, 0, 1))


def test_images_of_several_sizes_are_all_resized(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path, each=3, test=False)
    wide, colour = random_images(1, 9, 40)[0], random_images(1, 32, 32, 3)[0]
    (root / "train" / "a" / "1.png").write_bytes(picture(wide))
    (root / "train" / "b" / "0.png").write_bytes(picture(colour))
    (root / "train" / "b" / "1.png").write_bytes(picture(random_images(1, 50, 20, 3)[0]))
    images = load_folder(root).train.images
    assert images.shape == (6, 3, 32, 32)
    assert np.array_equal(images[1, 0], resize(wide[None, None], 32)[0, 0])
    assert np.array_equal(images[0, 2], resize(random_images(1, 1, 6, 6), 32)[0, 0])
    assert np.array_equal(images[3], colour.transpose(2, 0, 1))


def test_suffixes_in_upper_case_and_other_formats_are_read(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path, test=False)
    (root / "train" / "a" / "2.PNG").write_bytes(picture())
    (root / "train" / "a" / "3.Jpeg").write_bytes(picture(format_="JPEG"))
    assert len(load_folder(root).train) == 6


def test_clutter_and_files_beside_the_parts_are_not_looked_at(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path)
    for name in ("README.md", "train/.DS_Store", "train/a/Thumbs.db", "test/b/desktop.ini"):
        (root / name).write_text("x")
    (root / ".git").mkdir()
    (root / "__MACOSX").mkdir()
    assert len(load_folder(root).train) == 4


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path)
    (root / "train" / "a" / "link.png").symlink_to(root / "train" / "b" / "0.png")
    assert len(load_folder(root).train) == 5


def defects_of(root: Path) -> str:
    with pytest.raises(DataError) as raised:
        load_folder(root)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_an_empty_class_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    assert "cats: no image in it; add pictures or remove the folder" in defects_of(tmp_path)


def test_all_defects_are_reported_together(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "x")
    (root / "train" / "empty").mkdir()
    (root / "train" / "stray.png").write_bytes(picture())
    (root / "train" / "a" / "notes.txt").write_text("x")
    (root / "train" / "a" / "deeper").mkdir()
    (root / "train" / "b" / "0.png").write_bytes(picture()[:50])
    (root / "test" / "a" / "1.png").write_text("not a picture")
    (root / "test" / "new").mkdir()
    (root / "extra").mkdir()
    shutil.rmtree(root / "test" / "b")
    message = defects_of(root)
    for part in (
        "x: 8 defects",
        "extra: expected only folders of splits, train, val and test",
        "train/stray.png: not in a class folder",
        "train/a/deeper: a folder in a class",
        "train/a/notes.txt: not a picture; expected .png",
        "train/empty: no image in it",
        "test/new: class only in test",
        "train/b/0.png: broken picture",
        "test/a/1.png: not a picture; expected PNG",
    ):
        assert part in message


def test_one_defect_is_one_and_more_than_ten_are_counted(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path, each=13, test=False)
    (root / "train" / "a" / "0.png").write_bytes(b"")
    assert "1 defect, expected" in defects_of(root)
    for index in range(13):
        (root / "train" / "a" / f"{index}.png").write_bytes(b"")
    message = defects_of(root)
    assert "13 defects" in message
    assert message.count("broken") + message.count("not a picture;") == 10
    assert message.endswith("and 3 more")


def test_a_train_folder_without_classes_is_a_defect(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    assert "train: no class folder in it" in defects_of(tmp_path)


def test_a_file_named_test_is_a_defect(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path, test=False)
    (root / "test").write_text("x")
    assert "test: expected only folders of splits" in defects_of(root)


def test_links_that_leave_the_folder_are_defects(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "inside", test=False)
    outside = write_image_folder(tmp_path / "outside")
    (root / "train" / "a" / "link.png").symlink_to(outside / "train" / "a" / "0.png")
    (root / "train" / "c").symlink_to(outside / "train" / "a")
    (root / "test").symlink_to(outside / "test")
    message = defects_of(root)
    assert "3 defects" in message
    for name in ("train/a/link.png", "train/c", "test"):
        assert f"{name}: a link that leaves the folder" in message


def test_a_link_to_nothing_is_a_defect(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path, test=False)
    (root / "train" / "a" / "gone.png").symlink_to(root / "nothing.png")
    (root / "train" / "a" / "loop.png").symlink_to(root / "train" / "a" / "loop.png")
    message = defects_of(root)
    assert "train/a/gone.png: cannot be read" in message
    assert "train/a/loop.png: " in message


def test_a_class_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_image_folder(tmp_path, test=False)
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "b":
            raise PermissionError(13, os.strerror(13))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "train/b: cannot be read: Permission denied" in defects_of(root)


def test_a_name_composed_otherwise_in_test_is_the_same_class(tmp_path: Path) -> None:
    composed, decomposed = "\u00e9t\u00e9", "e\u0301te\u0301"
    root = write_image_folder(tmp_path / "drinks", classes=(composed, "tea"))
    (root / "test" / composed).rename(root / "test" / decomposed)
    splits = load_folder(root)
    assert splits.classes == ("tea", composed)
    assert splits.test is not None
    assert splits.test.labels.tolist() == [0, 0, 1, 1]
    shutil.copytree(root / "train" / composed, root / "train" / decomposed)
    with pytest.raises(
        DataError, match="equal to the name of another class except for its encoding; move both into one"
    ):
        load_folder(root)
