"""Too little memory, too few threads, a mapped file that is cut: one line and exit code 1, and no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from lenscope import cli

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="of Linux: limits of memory, /proc/self/maps")

NO_ROOM = """
import resource, sys, numpy as np
from lenscope import native
core, images, weights = native.load(), np.zeros((64, 1, 32, 32), np.uint8), np.zeros(61_706, np.float32)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]) * 2**20,) * 2)
rule = dict(optimizer="adam", momentum=0.9, weight_decay=0.0, seed=0, augmentation=(0, 0, 0, 0, 0, 4))
def train(isa):
    trainer = core.Trainer(images, np.zeros(64, np.int64), 10, threads=64, isa=isa, **rule)
    trainer.run(weights, np.arange(64), np.array([64]), np.array([0.1]), 1, lambda: False)
def evaluate(isa):
    core.evaluate(images, weights, 10, 64, isa)
for work in (train, evaluate):
    try:
        work("baseline")
    except Exception as error:
        print(type(error).__name__, error)
"""
CUT = """
import faulthandler, os, signal, sys, numpy as np
from pathlib import Path
from lenscope import native
from lenscope.data.mapped import map_bytes
way, path = sys.argv[1], Path(sys.argv[2])
path.write_bytes(bytes(2**16))
images = np.frombuffer(map_bytes(path), np.uint8).reshape(64, 1, 32, 32)
if way == "handled":
    faulthandler.enable()
native.report_cut_files()
if way == "sent":
    os.kill(os.getpid(), signal.SIGBUS)
os.truncate(path, 4096)
if way == "in Python":
    images.sum()
native.load().evaluate(images, np.zeros(61_706, np.float32), 10, 2, "baseline")
"""


def run(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)


@LINUX
@pytest.mark.parametrize(("mebibytes", "lacks"), [(10, "memory"), (200, "Resource temporarily unavailable")])
def test_no_room_for_threads_or_their_memory_is_one_line(mebibytes, lacks):
    line = f"LenscopeError --threads 64: cannot start them ({lacks}); use fewer, or allow the process more memory"
    assert run(NO_ROOM, str(mebibytes)).stdout.splitlines() == [f"{line} and threads"] * 2


@LINUX
@pytest.mark.parametrize("way", ["in Python", "in native code"])
def test_a_mapped_file_that_is_cut_is_named_in_one_line(tmp_path, way):
    done = run(CUT, way, str(tmp_path / "pictures \x1b[31m é.bin"))
    assert (done.returncode, done.stdout) == (1, "")
    path = f"{tmp_path}/pictures ?[31m ??.bin"
    assert done.stderr == (
        f"lenscope: {path}: the file was truncated while it was being read; restore it and run the command again\n"
    )


@LINUX
@pytest.mark.parametrize("way", ["sent", "handled"])
def test_another_handler_and_a_signal_that_was_sent_are_left_alone(tmp_path, way):
    done = run(CUT, way, str(tmp_path / "pictures.bin"))
    assert done.returncode == -signal.SIGBUS
    assert "the file was truncated" not in done.stderr
    assert ("Fatal Python error" in done.stderr) == (way == "handled")


def test_a_command_out_of_memory_is_one_line(monkeypatch, capsys):
    def exhaust(*_):
        raise MemoryError("of 8 GiB")

    monkeypatch.setattr(cli, "_dispatch", exhaust)
    assert cli.main(["train"]) == 1
    message = "lenscope train: out of memory; free some memory, or raise the limit of the process\n"
    assert capsys.readouterr().err == message
