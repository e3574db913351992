"""Large sets from end to end: whatever is mapped trains to the same bytes as what is in memory."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import lenscope
from fixtures_data import encode_idx, picture, write_digits, write_idx, write_image_folder
from lenscope.config import TrainConfig
from lenscope.data import mapped
from lenscope.data.cache import LOCK
from lenscope.data.folders.listing import skipped_note
from lenscope.data.formats import idx
from lenscope.data.formats.idx import read_idx
from lenscope.data.published.catalogue import CATALOGUE
from lenscope.errors import DataError
from lenscope.native import reason
from lenscope.pytorch import engine as torch_engine
from lenscope.runs.prepare import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.data.dataset import Splits


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a kilobyte is large."""
    monkeypatch.setattr(mapped, "LARGE_BYTES", 1_000)


def is_mapped(array: NDArray[np.uint8]) -> bool:
    return not array.flags.writeable


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != LOCK)


@pytest.mark.usefixtures("little_memory")
def test_unpacked_idx_files_are_mapped_in_place(tiny: Splits, tmp_path: Path) -> None:
    folder = write_digits(tmp_path / "digits", tiny, packed=False)
    splits = lenscope.load(folder)
    assert is_mapped(splits.train.images)
    assert splits.pack is None
    assert splits.train.sha256 == tiny.train.sha256
    assert cached(tmp_path) == []
    sized = splits.resized(32)
    assert cached(tmp_path) == ["test-32.u8", "train-32.u8"]
    assert np.array_equal(sized.train.images, tiny.train.resized(32).images)
    assert np.array_equal(lenscope.load(folder).resized(32).train.images, sized.train.images)
    assert len(list((tmp_path / "cache" / "packs").iterdir())) == 1


@pytest.mark.usefixtures("little_memory")
def test_compressed_idx_files_are_unpacked_once(tiny: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_digits(tmp_path / "digits", tiny, packed=True)
    first = lenscope.load(folder)
    assert first.pack is not None
    monkeypatch.setattr(idx, "unpack", None)
    again = lenscope.load(folder)
    for splits in (first, again):
        assert is_mapped(splits.train.images)
        assert splits.train.sha256 == tiny.train.sha256
        assert splits.test is not None
        assert tiny.test is not None
        assert splits.test.sha256 == tiny.test.sha256
        assert splits.train.labels.dtype == np.uint8
        assert (splits.name, splits.train.source) == ("digits", str(folder))


def test_small_sets_stay_in_memory_unless_they_are_packed(tiny: Splits, tmp_path: Path) -> None:
    folder = write_digits(tmp_path / "digits", tiny, packed=True)
    splits = lenscope.load(folder).resized(32)
    assert splits.train.images.flags.writeable
    assert not (tmp_path / "cache").exists()
    packed = lenscope.load(folder, pack=True)
    assert packed.pack is not None
    assert packed.train.sha256 == tiny.train.sha256
    assert lenscope.load(folder).pack == packed.pack


@pytest.mark.usefixtures("little_memory")
def test_a_large_set_of_emnist_is_packed_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 28, 28), np.uint8)
    labels = (np.arange(300) % 62).astype(np.uint8)
    for file, content in zip(CATALOGUE["emnist-byclass"].files, (images, labels) * 2, strict=True):
        write_idx(tmp_path / file.name, content)
    splits = lenscope.load("emnist-byclass", data_dir=tmp_path)
    assert np.array_equal(splits.train.images[:, 0], images.transpose(0, 2, 1))
    assert splits.train.labels.tolist() == labels.tolist()
    assert splits.pack is not None
    assert splits.train.licence.startswith("none stated")
    assert is_mapped(splits.train.images)
    shutil.rmtree(splits.pack)
    monkeypatch.setattr("lenscope.data.packs.open_pack", lambda _pack: None)  # deleted as soon as it is written
    assert lenscope.load("emnist-byclass", data_dir=tmp_path).train.sha256 == splits.train.sha256


@pytest.mark.usefixtures("little_memory")
def test_splits_with_two_image_sizes_are_not_packed(tiny: Splits, tmp_path: Path) -> None:
    folder = write_digits(tmp_path / "digits", tiny, packed=True)
    write_idx(folder / "t10k-images-idx3-ubyte.gz", np.zeros((20, 5, 7), np.uint8))
    splits = lenscope.load(folder)
    assert splits.pack is None
    assert splits.test is not None
    assert splits.test.images.shape == (20, 1, 5, 7)
    assert splits.train.sha256 == tiny.train.sha256


@pytest.mark.usefixtures("little_memory")
def test_a_large_gzip_is_read_as_strictly_as_a_small_one(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28), np.uint8)
    raw, path = gzip.compress(encode_idx(images)), tmp_path / "x.gz"
    path.write_bytes(raw)
    assert np.array_equal(read_idx(path), images)
    for content, says in ((raw[:-1], "truncated gzip: its end is missing"), (raw + b"x", "1 bytes after the end")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=says):
            read_idx(path)
    assert not list((tmp_path / "cache").iterdir())


PARTS = {"validation": 0.2, "train_images": 20, "augment": "shift=1"}
FUSED = pytest.param("fused", marks=pytest.mark.skipif(reason() is not None, reason="not built"))


