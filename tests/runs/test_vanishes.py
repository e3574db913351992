"""A directory that is moved, deleted or changed while it trains ends the run in one line, and stays so."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

import lenscope
from fixtures_runs import QUICK, Act, contents, go_on
from lenscope.errors import RunError, StorageError
from lenscope.runs import lock
from lenscope.runs.record import record_run
from lenscope.runs.run import open_run
from lenscope.training.events import Checkpoint, RunStarted, StepsDone

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOMENTS = [(RunStarted, 0), (StepsDone, 5), (Checkpoint, 9)]


class Once(Act):
    """Does it the first time only."""

    def __init__(self, act: Callable[[], object], kind=StepsDone, step: int = 0) -> None:
        def do() -> None:
            self.act = lambda: None
            act()

        super().__init__(step, do, kind)


def moved(path: Path) -> str:
    return f"^{path}: was moved or deleted while it was being written; writing has stopped: if it was moved, "


@pytest.mark.parametrize(("kind", "step"), MOMENTS)
def test_a_directory_that_is_deleted_while_it_trains_stays_so(tiny, tmp_path, kind, step) -> None:
    path = tmp_path / "runs" / "run"
    with pytest.raises(RunError, match=moved(path)):
        record_run(QUICK, tiny, path, Once(lambda: shutil.rmtree(path), kind, step))
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(("kind", "step"), MOMENTS[1:])
def test_one_that_is_moved_resumes_in_its_new_place(tiny, tmp_path, kind, step) -> None:
    record_run(QUICK, tiny, tmp_path / "lived")
    path, new = tmp_path / "runs" / "run", tmp_path / "new"
    with pytest.raises(RunError, match=moved(path)):
        record_run(QUICK, tiny, path, Once(lambda: path.rename(new), kind, step))
    assert not list((tmp_path / "runs").iterdir())
    assert contents(go_on(tiny, new).path) == contents(tmp_path / "lived")


def test_another_run_in_its_place_is_left_alone(tiny, tmp_path) -> None:
    path = tmp_path / "run"

    def replace() -> None:
        path.rename(tmp_path / "new")
        record_run(QUICK.with_settings(seed=1), tiny, path)

    with pytest.raises(RunError, match=moved(path)):
        record_run(QUICK, tiny, path, Once(replace, step=4))
    assert all(finding.sound for finding in lenscope.verify(path))
    assert (open_run(path).config.seed, open_run(path).status.state) == (1, "finished")


def test_a_link_that_is_left_in_its_place_is_as_good(tiny, tmp_path) -> None:
    path = tmp_path / "run"

    def move() -> None:
        path.rename(tmp_path / "new")
        path.symlink_to(tmp_path / "new")

    assert record_run(QUICK, tiny, path, Once(move, step=4)).status.state == "finished"


def test_a_lock_that_is_deleted_ends_the_run(tiny, tmp_path) -> None:
    with pytest.raises(RunError, match="was moved or deleted"):
        record_run(QUICK, tiny, tmp_path / "run", Once((tmp_path / "run" / lock.FILE).unlink, step=4))
    assert go_on(tiny, tmp_path / "run").status.state == "finished"


@pytest.mark.parametrize(
    ("name", "change", "kind", "step"),
    [
        ("metrics.csv", lambda path, content: path.write_bytes(content[:-1]), StepsDone, 4),
        ("film.bin", lambda path, content: path.write_bytes(content + b"x"), StepsDone, 9),
        ("losses.f32", lambda path, _: path.unlink(), Checkpoint, 9),
    ],
    ids=["cut", "longer", "deleted"],
)
def test_a_file_that_is_changed_or_deleted_while_the_run_is_trained_is_noticed(
    tiny, tmp_path, name, change, kind, step
) -> None:
    path = tmp_path / "run" / name
    with pytest.raises(RunError, match=rf"^{path}: [\d,]+ bytes, expected [\d,]+; it was changed or deleted"):
        record_run(QUICK, tiny, tmp_path / "run", Once(lambda: change(path, path.read_bytes()), kind, step))
    assert path.exists() == (name != "losses.f32")
    assert open_run(tmp_path / "run").status.state == "failed"


def test_a_folder_that_is_deleted_is_made_again_when_the_run_resumes(tiny, tmp_path) -> None:
    record_run(QUICK, tiny, tmp_path / "lived")
    path = tmp_path / "run"
    with pytest.raises(
        StorageError, match="the directory was moved or deleted; then resume with: lenscope train --res"
    ):
        record_run(QUICK, tiny, path, Once(lambda: shutil.rmtree(path / "weights"), step=4))
    run = go_on(tiny, path)
    assert run.status.state == "finished"
    assert (path / "weights" / "final.safetensors").read_bytes() == (
        tmp_path / "lived" / "weights" / "final.safetensors"
    ).read_bytes()
