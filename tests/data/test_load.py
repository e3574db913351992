from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures_data import NAMES, random_images, write_idx, write_idx_folder, write_image_folder
from lenscope.data import load as load_module
from lenscope.data.load import load
from lenscope.data.published.catalogue import BUNDLED, CATALOGUE
from lenscope.errors import DataError, IntegrityError, UsageError


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder and cache, and no network."""
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(load_module, "fetch", load_module.locate)


def test_mnist_is_there_without_a_network() -> None:
    splits = load("mnist", download=False)
    assert splits.train.images.shape == (60_000, 1, 28, 28)
    assert splits.test is not None
    assert splits.test.images.shape == (10_000, 1, 28, 28)
    assert splits.train.images.dtype == splits.train.labels.dtype == np.uint8
    assert splits.train.images.flags.writeable
    assert splits.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.classes == tuple("0123456789")
    assert (splits.train.licence, splits.name, splits.validation) == ("CC BY-SA 3.0", "mnist", None)


def test_fashion_mnist_is_found_in_debians_package() -> None:
    if not CATALOGUE["fashion-mnist"].system_folders[0].is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    splits = load("Fashion-MNIST", download=False)
    assert splits.test is not None
    assert splits.test.labels[:4].tolist() == [9, 2, 1, 1]
    assert splits.classes[9] == "Ankle boot"


def write_entry(name: str, folder: Path, *, labels: Any, images: Any) -> None:
    """Files of a catalogue entry, all with the same content, unpacked: of those no hash is known."""
    for file, content in zip(CATALOGUE[name].files, (images, labels) * 2, strict=True):
        write_idx(folder / file.name.removesuffix(".gz"), content)


def test_emnist_stands_upright_and_its_letters_begin_at_0(tmp_path: Path) -> None:
    images = random_images(2, 28, 28)
    write_entry("emnist-letters", tmp_path, images=images, labels=np.array([1, 26], np.uint8))
    splits = load("emnist-letters", data_dir=tmp_path)
    assert splits.train.labels.tolist() == [0, 25]
    assert splits.classes[25] == "z"
    assert np.array_equal(splits.train.images[:, 0], images.transpose(0, 2, 1))
    assert splits.train.images.flags.c_contiguous
    write_entry("emnist-digits", tmp_path, images=images, labels=np.array([0, 9], np.uint8))
    assert load("emnist-digits", data_dir=str(tmp_path)).train.labels.tolist() == [0, 9]


def test_a_label_that_emnist_letters_does_not_have_is_refused(tmp_path: Path) -> None:
    write_entry("emnist-letters", tmp_path, images=random_images(1, 28, 28), labels=np.array([0], np.uint8))
    with pytest.raises(DataError, match="label -1 of image 0 is outside 0 to 255"):
        load("emnist-letters", data_dir=tmp_path)
    write_entry("emnist-letters", tmp_path, images=random_images(1, 28, 28), labels=np.array([27], np.uint8))
    with pytest.raises(DataError, match="emnist-letters: label 26 of image 0 is outside 0 to 25"):
        load("emnist-letters", data_dir=tmp_path)


def test_of_qmnists_rows_the_first_number_is_the_label(tmp_path: Path) -> None:
    rows = np.array([[7, 4, 2100, 0, 37, 5, 0, 0], [2, 1, 3, 9, 32, 6, 0, 0]], np.int32)
    write_entry("qmnist", tmp_path, images=random_images(2, 28, 28), labels=rows)
    labels = load("qmnist", data_dir=tmp_path).train.labels
    assert labels.tolist() == [7, 2]
    assert labels.dtype == np.uint8


def test_a_set_that_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(DataError, match="kmnist: not on this computer; run 'lenscope data fetch kmnist' or use --data"):
        load("kmnist", download=False)


def test_a_file_of_a_known_set_that_was_changed_is_refused(tmp_path: Path) -> None:
    shutil.copytree(BUNDLED, tmp_path / "mine")
    path = tmp_path / "mine" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(IntegrityError, match=r"t10k-labels-idx1-ubyte.gz: SHA-256 is"):
        load("mnist", data_dir=tmp_path / "mine")


def test_a_folder_of_idx_files(tmp_path: Path) -> None:
    splits = load(write_idx_folder(tmp_path / "look-alike"))
    assert splits.train.images.shape == (6, 1, 5, 7)
    assert splits.test is not None
    assert splits.test.labels.tolist() == [0, 1, 2, 0]
    assert splits.classes == ("0", "1", "2")
    assert (splits.name, splits.train.source) == ("look-alike", str(tmp_path / "look-alike"))


def test_a_folder_of_idx_files_without_a_test_part(tmp_path: Path) -> None:
    folder = write_idx_folder(tmp_path)
    for name in NAMES["t10k"]:
        (folder / name).unlink()
    assert load(str(folder)).test is None


@pytest.mark.parametrize("name", [NAMES["train"][0], NAMES["t10k"][1]])
def test_images_without_labels_and_labels_without_images_are_reported(name: str, tmp_path: Path) -> None:
    (write_idx_folder(tmp_path) / name).unlink()
    with pytest.raises(DataError, match=f"no {name} in it, compressed or not"):
        load(tmp_path)


def test_labels_that_training_never_saw_are_reported(tmp_path: Path) -> None:
    folder = write_idx_folder(tmp_path)
    write_idx(folder / NAMES["t10k"][1], np.array([0, 1, 2, 3], np.uint8))
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.gz: label 3 of image 3 is outside 0 to 2"):
        load(folder)


def test_swapped_files_are_reported(tmp_path: Path) -> None:
    folder = write_idx_folder(tmp_path)
    images, labels = (folder / name for name in NAMES["train"])
    images.rename(tmp_path / "x")
    labels.rename(images)
    (tmp_path / "x").rename(labels)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: .*is it a file of labels\?"):
        load(folder)


def test_a_known_name_comes_before_a_folder_of_that_name() -> None:
    write_image_folder(Path("mnist"))
    assert len(load("mnist").train) == 60_000
    assert len(load("./mnist").train) == 4


def test_a_file_and_a_missing_folder_are_distinguished_from_unknown_names(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"x.png: a file; expected a folder with <class>"):
        load(tmp_path / "x.png")
    with pytest.raises(UsageError, match=r"gone: no such folder; give the path of a folder of pictures$"):
        load(tmp_path / "gone")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UsageError, match=r"pictres/: no such folder; did you mean .*/pictures\?$"):
        load(f"{tmp_path}/pictres/")
    with pytest.raises(UsageError, match=r"no such folder; give the path"):
        load(tmp_path / "gone" / "pictures")


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"^unknown data set 'minst'; did you mean 'mnist'\?$"):
        load("minst")
    with pytest.raises(
        UsageError, match=r"^'zebras': not a data set \('lenscope data list' lists them\) and no folder"
    ):
        load("zebras")
    Path("zebra").mkdir()
    with pytest.raises(UsageError, match=r"no folder of that name; did you mean zebra\?$"):
        load("zebras")


def test_a_test_part_may_be_called_test_and_two_are_refused(tmp_path: Path) -> None:
    folder = write_idx_folder(tmp_path / "digits")
    expected = load(folder)
    for name in NAMES["t10k"]:
        (folder / name).rename(folder / name.replace("t10k", "test"))
    found = load(folder)
    assert found.test is not None
    assert expected.test is not None
    assert found.test.sha256 == expected.test.sha256
    write_idx_folder(folder)
    with pytest.raises(DataError, match="digits: has two test splits, t10k-… and test-…; move one away"):
        load(folder)


def test_labels_of_four_bytes_are_read_and_too_large_ones_refused(tmp_path: Path) -> None:
    folder = write_idx_folder(tmp_path)
    write_idx(folder / NAMES["train"][1], np.array([1, 2, 3, 1, 2, 3], np.int32))
    splits = load(folder)
    assert splits.train.labels.tolist() == [1, 2, 3, 1, 2, 3]
    assert splits.classes == ("0", "1", "2", "3")
    assert splits.train.empty_classes == ["0"]
    for wrong, message in ((2**31 - 1, "labels up to 2147483647, expected 0 to 99999; renumber"), (-1, "label -1 of")):
        write_idx(folder / NAMES["train"][1], np.array([wrong] * 6, np.int32))
        with pytest.raises(DataError, match=f"train-labels-idx1-ubyte.gz: {message}"):
            load(folder)
