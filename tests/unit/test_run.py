from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lenscope.errors import LenscopeError, RunError
from lenscope.runs import run as run_module
from lenscope.runs.run import Run, list_runs, open_run

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS: dict[str, Callable[[Run], Any]] = {
    "config.toml": lambda run: run.config,
    "environment.json": lambda run: run.environment,
    "metrics.csv": lambda run: run.metrics,
    "losses.f32": lambda run: run.losses,
    "film.json": lambda run: run.film,
    "film.bin": lambda run: run.film,
    "weights/initial.safetensors": lambda run: run.weights("initial"),
    "weights/final.safetensors": lambda run: run.weights(),
}
OTHERS: dict[str, Callable[[Run], Any]] = {
    "status.json": lambda run: run.status,
    "manifest.json": lambda run: run.metrics,
}
TO_GO_ON = {".lock", "checkpoint/000000000006.safetensors"}  # what reading does without; see test_resume.py


@pytest.fixture
def run(tiny_run, tmp_path: Path) -> Run:
    """A copy to be broken."""
    return Run(Path(shutil.copytree(tiny_run.path, tmp_path / "run")))


def set_status(run: Run, **facts: Any) -> None:
    path = run.path / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_a_finished_run_reads_as_a_whole(tiny_run) -> None:
    run = open_run(str(tiny_run.path))
    assert run.name == "tiny"
    assert (run.config.epochs, run.config.batch_size) == (2, 20)
    assert run.status.state == "finished"
    assert run.status.why is None
    assert run.status.started <= (run.status.ended or "")
    assert run.metrics.epoch.tolist() == [0, 1, 2]
    assert run.losses.shape == (6,)
    assert run.losses.dtype == np.float32
    assert run.film.steps.tolist() == [0, 1, 2, 3, 6]
    assert run.film.kernels["conv1"].shape[1:] == (6, 1, 5, 5)
    assert run.environment["engine"] == "fused"
    assert run.environment["isa"] in {"avx512", "avx2", "baseline"}
    assert run.data.classes == tuple("0123456789")
    assert run.data.image_size == (28, 28)
    assert (run.data.train_images, run.data.validation_images, run.data.test_images) == (60, 0, 20)


def test_the_film_ends_with_the_final_weights_and_begins_with_the_initial_ones(tiny_run) -> None:
    for which, number in (("initial", 0), ("final", -1)):
        weights = tiny_run.weights(which)
        assert np.array_equal(tiny_run.film.kernels["conv1"][number], weights["conv1.weight"])


@pytest.mark.parametrize("which", ["initial", "final"])
def test_the_network_has_the_weights_of_the_run(tiny_run, which: Any) -> None:
    network = tiny_run.network(which)
    assert not network.training
    weights = tiny_run.weights(which)
    assert {name: tensor.tolist() for name, tensor in network.state_dict().items()} == {
        name: array.tolist() for name, array in weights.items()
    }


def test_every_file_of_a_run_is_among_those_tested_here(tiny_run) -> None:
    files = {str(file.relative_to(tiny_run.path)) for file in tiny_run.path.rglob("*") if file.is_file()}
    assert files == set(PARTS) | set(OTHERS) | TO_GO_ON


@pytest.mark.parametrize("name", PARTS)
def test_a_flipped_byte_anywhere_is_refused_with_the_name_of_the_file(run: Run, name: str) -> None:
    content = (run.path / name).read_bytes()
    places = range(len(content)) if len(content) < 200 else np.linspace(0, len(content) - 1, 25).astype(int)
    for place in places:
        broken = bytearray(content)
        broken[place] ^= 1 << (place % 8)
        (run.path / name).write_bytes(broken)
        with pytest.raises(RunError, match=f"{name}: differs from the manifest; the file was changed after the run"):
            PARTS[name](Run(run.path))


