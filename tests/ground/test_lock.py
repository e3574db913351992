from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lenscope.errors import RunError, StorageError
from lenscope.runs import lock

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys, time
from pathlib import Path
from lenscope.runs.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def held_elsewhere(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    return other


def test_the_second_writer_is_refused_with_the_firsts_number(tmp_path: Path) -> None:
    with lock.hold(tmp_path), pytest.raises(RunError, match=f"process {os.getpid()} writes it; wait until it ends"):
        lock.hold(tmp_path).__enter__()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    other = held_elsewhere(tmp_path)
    with pytest.raises(RunError, match=f"process {other.pid} writes it"):
        lock.hold(tmp_path).__enter__()
    other.kill()
    other.communicate()
    with lock.hold(tmp_path) as own:
        own.check()
    assert json.loads((tmp_path / lock.FILE).read_text())["process"] == os.getpid()


def test_without_the_systems_locks_the_first_writer_finds_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with lock.hold(tmp_path) as first, lock.hold(tmp_path) as second:
        second.check()
        with pytest.raises(StorageError, match=f"process {os.getpid()} writes it now; this process stops writing"):
            first.check()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"process": "x", "host": 3}', bytes(range(256)) * 8])
def test_a_broken_lock_file_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / lock.FILE).write_bytes(content)
    with lock.hold(tmp_path) as own:
        own.check()
        (tmp_path / lock.FILE).write_bytes(content)
        with pytest.raises(StorageError, match="another process"):
            own.check()


def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / lock.FILE).symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError, match="cannot be written"):
        lock.hold(tmp_path).__enter__()
    assert (tmp_path / "precious").read_text() == "kept"


def test_an_owner_on_another_machine_is_named_with_it(tmp_path: Path) -> None:
    with lock.hold(tmp_path) as own:
        (tmp_path / lock.FILE).write_text('{"process": 7, "host": "elsewhere", "token": "x"}')
        with pytest.raises(StorageError, match="process 7 on elsewhere writes it now"):
            own.check()
