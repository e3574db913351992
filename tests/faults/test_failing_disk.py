"""Every disk operation fails in every way, once and permanently: nothing is corrupt, and the run can resume."""

from __future__ import annotations

import errno
import os
import random
from contextlib import suppress
from itertools import product
from shutil import rmtree
from typing import TYPE_CHECKING

import pytest

from conftest import in_full
from disks import Failing, count_operations, in_place
from fixtures_runs import begin_and_die, contents
from lenscope.config import TrainConfig
from lenscope.errors import LenscopeError, RunError, StorageError, UsageError
from lenscope.runs.record import record_run, resume_run
from lenscope.runs.resume import settings_to_resume
from lenscope.runs.run import open_run
from lenscope.runs.verify import verify_run

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.data.dataset import Splits

pytestmark = pytest.mark.slow

CONFIG = TrainConfig(epochs=2, batch_size=20, learning_rate=1e-3, checkpoint_every="2steps", threads=1)
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EINTR, None)  # None: a short write, which is not an error
CASES = in_full(60, 100_000)


def begin(splits: Splits, path: Path) -> None:
    record_run(CONFIG, splits, path)


def go_on(splits: Splits, path: Path) -> None:
    resume_run(path, splits, settings_to_resume(path))


def check_failure(error: LenscopeError, code: int, path: Path) -> None:
    """One line with path, cause and remedy, exit code 1; the directory is sound."""
    message = str(error)
    assert isinstance(error, StorageError), message
    assert message.isprintable()
    assert message.startswith(str(path))
    assert f": cannot be written: {os.strerror(code)}; " in message
    assert error.exit_code == 1
    if (path / "config.toml").exists() and ".lock" not in message:  # without the lock nothing was written
        assert f"lenscope train --resume {path}" in message
    assert_sound(path)


def assert_sound(path: Path) -> None:
    try:
        run = open_run(path)
    except RunError:  # before the first commit
        assert not (path / "manifest.json").exists()
        return
    assert not [finding for finding in verify_run(run) if not finding.sound and finding.part != "status.json"]


def finish(splits: Splits, path: Path) -> None:
    """Resume the run, or start again if nothing was written, as a user does once there is space."""
    if (path / "config.toml").exists():
        with suppress(UsageError):  # finished: only the sync of its last file failed
            go_on(splits, path)
    else:
        rmtree(path, ignore_errors=True)
        begin(splits, path)


@pytest.mark.parametrize("work", [begin, go_on])
def test_whichever_operation_fails_nothing_is_lost(tiny, tmp_path, tally, work) -> None:
    record_run(CONFIG, tiny, tmp_path / "lived")
    expected, path = contents(tmp_path / "lived"), tmp_path / "run"

    def set_up() -> None:
        rmtree(path, ignore_errors=True)
        if work is go_on:
            begin_and_die(tiny, CONFIG, path, 3)

    set_up()
    operations = count_operations(lambda: work(tiny, path))
    cases = list(product(range(1, operations + 1), ERRORS, (False, True)))
    failed = 0
    random.seed(0)
    for number, code, for_good in sorted(random.sample(cases, min(CASES, len(cases))), key=str):
        set_up()
        try:
            with in_place(Failing(number, code, for_good=for_good)):
                work(tiny, path)
        except LenscopeError as error:
            check_failure(error, code or 0, path)
            failed += 1
            finish(tiny, path)
        assert contents(path) == expected, (number, code, for_good)
    tally(
        f"disk failures as runs {work.__name__}: {min(CASES, len(cases)):,} of {len(cases):,} cases ({operations} "
        f"operations, ENOSPC, EIO, EACCES, EINTR, short write, once and permanently): {failed:,} ended in one line and "
        "resumed later; all with the bytes of an undisturbed run"
    )
