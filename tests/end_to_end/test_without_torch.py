"""Every verb works for a LeNet on a machine without PyTorch; what needs PyTorch says so in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image

import lenscope
from lenscope.environment import install_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ABSENT = 'raise ModuleNotFoundError("No module named \'torch\'", name="torch")\n'
FEW = ("--data", "DIGITS", "--batch-size", "20")
LAB = (*FEW, "--seeds", "2", "--epochs", "1", "--processes", "2")
LENET = (
    ("train", *FEW, "--epochs", "2", "--out", "run"),
    ("train", *FEW, "--epochs", "1", "--out", "numpy", "--engine", "numpy"),
    ("train", "--resume", "run", "--epochs", "3"),
    ("verify", "run", "--replay"),
    ("verify", "numpy", "--replay"),
    ("evaluate", "run"),
    ("predict", "run", "digit.png", "--show", "steps"),
    ("plot", "run", "--kernel", "3"),
    ("report", "run"),
    ("report", "run", "numpy"),
    ("film", "run"),
    ("insight", "run", "--json"),
    ("compare", "run", "numpy"),
    ("runs", "."),
    ("summary", "--network", "lenet1998"),
    ("doctor",),
    ("data", "list"),
    ("lab", "reproduce", *LAB),
    ("lab", "race", *LAB, "--rates", "1", "--search-seeds", "1", "--validation", "20"),
    ("longrun", *LAB, "--variants", "plain"),
    ("lab", "sweep", *LAB[:2], *LAB[4:6], "--set", "batch_size=10,20", "--set", "epochs=1", "--processes", "2"),
    ("bench", "--threads", "1", "--rounds", "1", "--images", "1000"),
)
NEEDED = f"needs PyTorch, which is not installed; run: {install_command('torch')}"
WITH_TORCH = (
    (("train", *FEW, "--network", "lenet1998", "--out", "other"), "the network lenet1998"),
    (("train", *FEW, "--engine", "torch", "--out", "other"), "--engine torch"),
    (("train", *FEW, "--device", "cuda", "--out", "other"), "--device cuda"),
    (("lab", "initlab", *FEW, "--seeds", "2", "--labels", "40", "--out", "other"), "the network autoencoder"),
)


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call lenscope where importing PyTorch fails, also in the processes it starts."""
    (tmp_path / "absent" / "torch").mkdir(parents=True)
    (tmp_path / "absent" / "torch" / "__init__.py").write_text(ABSENT)
    path = os.pathsep.join(filter(None, (str(tmp_path / "absent"), os.environ.get("PYTHONPATH"))))

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lenscope", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}
        )

    return call


@pytest.mark.slow
def test_a_lenet_needs_no_pytorch_and_other_settings_say_that_they_do(call, digits: str, tmp_path: Path, mnist) -> None:
    Image.fromarray(mnist.test.images[0, 0]).save(tmp_path / "digit.png")
    for arguments in LENET:
        done = call(*(digits if word == "DIGITS" else word for word in arguments))
        assert done.returncode == 0, (arguments, done.stderr)
    run = lenscope.open_run(tmp_path / "run")
    assert run.status.state == "finished"
    assert (tmp_path / "run" / "report.html").stat().st_size > 100_000
    for arguments, what in WITH_TORCH:
        done = call(*(digits if word == "DIGITS" else word for word in arguments))
        verb = " ".join(arguments[: 2 if arguments[0] == "lab" else 1])
        assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"lenscope {verb}: {what}: {NEEDED}")
        assert not (tmp_path / "other").exists()