@pytest.mark.parametrize(("engine", "settings"), [(*FUSED.values, {}), (*FUSED.values, PARTS), ("torch", PARTS)])
def test_a_mapped_set_trains_to_the_same_bytes(
    engine: str, settings: dict[str, Any], tiny: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_digits(tmp_path / "digits", tiny, packed=True)
    config: dict[str, Any] = {"epochs": 2, "batch_size": 10, "engine": engine, "progress": False, **settings}
    in_memory = lenscope.train(folder, out=tmp_path / "in-memory", **config)
    monkeypatch.setattr(mapped, "LARGE_BYTES", 1_000)
    in_place = lenscope.train(folder, out=tmp_path / "in-place", **config)
    assert lenscope.load(folder).pack is not None
    for name in ("losses.f32", "weights/final.safetensors", "film.bin", "config.toml"):
        assert (in_place.path / name).read_bytes() == (in_memory.path / name).read_bytes()
    assert in_place.data == in_memory.data
    assert lenscope.evaluate(in_place).accuracy == lenscope.evaluate(in_memory).accuracy
    assert all(finding.sound for finding in lenscope.verify(in_place, replay=True, progress=False))


@pytest.mark.parametrize("settings", [{"validation": 13}, PARTS])
def test_images_may_be_resized_before_or_after_they_are_divided(settings: dict[str, Any], tiny: Splits) -> None:
    config = TrainConfig(**settings)
    got = prepare(config.with_settings(batch_size=10), tiny).sized
    divided = tiny.hold_out(config.validation, config.seed).keep(config.train_images, config.seed).resized(32)
    for one, other in ((got.train, divided.train), (got.validation, divided.validation), (got.test, divided.test)):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert one.sha256 == other.sha256
            assert one.split == other.split


def test_the_next_run_on_the_same_data_resizes_nothing(tiny: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(validation=13, batch_size=10)
    first = prepare(config, tiny)
    monkeypatch.setattr("lenscope.data.dataset.resize", None)
    assert prepare(config, tiny).sized.train.sha256 == first.sized.train.sha256


def test_what_has_no_room_on_a_gpu_stays_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (1_000, 2_000))
    assert torch_engine.has_room(torch.device("cuda"), 500)
    assert not torch_engine.has_room(torch.device("cuda"), 501)
    assert torch_engine.has_room(torch.device("cpu"), 2**50)


def test_a_run_remembers_that_pictures_were_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_image_folder(tmp_path / "shapes", each=12)
    (root / "train" / "a" / "3.png").write_bytes(picture()[:40])
    with pytest.raises(DataError, match=r"1 defect, .*train/a/3\.png"):
        lenscope.train(root, out=tmp_path / "none", epochs=1, batch_size=5, progress=False)
    splits = lenscope.load(root, skip_unreadable=True)
    run = lenscope.train(splits, out=tmp_path / "run", epochs=1, batch_size=5, progress=False)
    assert run.config.skip_unreadable
    assert run.data.train_images == 23
    assert not capsys.readouterr().err
    run = lenscope.resume(run, epochs=2)
    assert "left out 1 unreadable picture: train/a/3.png: broken picture: its end is missing" in capsys.readouterr().err
    assert lenscope.evaluate(run).accuracy == lenscope.evaluate(run, root).accuracy


def test_ten_skipped_files_are_named() -> None:
    note = skipped_note([(f"a/{n}\n.png", "broken") for n in range(12)])
    assert note.startswith("left out 12 unreadable pictures: a/0\n.png: broken; ")  # escaped where it is printed
    assert note.endswith("; and 2 more")


PEAK = """
import sys, threading, time
from pathlib import Path
import lenscope, lenscope.data.mapped

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) // 1024

def train(data, out):
    lenscope.train(data, out=out, progress=False, epochs=1, batch_size=500, learning_rate=1e-3, engine=sys.argv[3],
                   threads=1, validation=0.1)

def watched(data, out):
    peak, done = [0], threading.Event()
    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous())
    threading.Thread(target=watch, daemon=True).start()
    train(data, out)
    done.set()
    return peak[0]

lenscope.data.mapped.LARGE_BYTES = 2**20
small, large = sys.argv[1].split(",")
base = watched(small, sys.argv[2] + "/small")
print(base, watched(large, sys.argv[2] + "/large"))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
@pytest.mark.parametrize("engine", [FUSED, "torch"])
def test_anonymous_memory_does_not_grow_with_the_number_of_images(engine: str, tmp_path: Path) -> None:
    """120,000 images, 94 MB and 123 MB resized, compared with 12,000: labels and orders, but no copy.

    Of the 12,000 images, more are held out than an engine evaluates at a time.
    """
    rng = np.random.default_rng(0)
    for name, count in (("small", 12_000), ("large", 120_000)):
        (tmp_path / name).mkdir()
        write_idx(tmp_path / name / "train-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28), np.uint8))
        write_idx(tmp_path / name / "train-labels-idx1-ubyte", rng.integers(0, 10, count, np.uint8))
    where = f"{tmp_path / 'small'},{tmp_path / 'large'}"
    (tmp_path / "runs").mkdir()
    command = [sys.executable, "-c", PEAK, where, str(tmp_path / "runs"), engine]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    base, peak = int(told[0]), int(told[1])
    assert peak - base < 60, told
