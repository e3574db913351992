"""Runs on several workers: equal bytes whatever is killed, and the data in memory once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest

import lenscope
from fixtures_lab import Kills, Recorded, children, config, wait_for, weights
from lenscope.errors import Interrupted, RunError, StorageError
from lenscope.lab.execution.pool import DEATHS, NullProgress, Pool
from lenscope.lab.execution.processes import work
from lenscope.lab.execution.ray_actors import Trainer, _marked, store
from lenscope.lab.execution.shared import SharedSplits, receive_splits
from lenscope.lab.execution.trials import Trial, is_done
from lenscope.lab.execution.worker import State

# The pool, with workers that only say what they would do.


class Fake:
    """A worker that sends messages instead of training: those of each run, by its name, those of its start first."""

    def __init__(self, messages) -> None:
        self.messages, self.given, self.threads = messages, ["start"], {}

    def give(self, trial, runs) -> None:
        self.given.append(trial.name)
        self.threads[trial.name] = trial.config.threads

    def read(self):
        message = self.messages.get(self.given[-1], [State.FREE]).pop(0)
        if callable(message):
            message = message()
        return message


class Fakes:
    """At most two such workers at a time."""

    most = 2

    def __init__(self, messages) -> None:
        self.messages, self.started, self.closed = messages, [], False

    def start(self):
        self.started.append(Fake(self.messages))
        return self.started[-1]

    def ready(self, workers):
        assert len(workers) <= self.most
        return [worker for worker in workers if self.messages.get(worker.given[-1]) != []][:1]

    def close(self) -> None:
        self.closed = True


def pool_of(messages, monkeypatch) -> tuple[Pool, Fakes]:
    fakes, pool = Fakes(messages), Pool(None, 2, Recorded())
    monkeypatch.setattr(pool, "_connect", lambda *_: fakes)
    return pool, fakes


def trials(count: int, digits: str = "any", **settings: object) -> list[Trial]:
    return [Trial(f"seed-{seed}", config(digits, seed=seed, **settings)) for seed in range(count)]


def test_workers_stay_for_the_next_runs_and_one_that_dies_is_replaced(monkeypatch, tmp_path):
    messages = {f"seed-{seed}": [1, 2, State.FREE] for seed in range(4)}
    messages["seed-1"] = [1, State.DIED, 2, State.FREE]
    pool, fakes = pool_of(messages, monkeypatch)
    pool.train(trials(2), tmp_path)
    pool.train(trials(4)[2:], tmp_path)
    assert len(fakes.started) == 3
    assert not any(messages.values())
    assert pool.progress.runs == set(messages)
    assert not fakes.closed
    pool.close()
    assert fakes.closed


@pytest.mark.parametrize(("settings", "last"), [({}, 2), ({"engine": "torch"}, 1), ({"network": "mlp"}, 1)])
def test_the_last_run_may_use_all_threads_where_its_bytes_do_not_depend_on_them(monkeypatch, tmp_path, settings, last):
    pool, fakes = pool_of({f"seed-{seed}": [State.FREE] for seed in range(3)}, monkeypatch)
    pool.train(trials(3, **settings), tmp_path)
    threads = fakes.started[0].threads | fakes.started[1].threads
    assert threads == {"seed-0": 1, "seed-1": 1, "seed-2": last}


def test_a_worker_that_does_not_start_has_no_run(monkeypatch, tmp_path):
    pool, fakes = pool_of({"start": [State.FREE], "seed-0": [State.FREE], "seed-1": [State.FREE]}, monkeypatch)
    pool.train(trials(2), tmp_path)
    assert len(fakes.started) == 2
    assert pool.progress.runs == {"seed-0", "seed-1"}


@pytest.mark.parametrize(
    ("messages", "error", "problem"),
    [
        ([*[State.DIED] * DEATHS, "tried once more"], RunError, f"seed-0: its process died {DEATHS} times"),
        (["batch_size: got 2000"], RunError, "seed-0: batch_size: got 2000"),
        ([lambda: signal.raise_signal(signal.SIGTERM) or 1], Interrupted, "completed runs are kept"),
    ],
)
def test_workers_are_ended_by_a_run_that_cannot_be_trained_and_by_a_signal(
    messages, error, problem, monkeypatch, tmp_path
):
    pool, fakes = pool_of({"seed-0": messages, "seed-1": [0] * 10}, monkeypatch)
    with pytest.raises(error, match=problem):
        pool.train(trials(2), tmp_path)
    assert fakes.closed


def test_workers_that_die_at_their_start_are_not_started_for_ever(monkeypatch, tmp_path):
    pool, fakes = pool_of({"start": [State.DIED] * 100}, monkeypatch)
    with pytest.raises(RunError, match=r"a new worker: its process died 6 times; .* each node of a cluster"):
        pool.train(trials(2), tmp_path)
    assert fakes.closed
    assert len(fakes.started) <= DEATHS * Fakes.most + 1


# Processes.


def train(trials: list[Trial], runs: Path, digits: str, processes: int, progress: NullProgress) -> None:
    with Pool(lenscope.load(digits), processes, progress) as pool:
        pool.train(trials, runs)


@pytest.mark.slow
def test_two_processes_train_the_same_as_one_whatever_is_killed(digits, tmp_path):
    one, two, again = Recorded(), Kills(2), Recorded()
    asked = trials(3, digits, epochs=40)
    train(asked, tmp_path / "one", digits, 1, one)
    train(asked, tmp_path / "two", digits, 2, two)
    for trial in asked:
        assert weights(tmp_path / "one" / trial.name) == weights(tmp_path / "two" / trial.name)
    assert set(two.advanced) == set(one.advanced) == {(trial.name, epoch) for trial in asked for epoch in range(41)}
    train(asked, tmp_path / "two", digits, 2, again)
    assert again.expected == [({trial.name: 40 for trial in asked}, {trial.name: 40 for trial in asked})]
    assert again.advanced == []
    assert children() == []


@pytest.fixture
def pipe(digits):
    """Both ends of a worker's pipe, with the data sent; restores the handler of SIGINT that `work` replaces."""
    ours, theirs = Pipe()
    before = signal.getsignal(signal.SIGINT)
    with closing(SharedSplits(lenscope.load(digits))) as shared:
        shared.send(ours, os.getpid())
    yield ours, theirs
    signal.signal(signal.SIGINT, before)


