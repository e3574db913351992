from __future__ import annotations

import gzip
import hashlib
import re
from typing import TYPE_CHECKING

import pytest

from lenscope.data.published.catalogue import BUNDLED, CATALOGUE, find_entry
from lenscope.errors import UsageError

if TYPE_CHECKING:
    from lenscope.data.published.entry import Entry

ENTRIES = pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)


def test_the_names() -> None:
    splits = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
    assert list(CATALOGUE) == [
        "mnist", "coloured-mnist", "fashion-mnist", "kmnist", "qmnist", *(f"emnist-{split}" for split in splits),
        "cifar-10", "svhn",
    ]  # fmt: skip


@ENTRIES
def test_every_address_is_https_or_of_files_with_a_sha256_and_everything_is_reported(entry: Entry) -> None:
    assert entry.mirrors
    https = all(mirror.startswith("https://") for mirror in entry.mirrors)
    assert https or all(file.published[0].startswith("sha256:") for file in entry.files)
    assert https or entry.name == "svhn"
    for text in (entry.title, entry.licence, entry.citation, entry.home):
        assert text


@ENTRIES
def test_every_download_has_a_hash_of_its_own(entry: Entry) -> None:
    for file in (entry.archive,) if entry.archive else entry.files:
        assert file.published
        for known in (*file.packed, *file.content):
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", known)
    hashes = [known for file in entry.files for known in (*file.packed, *file.content)]
    assert len(set(hashes)) == len(hashes)


def test_the_bundled_files_have_the_hashes_beside_them_and_in_the_catalogue() -> None:
    sums = dict(reversed(line.split()) for line in (BUNDLED / "SHA256SUMS").read_text().splitlines())
    for file in CATALOGUE["mnist"].files:
        raw = (BUNDLED / file.name).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == sums[file.name]
        assert f"sha256:{sums[file.name]}" in file.packed
        assert file.content == (f"sha256:{sums[file.name.removesuffix('.gz')]}",)


def test_fashion_mnists_hashes_are_those_of_debians_package() -> None:
    folder = CATALOGUE["fashion-mnist"].system_folders[0]
    if not folder.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    for file in CATALOGUE["fashion-mnist"].files:
        content = gzip.decompress((folder / file.name).read_bytes())
        assert file.content == (f"sha256:{hashlib.sha256(content).hexdigest()}",)


def test_numbers_of_classes() -> None:
    counts = {name: len(entry.classes) for name, entry in CATALOGUE.items() if len(entry.classes) != 10}
    assert counts == {"emnist-byclass": 62, "emnist-bymerge": 47, "emnist-balanced": 47, "emnist-letters": 26}
    assert all(len(set(entry.classes)) == len(entry.classes) for entry in CATALOGUE.values())
    assert "".join(CATALOGUE["emnist-balanced"].classes[36:]) == "abdefghnqrt"


def test_a_name_is_found_in_any_case_and_the_nearest_is_suggested() -> None:
    assert find_entry("Fashion-MNIST") is CATALOGUE["fashion-mnist"]
    with pytest.raises(UsageError, match="unknown data set 'fashion-mnits'; did you mean 'fashion-mnist'"):
        find_entry("fashion-mnits")
