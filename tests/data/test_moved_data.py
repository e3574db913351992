"""A run whose data have moved, or never had a place, resumes and is looked at once they are given."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import lenscope
from fixtures_data import write_digits
from fixtures_runs import QUICK, Act, Stop, contents, die
from lenscope.cli import main
from lenscope.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

GIVE = "pass the run's data with --data FOLDER, or in Python with data="


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    """A folder of IDX files without a test part."""
    return write_digits(tmp_path / "digits", replace(tiny, test=None))


@pytest.fixture
def mine(tiny):
    """Parts that were made in Python, with no place."""
    train, test = (replace(part, name="mine", source="") for part in (tiny.train, tiny.test))
    return lenscope.Splits(train, test=test)


def begin(data, out: Path, step: int = 4) -> None:
    with pytest.raises(Stop):
        lenscope.train(data, out=out, config=QUICK, progress=Act(step, die))


def test_a_run_on_a_folder_that_moved_resumes_with_it_and_knows_its_new_place(folder, tmp_path) -> None:
    lenscope.train(folder, out=tmp_path / "lived", config=QUICK, progress=False)
    begin(folder, tmp_path / "run")
    lived, moved = contents(tmp_path / "lived"), folder.rename(tmp_path / "moved")
    with pytest.raises(DataError, match=f"^{folder}: this folder does not exist any more; {GIVE}$"):
        lenscope.resume(tmp_path / "run", progress=False)
    run = lenscope.resume(tmp_path / "run", data=moved, progress=False)
    assert run.config.data == str(moved)
    found = contents(run.path)
    assert found.pop("config.toml") == lived.pop("config.toml").replace(bytes(folder), bytes(moved))
    assert found == lived
    assert all(finding.sound for finding in lenscope.verify(run, replay=True, progress=False))


def test_the_command_line_takes_them_too(folder, tmp_path, capsys) -> None:
    begin(folder, tmp_path / "run")
    run, moved = str(tmp_path / "run"), str(folder.rename(tmp_path / "moved"))
    for arguments in (["train", "--resume", run], ["verify", run, "--replay"], ["evaluate", run], ["report", run]):
        assert main(arguments) == 1
        assert capsys.readouterr().err.endswith(f": {folder}: this folder does not exist any more; {GIVE}\n")
    assert main(["train", "--resume", run, "--data", moved, "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 3
    again = folder.parent / "again"
    (tmp_path / "moved").rename(again)
    for arguments in (["verify", run, "--replay", "--quiet"], ["evaluate", run], ["plot", run], ["report", run]):
        assert main([*arguments, "--data", str(again)]) == 0, arguments


def test_a_run_on_data_of_the_users_own_resumes_and_is_verified_with_them(mine, tmp_path) -> None:
    lenscope.train(mine, out=tmp_path / "lived", config=QUICK, progress=False)
    begin(mine, tmp_path / "run")
    for use in (lenscope.resume, lambda run, **settings: lenscope.verify(run, replay=True, **settings)):
        with pytest.raises(DataError, match=f"^mine: neither a named data set nor a folder; the run was .*; {GIVE}$"):
            use(tmp_path / "run", progress=False)
        use(tmp_path / "run", data=mine, progress=False)
    assert contents(tmp_path / "run") == contents(tmp_path / "lived")
    with pytest.raises(DataError, match=GIVE):
        lenscope.evaluate(tmp_path / "run")


def test_the_runs_own_data_in_another_place_are_measured_as_in_its_own(folder, tmp_path) -> None:
    run = lenscope.train(folder, out=tmp_path / "run", config=QUICK, validation=20, progress=False)
    here = lenscope.evaluate(run)
    moved = folder.rename(tmp_path / "moved")
    there = lenscope.evaluate(run, moved)
    assert (there.split, there.accuracy, len(there.labels)) == ("validation", here.accuracy, 20)
    assert np.array_equal(there.labels, here.labels)


def test_a_name_that_no_system_takes_is_gone_in_one_line(mine, tmp_path) -> None:
    begin(replace(mine, train=replace(mine.train, name="m" * 3000)), tmp_path / "run")
    with pytest.raises(DataError, match=f"^m+: neither a named data set .*; {GIVE}$"):
        lenscope.resume(tmp_path / "run", progress=False)
