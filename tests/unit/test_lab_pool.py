"""Runs shared out to processes: the same bytes, whatever is killed, and the data in memory once."""

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
from fixtures_lab import Heard, Kills, children, config, wait_for
from lenscope.errors import RunError, StorageError
from lenscope.lab.pool import Pool, Silence, work
from lenscope.lab.shared import SharedSplits, receive_splits
from lenscope.lab.trials import Trial, is_done


def train(trials: list[Trial], runs: Path, digits: str, processes: int, teller: Silence) -> None:
    with Pool(lenscope.load(digits), processes, teller) as pool:
        pool.train(trials, runs)


def weights(path: Path) -> bytes:
    return (path / "weights/final.safetensors").read_bytes()


@pytest.mark.slow
def test_two_processes_train_the_same_as_one(digits, tmp_path):
    trials = [Trial(f"seed-{seed}", config(digits, seed=seed)) for seed in range(3)]
    alone, heard = Heard(), Heard()
    train(trials, tmp_path / "one", digits, 1, alone)
    train(trials, tmp_path / "two", digits, 2, heard)
    for trial in trials:
        assert weights(tmp_path / "one" / trial.name) == weights(tmp_path / "two" / trial.name)
    assert sorted(heard.advanced) == sorted(alone.advanced)
    assert set(heard.advanced) == {(trial.name, epoch) for trial in trials for epoch in range(3)}
    again = Heard()
    train(trials, tmp_path / "two", digits, 2, again)
    assert again.expected == [({trial.name: 2 for trial in trials}, {trial.name: 2 for trial in trials})]
    assert again.advanced == []


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced_and_loses_nothing(digits, tmp_path):
    trials = [Trial(f"seed-{seed}", config(digits, seed=seed, epochs=40)) for seed in range(3)]
    train(trials, tmp_path / "one", digits, 1, Silence())
    train(trials, tmp_path / "two", digits, 2, Kills(2))
    for trial in trials:
        assert weights(tmp_path / "one" / trial.name) == weights(tmp_path / "two" / trial.name)


@pytest.mark.slow
def test_a_run_whose_process_dies_again_and_again_is_named(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("lenscope.lab.pool.DEATHS", 1)
    trials = [Trial(f"seed-{seed}", config(digits, seed=seed, epochs=4000)) for seed in range(2)]
    with pytest.raises(RunError, match=r"seed-[01]: its process died 1 times"):
        train(trials, tmp_path, digits, 2, Kills(1))
    assert children() == []


@pytest.mark.slow
def test_what_is_wrong_with_a_run_is_told_in_its_words(digits, tmp_path):
    trials = [Trial(f"seed-{seed}", config(digits, seed=seed, batch_size=2000)) for seed in range(2)]
    with pytest.raises(RunError, match=r"seed-[01]: batch_size: got 2000"):
        train(trials, tmp_path, digits, 2, Silence())
    assert children() == []


@pytest.fixture
def pipe(digits):
    """Both ends of a worker's pipe, with the data under way; what `work` does to SIGINT is undone."""
    ours, theirs = Pipe()
    before = signal.getsignal(signal.SIGINT)
    with closing(SharedSplits(lenscope.load(digits))) as shared:
        shared.send(ours, os.getpid())
    yield ours, theirs
    signal.signal(signal.SIGINT, before)


def test_a_worker_ends_when_its_pipe_does(digits, pipe, tmp_path):
    ours, theirs = pipe
    ours.send((Trial("a", config(digits, epochs=1)), tmp_path / "a"))
    thread = threading.Thread(target=_close_when_done, args=(ours,))
    thread.start()
    work(theirs)
    thread.join()
    assert is_done(Trial("a", config(digits, epochs=1)), tmp_path / "a")


def _close_when_done(pipe) -> None:
    while pipe.recv() is not None:
        pass
    pipe.close()


def test_a_worker_tells_what_is_wrong(digits, pipe, tmp_path):
    ours, theirs = pipe
    ours.send((Trial("a", config(digits, batch_size=2000)), tmp_path / "a"))
    work(theirs)
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


# The data.


def test_the_data_are_the_same_at_the_other_end_and_in_no_memory_of_their_own(tiny):
    ours, theirs = Pipe()
    shared = SharedSplits(tiny)
    shared.send(ours, os.getpid())
    got = receive_splits(theirs)
    shared.close()
    for mine, other in ((tiny.train, got.train), (tiny.test, got.test)):
        np.testing.assert_array_equal(other.images, mine.images)
        np.testing.assert_array_equal(other.labels, mine.labels)
        assert (other.sha256, other.classes, other.part) == (mine.sha256, mine.classes, mine.part)
        assert not other.images.flags.owndata
        assert not other.images.flags.writeable
    assert got.validation is None


def test_a_temporary_directory_that_is_full_is_told(tiny, monkeypatch):
    def full(self, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SharedSplits, "_append", full)
    with pytest.raises(StorageError, match="cannot be written: No space left"):
        SharedSplits(tiny)


def test_a_cache_that_is_not_there_yet_is_made_for_large_sets(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "new" / "cache"))
    monkeypatch.setattr("lenscope.data.mapped.LARGE_BYTES", 0)
    SharedSplits(tiny).close()
    assert (tmp_path / "new" / "cache").is_dir()
