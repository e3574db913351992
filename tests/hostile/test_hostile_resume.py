"""A run that was tampered with goes on within its directory or not at all, and runs no code."""

from __future__ import annotations

import json
import os
import pickle  # noqa: TID251 - to make what must never be read
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import lenscope
from fixtures_data import write_image_folder
from fixtures_runs import QUICK, begin_and_die
from lenscope.errors import LenscopeError, RunError, StorageError
from lenscope.runs.lock import hold
from lenscope.runs.manifest import Manifest, entry_of
from lenscope.runs.record import resume_run

PRECIOUS = b"the only copy"


@pytest.fixture
def path(tiny, tmp_path: Path) -> Path:
    """A run that died after its fifth step, with checkpoints after the second and the fourth."""
    begin_and_die(tiny, QUICK, tmp_path / "run", 5)
    return tmp_path / "run"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with files that look like a run's."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("000000000009.safetensors", ".x.7.part", "notes.txt"):
        (folder / name).write_bytes(PRECIOUS)
    return folder


def untouched(folder: Path) -> bool:
    return [file.read_bytes() for file in folder.iterdir()] == [PRECIOUS] * 3


def test_a_manifest_cannot_make_a_file_elsewhere_go(tiny, path: Path, elsewhere: Path) -> None:
    manifest = Manifest.from_json((path / "manifest.json").read_bytes(), "")
    manifest.static["checkpoint/../../elsewhere/notes.txt"] = entry_of(PRECIOUS)
    (path / "manifest.json").write_bytes(manifest.to_json())
    with pytest.raises(RunError, match=r"manifest\.json: not a manifest"):
        resume_run(path, tiny, QUICK)
    assert untouched(elsewhere)


@pytest.mark.parametrize("name", ["checkpoint", "weights", "losses.f32", "status.json", "checkpoint/x", ".x.7.part"])
def test_a_run_with_a_link_in_it_does_not_go_on(tiny, path: Path, elsewhere: Path, name: str) -> None:
    if (path / name).is_dir():
        shutil.rmtree(path / name)
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(elsewhere if "." not in name else elsewhere / "notes.txt")
    with pytest.raises(RunError, match=f"{path / name}: is a link; a run goes on within its directory"):
        resume_run(path, tiny, QUICK)
    assert untouched(elsewhere)


def test_what_is_not_ours_stays(tiny, path: Path) -> None:
    for name in ("checkpoint/notes.txt", "weights/mine.safetensors", ".hidden", "checkpoint/7.safetensors"):
        (path / name).write_bytes(PRECIOUS)
    resume_run(path, tiny, QUICK)
    for name in ("checkpoint/notes.txt", "weights/mine.safetensors", ".hidden", "checkpoint/7.safetensors"):
        assert (path / name).read_bytes() == PRECIOUS


@pytest.mark.parametrize("name", ["losses.f32", "metrics.csv", "film.bin", "config.toml", ".lock"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_folder_in_the_place_of_a_file_is_refused_at_once(tiny, path: Path, name: str, make) -> None:
    (path / name).unlink()
    make(path / name)
    with pytest.raises((RunError, StorageError)) as caught:
        resume_run(path, tiny, QUICK)
    assert str(caught.value).isprintable()


def test_a_device_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="replace the link"), hold(tmp_path):
        pass


class Canary:
    def __reduce__(self):
        return print, ("the canary sang",)


NAMES = ("config.toml", "environment.json", "status.json", "metrics.csv", "losses.f32", "film.json", "film.bin")
NAMES += ("weights/initial.safetensors", "checkpoint/000000000004.safetensors", "manifest.json", ".lock")


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_under_any_name_is_not_run_and_not_trusted(tiny, path: Path, name: str, capsys) -> None:
    content = pickle.dumps(Canary())
    (path / name).write_bytes(content)
    if name not in {"manifest.json", "status.json", ".lock"}:
        manifest = Manifest.from_json((path / "manifest.json").read_bytes(), "")
        table = manifest.appended if name in manifest.appended else manifest.static
        table[name] = entry_of(content)
        (path / "manifest.json").write_bytes(manifest.to_json())
    for use in (lambda: resume_run(path, tiny, QUICK), lambda: lenscope.verify(path), lambda: lenscope.evaluate(path)):
        with suppress(LenscopeError):
            use()
    assert "canary" not in "".join(capsys.readouterr())


GUARDED = """
import sys
seen = []
def hook(event, arguments):
    if event in ("pickle.find_class", "os.system", "subprocess.Popen", "socket.connect"):
        if arguments[0] != "uname":  # as `platform` asks for the processor
            seen.append((event, repr(arguments)[:200]))
sys.addaudithook(hook)
import pickle, torch
assert pickle.loads(pickle.dumps(sys.getrecursionlimit)) and seen.pop()
def refuse(*_, **__):
    raise SystemExit("torch.load or torch.save")
torch.load = torch.save = refuse
from lenscope.cli import main
seen.clear()
for arguments in (
    ["train", "--data", sys.argv[1], "--out", "run", "--epochs", "1", "--batch-size", "20"],
    ["train", "--resume", "run", "--epochs", "2"],
    ["verify", "run", "--replay"],
    ["evaluate", "run"],
    ["plot", "run"],
    ["runs", "."],
):
    assert main([*arguments, "--json"]) == 0, arguments
print(seen)
"""


@pytest.mark.slow
def test_nothing_is_pickled_or_started_from_training_to_pictures(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "data", each=30)
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, folder], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")
    assert json.loads((tmp_path / "run" / "status.json").read_bytes())["state"] == "finished"


@pytest.mark.parametrize(
    "line",
    ["import pickle", "import marshal", "import shelve", "torch.load('x')", "torch.save(1, 'x')", "numpy.load('x')"],
)
def test_a_line_that_could_unpickle_does_not_pass_the_checks(line: str) -> None:
    root = Path(__file__).parents[2]
    code = f"import numpy\nimport torch\n\n{line}\n"
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", root / "src/lenscope/runs/x.py", "-"],
        input=code, capture_output=True, text=True, check=False, cwd=root,
    )  # fmt: skip
    assert "may carry code" in done.stdout