@pytest.mark.parametrize("name", PARTS)
def test_a_truncated_file_is_refused_with_its_name(run: Run, name: str) -> None:
    content = (run.path / name).read_bytes()
    for end in {0, 1, len(content) // 2, len(content) - 1}:
        (run.path / name).write_bytes(content[:end])
        with pytest.raises(RunError, match=f"{name}: differs from the manifest"):
            PARTS[name](Run(run.path))


@pytest.mark.parametrize("name", PARTS)
def test_a_longer_file_is_refused_if_static_and_read_up_to_its_length_if_appended(run: Run, name: str) -> None:
    with (run.path / name).open("ab") as file:
        file.write(b"x")
    if name in {"metrics.csv", "losses.f32", "film.bin"}:
        PARTS[name](Run(run.path))
    else:
        with pytest.raises(RunError, match=f"{name}: differs"):
            PARTS[name](Run(run.path))


@pytest.mark.parametrize("name", [*PARTS, *OTHERS])
@pytest.mark.parametrize("instead", ["nothing", "directory"])
def test_a_missing_part_is_named(run: Run, name: str, instead: str) -> None:
    (run.path / name).unlink()
    if instead == "directory":
        (run.path / name).mkdir()
    with pytest.raises(RunError, match=f"lacks {name}; "):
        (PARTS | OTHERS)[name](Run(run.path))


def test_what_is_no_run_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("gone", "file"):
        with pytest.raises(RunError, match=f"{name}: no such run directory; 'lenscope runs' lists"):
            open_run(tmp_path / name)
    with pytest.raises(RunError, match=r"lacks manifest\.json; not a run directory"):
        open_run(tmp_path)


@pytest.mark.parametrize("settings", [b"epochs = 0", b"epochs", b"what = 1", b"\xff = 1"])
def test_a_config_that_cannot_be_is_a_broken_run(run: Run, settings: bytes, plant) -> None:
    plant(run.path, "config.toml", settings)
    with pytest.raises(RunError, match=r"config\.toml: ") as caught:
        open_run(run.path)
    assert str(caught.value).isprintable()


@pytest.fixture
def plant() -> Callable[[Path, str, bytes], None]:
    """Put a content in place and make the manifest agree with it."""
    from lenscope.runs.manifest import Manifest, entry_of

    def put(path: Path, name: str, content: bytes) -> None:
        manifest = Manifest.from_json((path / "manifest.json").read_bytes(), "")
        table = manifest.static if name in manifest.static else manifest.appended
        table[name] = entry_of(content)
        (path / name).write_bytes(content)
        (path / "manifest.json").write_bytes(manifest.to_json())

    return put


def test_weights_of_another_network_are_refused(run: Run, plant) -> None:
    plant(run.path, "config.toml", b'network = "lenet1998"')
    with pytest.raises(RunError, match="the weights are not those of a LeNet1998"):
        Run(run.path).network()


def test_a_run_whose_process_is_gone_is_abandoned(run: Run) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    set_status(run, state="running", process=gone.pid)
    assert run.status.state == "abandoned"
    set_status(run, process=os.getpid())
    assert run.status.state == "running"
    set_status(run, state="failed", process=gone.pid)
    assert run.status.state == "failed"


@pytest.mark.parametrize("where", ["another host", "another user", "no posix"])
def test_a_process_that_cannot_be_asked_after_counts_as_there(
    run: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def kill(_process: int, _signal: int) -> None:
        raise PermissionError if where == "another user" else ProcessLookupError

    owner = run_module._Owner(12345, socket.gethostname() + "x" * (where == "another host"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", kill)
        patch.setattr(os, "name", "nt" if where == "no posix" else "posix")
        assert run_module._alive(owner)


@pytest.mark.parametrize(
    "facts",
    [
        {"state": None},
        {"why": ["x"]},
        {"started": 3},
        {"ended": {}},
        *(
            {"state": "running", "process": process}
            for process in (None, "x", 0, -1, 2**31, 10**30, 1.5, float("inf"), float("nan"), [1])
        ),
        {"state": "running", "host": 3},
    ],
    ids=str,
)
def test_a_status_of_wrong_types_is_a_broken_run(run: Run, facts: dict[str, Any]) -> None:
    set_status(run, **facts)
    with pytest.raises(RunError, match=rf"status\.json: {list(facts)[-1]} is missing or wrong; the run is broken"):
        _ = run.status


@pytest.mark.parametrize("name", ["state", "why", "started", "ended"])
def test_a_status_without_a_fact_is_a_broken_run(run: Run, name: str) -> None:
    path = run.path / "status.json"
    facts = json.loads(path.read_text())
    del facts[name]
    path.write_text(json.dumps(facts))
    with pytest.raises(RunError, match=f"{name} is missing or wrong"):
        _ = run.status


def test_runs_are_listed_by_name_and_the_broken_ones_with_what_they_lack(run: Run, tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        shutil.copytree(run.path, tmp_path / "runs" / name)
    (tmp_path / "runs" / "a" / "status.json").unlink()
    (tmp_path / "runs" / "c" / "config.toml").unlink()
    (tmp_path / "runs" / "empty").mkdir()
    (tmp_path / "runs" / "file").touch()
    first, second, third = list_runs(tmp_path / "runs")
    assert isinstance(first, LenscopeError)
    assert "lacks status.json" in str(first)
    assert isinstance(second, Run)
    assert second.name == "b"
    assert "lacks config.toml" in str(third)
    assert list_runs(tmp_path / "gone") == []
