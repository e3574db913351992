from __future__ import annotations

import errno
import json
import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import lenscope
from disks import Dying, Failing, Killed, count_operations, in_place
from fixtures_runs import contents
from lenscope.config import TrainConfig
from lenscope.errors import RunError, StorageError, UsageError
from lenscope.runs import record, recorder
from lenscope.runs.files.checkpoint import newest_sound
from lenscope.runs.lock import Lock
from lenscope.runs.recorder import Recorder, claim_directory
from lenscope.runs.run import open_run
from lenscope.training.events import (
    Checkpoint,
    EpochDone,
    Event,
    RunFinished,
    RunStarted,
    RunStopped,
    Snapshot,
    StepsDone,
)
from lenscope.training.fit import fit

if TYPE_CHECKING:
    from pathlib import Path


class Unlocked(Lock):
    """No other process is about."""

    def __init__(self) -> None:
        pass

    def check(self) -> None:
        pass


UNLOCKED = Unlocked()


@pytest.fixture(scope="module")
def events(tiny) -> list[Event]:
    """All that training tells in two epochs of three steps."""
    config = TrainConfig(epochs=2, batch_size=20, learning_rate=1e-3, checkpoint_every="1")
    sized = tiny.resized(32)
    network = lenscope.Network("lenet")
    engine = lenscope.NumpyEngine(network, lenscope.initial_weights(network, 0), sized.train, config)
    return list(fit(config, sized, engine))


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def committed(events: list[Event]) -> list[Event]:
    """The events up to the last that makes what was before it count."""
    ends = [place for place, event in enumerate(events) if isinstance(event, RunStarted | EpochDone | RunFinished)]
    return events[: ends[-1] + 1]


def assert_holds(path: Path, events: list[Event]) -> None:
    """Whether a run directory tells exactly what these events told."""
    run = open_run(path)
    rows = [event.metrics for event in events if isinstance(event, EpochDone)]
    assert run.metrics.rows() == rows
    losses = [event.losses for event in events if isinstance(event, StepsDone)]
    assert run.losses.tolist() == np.concatenate([*losses, []]).tolist()
    shots = [event for event in events if isinstance(event, Snapshot)]
    if shots:
        assert run.film.steps.tolist() == [shot.step for shot in shots]
        for number, shot in enumerate(shots):
            for name, kernel in shot.kernels.items():
                assert np.array_equal(run.film.kernels[name][number], kernel)
    ended = [event for event in events if isinstance(event, RunFinished)]
    if ended:
        assert_same_weights(run.weights("final"), ended[0].weights)
        assert run.status.state == "finished"
    else:
        with pytest.raises(RunError, match=r"lacks weights/final\.safetensors; the run did not get so far"):
            run.weights("final")
        assert run.status.state == "running"


def assert_same_weights(got: dict, expected: dict) -> None:
    assert got.keys() == expected.keys()
    assert all(np.array_equal(got[name], expected[name]) for name in expected)


@pytest.mark.usefixtures("no_sync")
def test_after_every_event_the_directory_holds_all_up_to_the_last_finished_epoch(
    tmp_path: Path, events: list[Event]
) -> None:
    keeper = Recorder(tmp_path, {"some": "fact"}, UNLOCKED)
    with pytest.raises(RunError, match=r"lacks manifest\.json; not a run directory, or its run had not started"):
        open_run(tmp_path)
    for count, event in enumerate(events, start=1):
        keeper.record(event)
        assert_holds(tmp_path, committed(events[:count]))
        assert_same_weights(open_run(tmp_path).weights("initial"), events[0].weights)  # type: ignore[union-attr]
    assert open_run(tmp_path).environment == {"some": "fact"}


@pytest.mark.usefixtures("no_sync")
def test_what_lies_beyond_the_committed_length_is_ignored(tmp_path: Path, events: list[Event]) -> None:
    keeper = Recorder(tmp_path, {}, UNLOCKED)
    for event in events[:-1]:
        keeper.record(event)
    for name in ("metrics.csv", "losses.f32", "film.bin"):
        with (tmp_path / name).open("ab") as file:
            file.write(b"9,1,1,1,1,1,1,1,1,1,1\n")
    assert_holds(tmp_path, committed(events[:-1]))


@pytest.mark.usefixtures("no_sync")
def test_a_checkpoint_written_again_at_its_step_is_sound_at_every_moment(tmp_path: Path, events: list[Event]) -> None:
    kept = next(event for event in events if isinstance(event, Checkpoint))
    again = replace(kept, position=replace(kept.position, done=kept.position.done + 1))
    number = finished = 0
    while not finished:
        path, number = tmp_path / str(number), number + 1
        path.mkdir()
        keeper = Recorder(path, {}, UNLOCKED)
        for event in (events[0], kept):
            keeper.record(event)
        with suppress(Killed), in_place(Dying(number)):
            keeper.record(again)
            finished = number
        found, problems = newest_sound(path, open_run(path).committed)
        assert problems == []
        assert found is not None
        assert found.position in ((again.position,) if finished else (kept.position, again.position))
    assert finished > 10


def drive(path: Path, events: list[Event]) -> None:
    """Record as `record_run` does."""
    path.mkdir()
    recorder = Recorder(path, {}, UNLOCKED)
    try:
        for event in events:
            recorder.record(event)
    except StorageError as error:
        recorder.give_up(error)
        raise


