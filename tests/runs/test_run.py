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

from fixtures_runs import plant
from lenscope.errors import LenscopeError, RunError
from lenscope.runs import run as run_module
from lenscope.runs.files.manifest import APPENDED
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


def test_the_network_has_the_weights_of_the_run(tiny_run) -> None:
    for which in ("initial", "final"):
        network = tiny_run.network(which)
        assert not network.training
        weights = {name: tensor.tolist() for name, tensor in network.state_dict().items()}
        assert weights == {name: array.tolist() for name, array in tiny_run.weights(which).items()}


def test_every_file_of_a_run_is_among_those_tested_here(tiny_run) -> None:
    files = {str(file.relative_to(tiny_run.path)) for file in tiny_run.path.rglob("*") if file.is_file()}
    assert files == set(PARTS) | set(OTHERS) | TO_GO_ON


@pytest.mark.parametrize("name", [*PARTS, *OTHERS])
def test_a_file_that_is_missing_or_changed_is_named(run: Run, name: str) -> None:
    read, file = (PARTS | OTHERS)[name], run.path / name
    content = file.read_bytes()
    if name in PARTS:  # the manifest and the status have no hash
        for changed in (content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
            file.write_bytes(changed)
            with pytest.raises(RunError, match=f"{name}: differs from the manifest; the run is broken"):
                read(Run(run.path))
        file.write_bytes(content + b"x")
        if name in APPENDED:
            read(Run(run.path))
        else:
            with pytest.raises(RunError, match=f"{name}: differs"):
                read(Run(run.path))
    file.unlink()
    for make in (lambda: None, file.mkdir):
        make()
        with pytest.raises(RunError, match=f"lacks {name}; "):
            read(Run(run.path))


def test_what_is_no_run_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, problem in (("gone", "no such run directory"), ("file", "is a file, expected a run directory")):
        with pytest.raises(RunError, match=f"{name}: {problem}; list the runs with: lenscope runs"):
            open_run(tmp_path / name)
    with pytest.raises(RunError, match=r"lacks manifest\.json; not a run directory"):
        open_run(tmp_path)


def test_a_run_is_found_by_its_path_by_its_name_or_as_the_last(tiny_run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="last: no run yet; create one with: lenscope train"):
        open_run("last")
    for number, second in enumerate((1, 3, 2), start=1):
        copy = Run(Path(shutil.copytree(tiny_run.path, Path("runs") / f"mine-00{number}")))
        set_status(copy, started=f"2026-01-01T00:00:0{second}+00:00")
    Path("runs/notes").mkdir()
    assert open_run("last").path == Path("runs/mine-002")
    assert open_run("mine-001").path == Path("runs/mine-001")
    for name, problem in {
        "mine-01": "mine-01: no run of that name; did you mean 'mine-001'\\? 'lenscope runs' lists them",
        "other": "other: no run of that name; 'lenscope runs' lists them",
        "../mine-001": "../mine-001: no such run directory",
        "notes": "runs/notes: lacks manifest",
    }.items():
        with pytest.raises(RunError, match=f"^{problem}"):
            open_run(name)
    for name in ("mine-001", "last"):
        shutil.copytree(tiny_run.path, name)
        assert open_run(name).path == Path(name)


@pytest.mark.parametrize("settings", [b"epochs = 0", b"\xff = 1"])
def test_a_config_that_cannot_be_is_a_broken_run(run: Run, settings: bytes) -> None:
    plant(run.path, "config.toml", settings)
    with pytest.raises(RunError, match=r"config\.toml: ") as caught:
        open_run(run.path)
    assert str(caught.value).isprintable()


def test_weights_of_another_network_are_refused(run: Run) -> None:
    plant(run.path, "config.toml", b'network = "lenet1998"')
    with pytest.raises(RunError, match="the weights do not match a LeNet1998"):
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
    ("name", "value"),
    [("state", None), ("why", ["x"]), ("started", 3), ("ended", {}), ("host", 3), ("process", 0), ("process", 2**31)],
)
def test_a_status_of_wrong_types_is_a_broken_run(run: Run, name: str, value: Any) -> None:
    set_status(run, state="running")
    set_status(run, **{name: value})
    with pytest.raises(RunError, match=rf"status\.json: {name} is missing or wrong; the run is broken"):
        _ = run.status
    content = json.loads((run.path / "status.json").read_bytes())
    del content[name]
    (run.path / "status.json").write_text(json.dumps(content))
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
