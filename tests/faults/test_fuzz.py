"""Mutated files of every format are read, or refused with our own error, within limits of time and memory."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import in_full
from fuzz_formats import FORMATS

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")

TESTS = Path(__file__).parents[1]
FEW, FILES = 40, in_full(500, 20_000)
SECONDS = 900


def fuzz(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, cwd=TESTS, timeout=SECONDS
    )


def test_a_few_mutated_files_of_each_format_are_read_or_refused():
    done = fuzz("fuzz.py", str(FEW), "2", *FORMATS)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(" files, ")[0] for line in lines] == [f"{name}: {FEW}" for name in FORMATS]


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_every_mutated_file_is_read_or_refused(name, tally):
    done = fuzz("fuzz.py", str(FILES), "1", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}: {FILES} files, ")
    tally(done.stdout.strip())


READERS = """
import json, os, subprocess, sys, tempfile, time
from dataclasses import replace
from pathlib import Path
import fuzz
from lenscope.errors import DataError

def hide(fault):
    try:
        fault()
    except Exception:
        raise DataError("broken") from None

def report(fault):
    reads = []

    def read(root):
        reads.append(root)
        if len(reads) > 100:  # the sound files come first
            exec(fault, globals() | {"root": root})

    fuzz.FORMATS["idx"] = replace(fuzz.FORMATS["idx"], read=read)
    try:
        return fuzz.fuzz("idx", 200, 0, guard, root)
    except SystemExit as fault:
        return str(fault)

fuzz.SECONDS = 0.3
with tempfile.TemporaryDirectory() as folder:
    root = Path(folder).resolve()
    guard = fuzz.Guard(root)
    print(json.dumps([report(fault) for fault in json.loads(sys.argv[1])]))
"""
FAULTS = {
    "1 / 0": "ZeroDivisionError",
    "raise ValueError('not ours')": "ValueError",
    "raise DataError('x' * 5000)": "not one line",
    "bytes(2**30)": "MemoryError",
    "hide(lambda: bytes(2**30))": "MemoryError",
    "while True: pass": "more than 0.3 s",
    "hide(lambda: time.sleep(9))": "more than 0.3 s",
    "(root / 'new').write_bytes(b'')": "open",
    "open('/etc/hostname').read()": "open",
    "hide(lambda: os.remove(root / 'file'))": "os.remove",
    "os.mkdir(root / 'new')": "os.mkdir",
    "subprocess.run(['true'])": "subprocess.Popen",
}


@pytest.mark.slow
def test_each_forbidden_act_of_a_reader_is_reported_with_the_file():
    done = fuzz("-c", READERS, json.dumps([*FAULTS, "pass"]))
    assert done.returncode == 0, done.stderr
    *reported, sound = json.loads(done.stdout)
    for fault, what, message in zip(FAULTS, FAULTS.values(), reported, strict=True):
        first, content = message.splitlines()
        assert first.startswith("idx, case "), fault
        assert what in first, fault
        assert base64.b64decode(content), fault
    assert sound.startswith("idx: 200 files, 200 read, 0 refused")


def test_a_crash_of_a_reader_shows_in_the_exit_code():
    assert fuzz("-c", READERS, json.dumps(["os.abort()"])).returncode < 0