@pytest.mark.usefixtures("no_sync")
def test_a_disk_that_fills_at_any_moment_leaves_a_directory_that_opens_up_to_then(
    tmp_path: Path, events: list[Event]
) -> None:
    rows = [event.metrics for event in events if isinstance(event, EpochDone)]
    operations = count_operations(lambda: drive(tmp_path / "whole", events))
    got = []
    for number in range(1, operations + 1, 4):
        path, for_good = tmp_path / str(number), bool(number % 8 == 1)
        with (
            in_place(Failing(number, errno.ENOSPC, for_good=for_good)),
            pytest.raises(StorageError, match="No space left on device"),
        ):
            drive(path, events)
        if not (path / "manifest.json").exists():
            continue
        run = open_run(path)
        done = run.metrics.rows()
        assert done == rows[: len(done)]
        assert len(run.losses) == 3 * max(0, len(done) - 1)
        if not for_good:
            assert not [file for file in path.rglob("*") if file.name.endswith(".part")]
            assert run.status.state == "failed"
            assert "No space left" in (run.status.why or "")
        got.append(len(done))
    assert got == sorted(got)
    assert set(got) == {0, 1, 2, 3}


@pytest.mark.usefixtures("no_sync")
def test_giving_up_says_why_unless_the_end_is_told_already(tmp_path: Path, events: list[Event]) -> None:
    for state, error in (("failed", ValueError("a reason")), ("interrupted", KeyboardInterrupt())):
        path = tmp_path / state
        path.mkdir()
        keeper = Recorder(path, {}, UNLOCKED)
        keeper.record(events[0])
        keeper.give_up(error)
        status = open_run(path).status
        assert (status.state, status.why) == (state, str(error))
        assert status.ended is not None
    keeper.record(events[-1])
    keeper.give_up(ValueError("late"))
    assert open_run(path).status.state == "finished"


@pytest.mark.usefixtures("no_sync")
@pytest.mark.parametrize(("error", "state"), [(None, "interrupted"), (ValueError("x"), "failed")])
def test_a_run_that_was_stopped_keeps_its_weights_and_all_its_steps(
    tmp_path: Path, events: list[Event], error: Exception | None, state: str
) -> None:
    keeper = Recorder(tmp_path, {}, UNLOCKED)
    end = events[-1]
    assert isinstance(end, RunFinished)
    until = next(place for place, event in enumerate(events) if isinstance(event, StepsDone)) + 1
    for event in events[:until]:
        keeper.record(event)
    keeper.record(RunStopped(1, end.weights, "the reason", error))
    run = open_run(tmp_path)
    assert (run.status.state, run.status.why) == (state, "the reason")
    assert len(run.losses) == 1
    assert_same_weights(run.weights(), end.weights)


@pytest.mark.usefixtures("no_sync")
def test_names_that_are_no_utf8_can_be_kept(tmp_path: Path, events: list[Event]) -> None:
    keeper = Recorder(tmp_path, {"source": os.fsdecode(b"/data/\xff"), "name": "Füße"}, UNLOCKED)
    keeper.record(events[0])
    assert open_run(tmp_path).environment == {"source": "/data/?", "name": "Füße"}
    assert "Füße" in (tmp_path / "environment.json").read_text(encoding="utf-8")


def test_the_status_names_its_owner_and_its_times_in_utc(tmp_path: Path, events: list[Event]) -> None:
    Recorder(tmp_path, {}, UNLOCKED).record(events[0])
    status = json.loads((tmp_path / "status.json").read_bytes())
    assert status["process"] == os.getpid()
    assert status["state"] == "running"
    assert status["ended"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", status["started"])


def test_run_directories_number_themselves(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    names = [claim_directory(None, "mnist-lenet", root).name for _ in range(2)]
    assert names == ["mnist-lenet-001", "mnist-lenet-002"]
    for name in ("mnist-lenet-0041", "mnist-lenet-x", "mnist-lenet-", "other-lenet-090"):
        (root / name).mkdir()
    assert claim_directory(None, "mnist-lenet", root).name == "mnist-lenet-042"
    (root / "mnist-lenet-999").touch()
    assert claim_directory(None, "mnist-lenet", root).name == "mnist-lenet-1000"


@pytest.mark.parametrize("stem", ["a[1]-lenet", "*"])
def test_any_name_of_data_can_be_numbered(tmp_path: Path, stem: str) -> None:
    (tmp_path / f"{stem}-007").mkdir()
    assert claim_directory(None, stem, tmp_path) == tmp_path / f"{stem}-008"


def test_a_quicker_run_takes_the_number_and_the_next_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quicker(path: Path, *, exist_ok: bool = False) -> None:
        if path.name in {"some-001", "some-002"}:
            path.mkdir()
        path.mkdir(exist_ok=exist_ok, parents=True)

    monkeypatch.setattr(recorder, "make_directory", quicker)
    assert claim_directory(None, "some", tmp_path).name == "some-003"


def test_an_out_that_exists_is_a_file_or_cannot_be_made_is_refused(tmp_path: Path) -> None:
    assert claim_directory(tmp_path / "a" / "b", "some") == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--out .*: already exists; choose another name, or delete it first"):
        claim_directory(tmp_path, "some")
    with pytest.raises(UsageError, match="file: is a file"):
        claim_directory(tmp_path / "file", "some")
    with pytest.raises(StorageError, match="below: cannot be written: Not a directory"):
        claim_directory(tmp_path / "file" / "below", "some")
    with pytest.raises(StorageError, match="File name too long"):
        claim_directory(tmp_path / ("x" * 300), "some")


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(tiny, tiny_run, tmp_path: Path) -> None:
    again = record.record_run(tiny_run.config, tiny, tmp_path / "again")
    assert contents(again.path) == contents(tiny_run.path)
    files = {file.relative_to(again.path) for file in again.path.rglob("*")}
    assert files == {file.relative_to(tiny_run.path) for file in tiny_run.path.rglob("*")}
    other = record.record_run(tiny_run.config.with_settings(seed=1), tiny, tmp_path / "other")
    assert other.losses.tolist() != tiny_run.losses.tolist()
