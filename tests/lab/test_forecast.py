"""What an experiment says before it begins: runs, epochs and time; and a beginning that trains nothing."""

from __future__ import annotations

import signal

import pytest

import lenscope
from fixtures_lab import Recorded, untimed_results
from lenscope.errors import DataError, UsageError
from lenscope.lab import Initlab, Longrun, Race, Reproduce, Sweep, conduct
from lenscope.lab.execution import pool
from lenscope.lab.forecast import Pace, forecast

pytestmark = pytest.mark.usefixtures("no_plots")
SMALL = {"batch_size": 20, "epochs": 1}


class Announced(Recorded):
    """Keeps what is announced."""

    text = ""

    def announce(self, text) -> None:
        self.text = text


def grid(digits: str, **settings: object) -> Sweep:
    return Sweep(**{"data": digits, "seeds": "2", "grid": {**SMALL, "lr": [1e-3, 1e-2]}} | settings)


# What is said.


@pytest.mark.parametrize(
    ("experiment", "runs", "epochs", "at_most"),
    [
        (Reproduce(), 20, 200, False),
        (Race(), 6 * 5 * 2 + 6 * 5, 900, False),
        (Initlab(seeds="1"), 7 + 36, 6 * 2 + 4 + 12 * (30 + 20 + 3), False),
        (Longrun(), 15, 7500, False),
        (Sweep(grid={"lr": [1e-4, 1e-3], "epochs": [1, 2]}), 20, 30, False),
        (Sweep(grid={"lr": [1e-4, 1e-3], "patience": 2}), 10, 100, True),
        (Sweep(grid={"lr": ["1e-4..1e-2"], "epochs": ["2..5"]}, search=7, seeds="3"), 21, 105, True),
        (Sweep(grid={"lr": ["1e-4..1e-2"], "epochs": 9}, search=12, halving=True, seeds="1"), 18, 42, True),
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_runs_and_epochs_are_counted_before_any_is_trained(experiment, runs, epochs, at_most):
    trials = experiment.expected_trials()
    assert (len(trials), sum(trial.config.epochs for trial in trials)) == (runs, epochs)
    assert experiment.may_end_early is at_most


def test_the_runs_of_a_race_are_those_that_were_expected(digits, tmp_path):
    race = Race(data=digits, epochs=1, batch_size=20, seeds="1", rates=1, search_seeds=1, validation=20)
    conduct(race, tmp_path / "x")
    assert {path.name for path in (tmp_path / "x/runs").iterdir()} == {one.name for one in race.expected_trials()}


def test_the_time_is_that_of_the_runs_that_are_left(digits, monkeypatch, tmp_path):
    """Two seconds per training image and one per test image, on two processes; of these three runs one is finished."""
    monkeypatch.setattr("lenscope.lab.forecast.time_training", lambda *_: Pace(2.0, 1.0))
    monkeypatch.setattr("lenscope.lab.forecast.RUN_SECONDS", 0.0)
    monkeypatch.setattr("lenscope.lab.forecast.PROCESS_SECONDS", 0.0)
    splits = lenscope.load(digits)
    conduct(Reproduce(data=digits, epochs=3, seeds="1", batch_size=20), tmp_path)
    planned = forecast(Reproduce(data=digits, epochs=3, seeds="4", batch_size=20), splits, tmp_path / "runs", 2)
    assert planned.seconds == 2 * (3 * (2 * 60 + 20) + 20)
    done = "4 runs of 3 epochs, 12 epochs in all; 1 run is finished"
    assert str(planned) == f"{done}; about 15 min on 2 processes (an epoch: about 2 min)"
    assert forecast(Reproduce(data=digits, seeds="4"), splits, tmp_path / "none", None).seconds is None


def test_a_finished_search_is_known_although_its_names_are_not(digits, tmp_path):
    search = grid(digits, search=3, seeds="1", grid={**SMALL, "lr": "1e-4..1e-2"})
    conduct(search, tmp_path / "x")
    announced = Announced()
    conduct(search, tmp_path / "x", progress=announced)
    assert announced.text == "sweep: up to 3 runs of 1 epoch, 3 epochs in all; all are finished"


def test_the_estimate_reads_no_test_image_and_changes_no_result(digits, tmp_path, monkeypatch):
    conduct(grid(digits), tmp_path / "silent")
    splits = lenscope.load(digits)
    seen = []

    def timed(_config, part, _seconds):
        seen.append(part)
        return Pace(1e-3, 1e-3)

    with monkeypatch.context() as patch:
        patch.setattr("lenscope.lab.forecast.time_training", timed)
        forecast(grid(digits), splits, tmp_path, 1)
    assert {(part.test, part.validation) for part in seen} == {(None, None)}
    announced = Announced()
    conduct(grid(digits), tmp_path / "said", progress=announced)
    assert announced.text.startswith("sweep: 4 runs of 1 epoch, 4 epochs in all; about ")
    assert untimed_results(tmp_path / "said") == untimed_results(tmp_path / "silent")


# A beginning that trains nothing.


def stops(number: int) -> type[Announced]:
    """Asks this process to stop before anything is trained."""

    class Stops(Announced):
        def expect(self, epochs, done) -> None:
            signal.raise_signal(number)

    return Stops


def test_a_failed_beginning_leaves_no_directory(digits, tmp_path, monkeypatch):
    def broken(*_):
        raise DataError("enough")

    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes").touch()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "train_trial", broken)
        for name in ("a/b", "empty", "mine"):
            with pytest.raises(DataError, match="enough"):
                conduct(grid(digits), tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "mine", "notes"]
    with pytest.raises(KeyboardInterrupt):
        conduct(grid(digits), tmp_path / "a/b", progress=stops(signal.SIGINT)())
    assert not (tmp_path / "a").exists()


def test_a_run_that_was_stopped_before_its_first_step_is_removed_with_the_settings(digits, tmp_path, monkeypatch):
    """The first evaluation is interrupted, after the run's settings and first weights have been written."""
    monkeypatch.setattr("lenscope.training.fit._measure", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt):
        conduct(grid(digits), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_beginning_whose_first_run_diverged_is_kept(digits, tmp_path, monkeypatch):
    """It has no checkpoint, and it would diverge again."""
    train = pool.train_trial

    def once(trial, path, *rest) -> None:
        if any(path.parent.iterdir()):
            raise DataError("enough")
        train(trial, path, *rest)

    monkeypatch.setattr(pool, "train_trial", once)
    with pytest.raises(DataError, match="enough"):
        conduct(grid(digits, grid={**SMALL, "optimizer": ["sgd"], "lr": [1e30, 1e31]}), tmp_path / "x")
    (run,) = (tmp_path / "x/runs").iterdir()
    assert not [*run.glob("checkpoint/*")]
    assert (tmp_path / "x/experiment.toml").exists()


def test_a_failed_extension_keeps_the_earlier_settings_and_runs(digits, tmp_path, monkeypatch):
    conduct(grid(digits), tmp_path / "x")
    before = {path: path.read_bytes() for path in (tmp_path / "x").rglob("*") if path.is_file()}
    monkeypatch.setattr(pool, "train_trial", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        conduct(grid(digits, seeds="3"), tmp_path / "x")
    assert {path: path.read_bytes() for path in (tmp_path / "x").rglob("*") if path.is_file()} == before


# Settings that do not fit a small folder.


@pytest.mark.parametrize(
    ("experiment", "problem"),
    [
        (Race(), "--validation 5000: expected to hold out 1 to 59 of the 60 training images; try --validation 12"),
        (
            Race(validation=20, batch_size=50),
            "--batch-size 50: expected at most the 40 training images; try --batch-size 40",
        ),
        (Longrun(batch_size=61), "--batch-size 61: expected at most the 60 training images; try --batch-size 60"),
        (Initlab(), "--labels 1000: expected fewer than the 60 training images; 0 is all; try --labels 0"),
        (Initlab(labels=(10, 0)), "--batch-size 100: expected at most the 60 training images; try --batch-size 60"),
        (
            Sweep(grid={"validation": [0.001]}),
            "--set validation=0.001: expected to hold out 1 to 59 of the 60 training images; try --set validation=12",
        ),
        (
            Sweep(grid={"batch_size": [10, 500]}),
            "--set batch_size=500: expected at most the 54 training images; try --set batch_size=54",
        ),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_settings_that_do_not_fit_name_the_option_and_a_value_that_does(experiment, problem, digits, tmp_path):
    with pytest.raises(UsageError) as caught:
        conduct(experiment.model_copy(update={"data": digits}), tmp_path / "x")
    assert str(caught.value) == problem
    assert not (tmp_path / "x").exists()
