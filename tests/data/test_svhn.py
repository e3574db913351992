"""SVHN from MATLAB files like the published ones."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.io import savemat

from fixtures_data import random_images
from lenscope.data.formats import svhn
from lenscope.data.load import load
from lenscope.data.published import catalogue, verify
from lenscope.data.published.entry import DataFile
from lenscope.errors import IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("train_32x32.mat", "test_32x32.mat")
IMAGES = random_images(12, 3, 32, 32)
X = np.asfortranarray(IMAGES.transpose(2, 3, 1, 0))
Y = np.array([[10], *([digit] for digit in range(1, 10)), [10], [3]], np.uint8)


def matlab(**variables: Any) -> bytes:
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=True)
    return stream.getvalue()


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with two files that the catalogue knows; an empty cache."""
    contents = (matlab(X=X, y=Y), matlab(X=X[..., :3], y=Y[:3].astype(float)))
    hashes = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]
    known = (DataFile(name, content=(hash_,), gzipped=False) for name, hash_ in zip(NAMES, hashes, strict=True))
    entry = replace(catalogue.CATALOGUE["svhn"], files=tuple(known))
    monkeypatch.setitem(catalogue.CATALOGUE, "svhn", entry)
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name, content in zip(NAMES, contents, strict=True):
        (tmp_path / "mine" / name).write_bytes(content)
    return tmp_path / "mine"


def test_images_stand_upright_and_10_is_the_digit_0(files: Path) -> None:
    splits = load("svhn", data_dir=files, download=False)
    assert np.array_equal(splits.train.images, IMAGES)
    assert splits.train.images.flags.c_contiguous
    assert splits.train.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 3]
    assert splits.test is not None
    assert splits.test.images.shape == (3, 3, 32, 32)
    assert splits.test.labels.tolist() == [0, 1, 2]
    assert splits.train.labels.dtype == splits.test.labels.dtype == np.uint8
    assert [check.state for check in verify.verify("svhn", files)] == ["genuine", "genuine"]


def test_a_changed_file_is_not_opened(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (files / NAMES[0]).read_bytes()
    (files / NAMES[0]).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    monkeypatch.setattr(svhn, "read_matlab", lambda _: pytest.fail("was opened"))
    with pytest.raises(IntegrityError, match="SHA-256 is"):
        load("svhn", data_dir=files, download=False)
    assert [check.state for check in verify.verify("svhn", files)] == ["wrong", "genuine"]
