"""A run that was tampered with goes on within its directory or not at all, and runs no code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures_data import write_image_folder
from fixtures_runs import QUICK, begin_and_die
from lenscope.errors import RunError, StorageError
from lenscope.runs.lock import hold
from lenscope.runs.record import resume_run

PRECIOUS = b"the only copy"


@pytest.fixture(scope="module")
def died(tiny, tmp_path_factory) -> Path:
    """A run that died after its fifth step, with checkpoints after the second and the fourth."""
    path = tmp_path_factory.mktemp("died") / "run"
    begin_and_die(tiny, QUICK, path, 5)
    return path


@pytest.fixture
def path(died: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(died, tmp_path / "run"))


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


@pytest.mark.parametrize("name", ["checkpoint", "losses.f32", "checkpoint/x", ".x.7.part"])
def test_a_run_with_a_link_in_it_does_not_go_on(tiny, path: Path, elsewhere: Path, name: str) -> None:
    if (path / name).is_dir():
        shutil.rmtree(path / name)
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(elsewhere if "." not in name else elsewhere / "notes.txt")
    with pytest.raises(RunError, match=f"{path / name}: is a link, and a run is written within its directory"):
        resume_run(path, tiny, QUICK)
    assert untouched(elsewhere)


def test_what_is_not_ours_stays(tiny, path: Path) -> None:
    for name in ("checkpoint/notes.txt", "weights/mine.safetensors", ".hidden", "checkpoint/7.safetensors"):
        (path / name).write_bytes(PRECIOUS)
    resume_run(path, tiny, QUICK)
    for name in ("checkpoint/notes.txt", "weights/mine.safetensors", ".hidden", "checkpoint/7.safetensors"):
        assert (path / name).read_bytes() == PRECIOUS


@pytest.mark.parametrize(
    ("make", "name"),
    [(os.mkfifo, "losses.f32"), (os.mkfifo, "config.toml"), (os.mkfifo, ".lock"), (os.mkdir, "film.bin")],
)
def test_a_pipe_or_folder_in_the_place_of_a_file_is_refused_at_once(tiny, path: Path, make, name: str) -> None:
    (path / name).unlink()
    make(path / name)
    with pytest.raises((RunError, StorageError)) as caught:
        resume_run(path, tiny, QUICK)
    assert str(caught.value).isprintable()


def test_a_device_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="replace the link"), hold(tmp_path):
        pass


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


def test_lines_that_could_unpickle_do_not_pass_the_checks() -> None:
    lines = ["import pickle", "import marshal", "import shelve", "torch.load('x')", "torch.save(1, 'x')"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", root / "src/lenscope/runs/x.py", "-"],
        input="import numpy\nimport torch\n\n" + "\n".join([*lines, "numpy.load('x')"]),
        capture_output=True, text=True, check=False, cwd=root,
    )  # fmt: skip
    assert done.stdout.count("may carry code") == len(lines) + 1
