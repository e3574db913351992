"""CIFAR-10 from an archive like the published one."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fixtures_data import cifar_archive, cifar_batches
from lenscope.data.load import load
from lenscope.data.published import catalogue, download, locate, verify
from lenscope.data.published.entry import DataFile
from lenscope.errors import IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

EACH = 3
NAME = "cifar-10-binary.tar.gz"


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with an archive of six batches of three records that the catalogue knows; an empty cache."""
    content = cifar_archive(EACH)
    known = DataFile(NAME, content=(f"sha256:{hashlib.sha256(content).hexdigest()}",), gzipped=False)
    entry = replace(catalogue.CATALOGUE["cifar-10"], files=(known,))
    monkeypatch.setitem(catalogue.CATALOGUE, "cifar-10", entry)
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / NAME).write_bytes(content)
    return tmp_path / "mine"


def test_the_splits_are_the_batches_in_their_order(archive: Path) -> None:
    splits = load("cifar-10", data_dir=archive, download=False)
    rows = np.frombuffer(b"".join(cifar_batches(EACH).values()), np.uint8).reshape(-1, 3073)
    assert splits.test is not None
    for part, expected in ((splits.train, rows[: 5 * EACH]), (splits.test, rows[5 * EACH :])):
        assert np.array_equal(part.labels, expected[:, 0])
        assert np.array_equal(part.images[1, 2, 31], expected[1, 1 + 2048 + 31 * 32 :])  # the last row of blue
        assert part.images.shape == (len(expected), 3, 32, 32)
        assert part.images.flags.c_contiguous
        assert part.images.dtype == part.labels.dtype == np.uint8
    assert splits.classes[:2] == ("airplane", "automobile")


def test_only_the_published_archive_is_located_and_opened(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive / NAME
    assert locate.locate("cifar-10", archive) == {NAME: path}
    assert [check.state for check in verify.verify("cifar-10", archive)] == ["genuine"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert verify.verify("cifar-10", archive)[0].state == "wrong"
    with monkeypatch.context() as closed:
        closed.setattr("tarfile.open", None)
        with pytest.raises(IntegrityError, match="SHA-256 is"):
            load("cifar-10", data_dir=archive, download=False)
    (archive / "cifar-10-binary.tar").write_bytes(gzip.decompress(cifar_archive(EACH)))
    path.unlink()
    assert locate.locate("cifar-10", archive) is None  # an unpacked one is not what was published


def test_it_is_downloaded_whole_and_verified(archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def send(url: str, output: str, _pooch: object) -> None:
        asked.append(url)
        (archive / NAME).replace(output)

    monkeypatch.setattr(download, "_download", send)
    assert len(load("cifar-10").train) == 5 * EACH
    assert asked == [f"https://www.cs.toronto.edu/~kriz/{NAME}"]
    assert (tmp_path / "cache" / "cifar-10" / NAME).is_file()
