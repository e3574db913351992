"""After a loss of power, at any moment and whatever the disk kept, a run is in its old state or its new one."""

from __future__ import annotations

import random
from shutil import rmtree
from typing import TYPE_CHECKING

import pytest

from conftest import in_full
from disks import in_place
from fixtures_runs import begin_and_die, contents
from lenscope.config import TrainConfig
from lenscope.errors import RunError
from lenscope.runs.record import record_run, resume_run
from lenscope.runs.resume import settings_to_resume
from lenscope.runs.run import open_run
from lenscope.runs.verify import verify_run
from power import Platter, Remembering, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Outcome = dict[str, bytes | None]

pytestmark = pytest.mark.slow

CONFIG = TrainConfig(epochs=2, batch_size=20, learning_rate=1e-3, checkpoint_every="2steps", threads=1)
TRIED = in_full(2, 10_000)  # outcomes per moment, besides "all kept" and "all lost"
RESUMED = in_full(30, 1000)  # outcomes after which the run is resumed


def state(path: Path) -> bytes | None:
    """The manifest of a run whose files are all sound; None before its first commit."""
    try:
        run = open_run(path)
    except RunError:
        return None
    broken = [finding for finding in verify_run(run) if not finding.sound and finding.part != "status.json"]
    assert not broken, broken
    return run.committed.to_json()


class Scene:
    """A folder in which outcomes are examined, each once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states: dict[frozenset[tuple[str, bytes | None]], bytes | None] = {}

    def put(self, outcome: Outcome) -> Path:
        rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        put(outcome, self.folder)
        return self.folder / "run"

    def state(self, outcome: Outcome) -> bytes | None:
        key = frozenset(outcome.items())
        if key not in self.states:
            self.states[key] = state(self.put(outcome))
        return self.states[key]


def tried(platter: Platter) -> Iterator[Outcome]:
    every = list(platter.outcomes())
    yield from every[:1]
    yield from every[-1:]
    yield from random.sample(every[1:-1], min(TRIED, len(every[1:-1])))


def examine_every_moment(root: Path, scene: Scene, work: Callable[[], object]) -> tuple[int, list[Outcome]]:
    """The number of operations of some work on `root/run`, and all outcomes: each is the old state or the new one."""
    with in_place(Remembering(root)) as disk:
        work()
    outcomes, commits, committed = [], -1, None
    for platter in disk.platters():
        found = list(tried(platter))
        new = scene.state(found[0])
        if platter.syncs.get("run", 0) > commits:  # from here on durable
            commits, committed = platter.syncs.get("run", 0), new
        assert {scene.state(outcome) for outcome in found} <= {committed, new}
        outcomes += found
    return len(disk.steps), outcomes


def test_after_a_loss_of_power_a_run_has_its_old_or_new_state_and_resumes(tiny, tmp_path, tally) -> None:
    random.seed(0)
    scene, root = Scene(tmp_path / "scene"), tmp_path / "root"
    root.mkdir()
    first, outcomes = examine_every_moment(root, scene, lambda: record_run(CONFIG, tiny, root / "run"))
    expected = contents(root / "run")
    rmtree(root / "run")
    begin_and_die(tiny, CONFIG, root / "run", 3)
    again, more = examine_every_moment(
        root, scene, lambda: resume_run(root / "run", tiny, settings_to_resume(root / "run"))
    )
    assert contents(root / "run") == expected
    distinct = list({frozenset(outcome.items()): outcome for outcome in outcomes + more}.values())
    resumed = 0
    for outcome in random.sample(distinct, min(RESUMED, len(distinct))):
        path = scene.put(outcome)
        if "run/config.toml" in outcome and open_state(path) != "finished":
            resume_run(path, tiny, settings_to_resume(path))
            assert contents(path) == expected
            resumed += 1
    assert resumed > RESUMED / 3
    tally(
        f"power lost after each of {first} + {again} operations of a run and of a resumed one: {len(distinct):,} "
        f"outcomes, each the old state or the new one; {resumed:,} of {resumed:,} resumed to the same bytes"
    )


def open_state(path: Path) -> str:
    try:
        return open_run(path).status.state
    except RunError:
        return "no commit"