def test_a_process_ends_when_its_pipe_is_closed(digits, pipe, tmp_path):
    ours, theirs = pipe
    ours.send((Trial("a", config(digits, epochs=1)), tmp_path / "a"))

    def close_when_done() -> None:
        while ours.recv() != 1:
            pass
        assert ours.recv() is State.FREE
        ours.close()

    thread = threading.Thread(target=close_when_done)
    thread.start()
    work(theirs)
    thread.join()
    assert is_done(Trial("a", config(digits, epochs=1)), tmp_path / "a")


def test_a_process_sends_an_error_message(digits, pipe, tmp_path):
    ours, theirs = pipe
    ours.send((Trial("a", config(digits, batch_size=2000)), tmp_path / "a"))
    work(theirs)
    assert ours.recv() is State.FREE
    assert ours.recv().startswith("batch_size: got 2000")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at the processes in /proc: Linux alone")
@pytest.mark.slow
def test_the_processes_end_when_the_first_one_is_killed(digits, tmp_path):
    command = [sys.executable, "-m", "lenscope", "longrun", "--data", digits, "--seeds", "2", "--epochs", "100000"]
    first = subprocess.Popen(
        [*command, "--variants", "plain", "--batch-size", "20", "--processes", "2", "--out", str(tmp_path / "x")],
        stderr=subprocess.DEVNULL,
    )
    runs = [tmp_path / "x" / "runs" / f"plain-{seed}" for seed in range(2)]
    wait_for(lambda: all((run / "manifest.json").exists() for run in runs))
    first.kill()
    first.wait()
    wait_for(lambda: all(lenscope.open_run(run).status.state in {"interrupted", "abandoned"} for run in runs))


# Actors of Ray, without a cluster.


def test_an_actor_writes_into_the_drivers_directory_or_sends_the_files(digits, tmp_path):
    actor, here, there = Trainer(lenscope.load(digits)), tmp_path / "here", tmp_path / "there"
    here.mkdir()
    with _marked(here) as marker:
        assert actor.sees(here, marker)
        assert not actor.sees(here, "another marker")
        assert not actor.sees(there, marker)
    trial = Trial("a", config(digits))
    assert actor.train(trial, here / "a") == (None, None)
    _, files = actor.train(trial, None)
    store(files, there / "a")
    assert weights(there / "a") == weights(here / "a")
    assert all(finding.sound for finding in lenscope.verify(there / "a"))
    problem, files = actor.train(Trial("b", config(digits, batch_size=2000)), here / "b")
    assert problem.startswith("batch_size: got 2000")
    assert files is None


def test_a_file_outside_the_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="which is not a file of a run"):
        store({"../elsewhere": b""}, tmp_path / "runs" / "a")
    assert not (tmp_path / "runs" / "elsewhere").exists()


# The data.


def test_shared_data_are_equal_at_the_other_end_and_mapped_read_only(tiny):
    ours, theirs = Pipe()
    shared = SharedSplits(tiny)
    shared.send(ours, os.getpid())
    got = receive_splits(theirs)
    shared.close()
    for mine, other in ((tiny.train, got.train), (tiny.test, got.test)):
        np.testing.assert_array_equal(other.images, mine.images)
        np.testing.assert_array_equal(other.labels, mine.labels)
        assert (other.sha256, other.classes, other.split) == (mine.sha256, mine.classes, mine.split)
        assert not other.images.flags.owndata
        assert not other.images.flags.writeable
    assert got.validation is None


def test_a_full_temporary_directory_is_a_storage_error(tiny, monkeypatch):
    def full(self, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SharedSplits, "_append", full)
    with pytest.raises(StorageError, match="cannot be written: No space left"):
        SharedSplits(tiny)


def test_large_sets_are_shared_in_the_cache_which_is_made(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "new" / "cache"))
    monkeypatch.setattr("lenscope.data.mapped.LARGE_BYTES", 0)
    SharedSplits(tiny).close()
    assert (tmp_path / "new" / "cache").is_dir()
