"""CIFAR-10 from an archive like the published one, and from archives that are not."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fixtures_data import cifar_archive, cifar_batches, tar
from lenscope.data import catalogue, cifar, fetch, transfer
from lenscope.data.cifar import CifarReader
from lenscope.data.entry import DataFile, Opened
from lenscope.data.load import load
from lenscope.errors import DataError, IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

EACH = 3
NAME = "cifar-10-binary.tar.gz"
TEST_BATCH = f"{cifar.FOLDER}/test_batch.bin"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Batches of three records, an empty cache and working folder."""
    monkeypatch.setattr(cifar, "BATCH", EACH)
    monkeypatch.setattr(cifar, "MAX_OTHER_BYTES", 2**16)
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with an archive that the catalogue knows."""
    content = cifar_archive(EACH)
    known = DataFile(NAME, content=(f"sha256:{hashlib.sha256(content).hexdigest()}",), gzipped=False)
    entry = replace(catalogue.CATALOGUE["cifar-10"], reader=CifarReader(known))
    monkeypatch.setitem(catalogue.CATALOGUE, "cifar-10", entry)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / NAME).write_bytes(content)
    return tmp_path / "mine"


def read(content: bytes) -> object:
    reader = CifarReader(DataFile(NAME, gzipped=False))
    return reader.read(lambda file: Opened(content, file.name), 10)


def test_the_parts_are_the_batches_in_their_order(archive: Path) -> None:
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


def test_it_is_located_and_verified_as_it_is_published(archive: Path) -> None:
    assert fetch.locate("cifar-10", archive) == {NAME: archive / NAME}
    assert [check.state for check in fetch.verify("cifar-10", archive)] == ["genuine"]
    (archive / "cifar-10-binary.tar").write_bytes(gzip.decompress((archive / NAME).read_bytes()))
    (archive / NAME).unlink()
    assert fetch.locate("cifar-10", archive) is None  # an unpacked one is not what was published


def test_one_flipped_bit_is_caught(archive: Path) -> None:
    content = bytearray((archive / NAME).read_bytes())
    content[len(content) // 2] ^= 1
    (archive / NAME).write_bytes(content)
    assert fetch.verify("cifar-10", archive)[0].state == "wrong"
    with pytest.raises(IntegrityError, match="SHA-256 is"):
        load("cifar-10", data_dir=archive, download=False)


def test_it_is_downloaded_whole_and_verified(archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def download(url: str, output: str, _pooch: object) -> None:
        asked.append(url)
        (archive / NAME).replace(output)

    monkeypatch.setattr(transfer, "_download", download)
    assert len(load("cifar-10").train) == 5 * EACH
    assert asked == [f"https://www.cs.toronto.edu/~kriz/{NAME}"]
    assert (tmp_path / "cache" / "cifar-10" / NAME).is_file()


def kind(name: str, type_: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = type_, target, 0
    return info


BATCH_BYTES = EACH * 3073
MISSING = f"no {TEST_BATCH} in it"
IRREGULAR = "is not an ordinary file"
# What follows the five training batches, and why it is refused.
HOSTILE = {
    "nothing": ([], MISSING),
    "another folder": ([("test_batch.bin", bytes(BATCH_BYTES))], MISSING),
    "one more folder": ([("other/test_batch.bin", bytes(BATCH_BYTES))], MISSING),
    "an absolute path": ([(f"/{TEST_BATCH}", bytes(BATCH_BYTES))], MISSING),
    "a way out": ([(f"../{TEST_BATCH}", bytes(BATCH_BYTES))], MISSING),
    "a way around": ([(f"{cifar.FOLDER}/../{TEST_BATCH}", bytes(BATCH_BYTES))], MISSING),
    "a symbolic link": ([(kind(TEST_BATCH, tarfile.SYMTYPE, "/etc/passwd"), b"")], IRREGULAR),
    "a hard link": ([(kind(TEST_BATCH, tarfile.LNKTYPE, f"{cifar.FOLDER}/data_batch_1.bin"), b"")], IRREGULAR),
    "a pipe": ([(kind(TEST_BATCH, tarfile.FIFOTYPE), b"")], IRREGULAR),
    "a folder": ([(kind(TEST_BATCH, tarfile.DIRTYPE), b"")], IRREGULAR),
    "a device": ([(kind(TEST_BATCH, tarfile.CHRTYPE), b"")], IRREGULAR),
    "a short batch": ([(TEST_BATCH, bytes(BATCH_BYTES - 1))], f"has {BATCH_BYTES - 1} bytes, expected"),
    "a long batch": ([(TEST_BATCH, bytes(BATCH_BYTES + 1))], f"has {BATCH_BYTES + 1} bytes, expected"),
    "a batch twice": ([(TEST_BATCH, bytes(BATCH_BYTES))] * 2, f"{TEST_BATCH} is in it twice"),
    "many members": ([(f"{number}", b"") for number in range(30)], "it has more than 20 members"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_archive_of_other_members_is_refused(case: str) -> None:
    members, reason = HOSTILE[case]
    training = [(name, content) for name, content in cifar_batches(EACH).items() if name != TEST_BATCH]
    with pytest.raises(DataError, match=f"{NAME}: not CIFAR-10's archive: .*{reason}.*; get the file anew") as raised:
        read(gzip.compress(tar([*training, *members])))
    assert "\n" not in str(raised.value)


def test_what_else_is_in_it_is_passed_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    others = [(kind("link", tarfile.SYMTYPE, "/etc/passwd"), b""), (str(out), b"x"), ("../out", b"x")]
    assert read(gzip.compress(tar([*others, *cifar_batches(EACH).items()])))
    assert not list(tmp_path.iterdir())
    assert not (tmp_path.parent / "out").exists()


def test_a_label_that_cifar_does_not_have_is_refused() -> None:
    batches = cifar_batches(EACH)
    batches[TEST_BATCH] = b"\12" + batches[TEST_BATCH][1:]
    with pytest.raises(DataError, match=r"test_batch.bin: label 10 of image 0 is outside 0 to 9"):
        read(gzip.compress(tar([*batches.items()])))


def test_a_cut_or_changed_archive_is_refused_wherever_it_is() -> None:
    whole = cifar_archive(EACH)
    for length in (0, 1, 9, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        with pytest.raises(DataError, match="not CIFAR-10's archive"):
            read(whole[:length])
    for place in range(len(whole) - 8, len(whole)):  # the checksum and the length at the end of gzip
        changed = bytearray(whole)
        changed[place] ^= 1
        with pytest.raises(DataError, match="not CIFAR-10's archive"):
            read(bytes(changed))
    with pytest.raises(DataError, match="not CIFAR-10's archive"):
        read(whole + b"x")


def header(name: str, size: int, type_: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, type_
    return info.tobuf(tarfile.GNU_FORMAT)


def test_sparse_files_are_refused() -> None:
    old = header(TEST_BATCH, BATCH_BYTES, tarfile.GNUTYPE_SPARSE) + bytes(BATCH_BYTES + 512)
    new = tarfile.TarInfo(TEST_BATCH)
    new.size, new.pax_headers = BATCH_BYTES, {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(BATCH_BYTES)}
    for sparse in old, tar([(new, bytes(BATCH_BYTES))], tarfile.PAX_FORMAT):
        with pytest.raises(DataError, match="not an ordinary file"):
            read(gzip.compress(sparse))


def test_a_chain_of_extended_headers_is_refused() -> None:
    with pytest.raises(DataError, match="not CIFAR-10's archive"):
        read(gzip.compress(header("x", 0, tarfile.XHDTYPE) * 2000))


BOMBS = {
    "a large member": header("zeros", 2**30) + bytes(2**24),
    "many zeros at the end": tar([*cifar_batches(EACH).items()]) + bytes(2**24),
    "a long name": header("././@LongLink", 2**30, tarfile.GNUTYPE_LONGNAME) + bytes(2**24),
    "a large extended header": header("x", 2**30, tarfile.XHDTYPE) + bytes(2**24),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_unpacked_no_further_than_cifar_goes(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read_so_far = []
    honest = gzip.GzipFile.read

    def counted(file: gzip.GzipFile, size: int = -1) -> bytes:
        content = honest(file, size)
        read_so_far.append(len(content))
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    with pytest.raises(DataError, match="it holds more than CIFAR-10"):
        read(gzip.compress(BOMBS[bomb]))
    assert sum(read_so_far) <= 6 * BATCH_BYTES + 2**16 + 1
