"""Experiments: their runs, how they resume, their tables, and the page that is made again from tables."""

from __future__ import annotations

import shutil
import signal
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import lenscope
from disks import Dying, Killed, count_operations, in_place
from fixtures_lab import Raises, Recorded, children, config, weights, write_digits
from fixtures_runs import contents
from lenscope.config import TrainConfig
from lenscope.errors import ConfigError, Interrupted, RunError, UsageError
from lenscope.insight.findings import Findings
from lenscope.insight.operators import best_match
from lenscope.lab import catalogue
from lenscope.lab.conduct import conduct
from lenscope.lab.directory import rebuild
from lenscope.lab.execution.trials import Trial, is_done, train_trial
from lenscope.lab.experiment import Experiment
from lenscope.lab.questions.initlab import DECLARED, STARTS, Initlab
from lenscope.lab.questions.longrun import Longrun
from lenscope.lab.questions.race import OPTIMIZERS, Race, best_rate
from lenscope.lab.questions.reproduce import Reproduce
from lenscope.lab.tables.kernels import films_of, unit_rows
from lenscope.lab.tables.results import results_of
from lenscope.lab.tables.rows import collect, read_rows
from lenscope.runs.lock import FILE as LOCK
from lenscope.training.events import EpochDone

pytestmark = pytest.mark.usefixtures("no_plots")


# One run.


def test_a_trial_is_an_ordinary_run_that_is_trained_once(digits, tmp_path):
    trial, path, splits = Trial("a", config(digits, batch_size=100)), tmp_path / "a", lenscope.load(digits)
    assert not is_done(trial, path)
    train_trial(trial, path, splits)
    assert is_done(trial, path)  # although its batch was limited to the images
    assert lenscope.open_run(path).config == trial.config.with_settings(batch_size=60, validation=0)
    assert not (path / "plots").exists()
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    train_trial(trial, path, splits)
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before
    with pytest.raises(UsageError, match=r"trained with other settings \(seed = 0\); choose another --out"):
        is_done(Trial("a", config(digits, batch_size=100, seed=1)), path)


def test_a_run_that_failed_for_lack_of_memory_is_resumed(digits, tmp_path):
    class Full(Recorded):
        def __call__(self, event) -> None:
            if isinstance(event, EpochDone) and event.metrics.epoch == 1:
                raise MemoryError

        def close(self) -> None:
            pass

    trial, splits = Trial("a", config(digits, epochs=3)), lenscope.load(digits)
    with pytest.raises(MemoryError):
        train_trial(trial, tmp_path / "a", splits, Full())
    assert lenscope.open_run(tmp_path / "a").status.state == "failed"
    assert not is_done(trial, tmp_path / "a")
    train_trial(trial, tmp_path / "a", splits)
    assert is_done(trial, tmp_path / "a")
    assert len(lenscope.open_run(tmp_path / "a").metrics) == 4


def test_initial_weights_are_known_by_the_name_of_their_run_wherever_the_experiment_lies(digits, tmp_path):
    splits = lenscope.load(digits)
    train_trial(Trial("start", config(digits, epochs=1)), tmp_path / "start", splits)
    trial = Trial("a", config(digits, epochs=1, init_from=str(tmp_path / "start")))
    train_trial(trial, tmp_path / "a", splits)
    assert is_done(Trial("a", config(digits, epochs=1, init_from="elsewhere/start")), tmp_path / "a")
    with pytest.raises(UsageError, match="trained with other settings"):
        is_done(Trial("a", config(digits, epochs=1, init_from="elsewhere/other")), tmp_path / "a")


def test_units_over_three_channels_have_three_tiles_each():
    units = np.random.default_rng(0).normal(size=(6, 3 * 28 * 28)).astype(np.float32)
    weights = {"initial": {"fc1.weight": 0 * units}, "final": {"fc1.weight": units}}
    run = SimpleNamespace(weights=lambda which="final": weights[which], data=SimpleNamespace(channels=3))
    (film,) = films_of(collect(unit_rows(Trial("a", TrainConfig(epochs=2)), run, "fc1", 4)))
    assert film.epochs.tolist() == [0, 2]
    assert film.frames.shape == (2, 4, 3, 28, 28)
    np.testing.assert_allclose(film.frames[-1], units[:4].reshape(4, 3, 28, 28), rtol=1e-3)


def test_the_leftovers_of_a_killed_process_are_removed_and_nothing_else(digits, tmp_path):
    trial, path, other = Trial("a", config(digits, epochs=1)), tmp_path / "a", tmp_path / "b"
    path.mkdir()
    for left in (LOCK, ".config.toml.1384.part"):
        (path / left).touch()
    train_trial(trial, path, lenscope.load(digits))
    assert is_done(trial, path)
    other.mkdir()
    (other / "thesis.txt").touch()
    with pytest.raises(RunError, match="not a run"):
        train_trial(trial, other, lenscope.load(digits))
    assert (other / "thesis.txt").exists()


@pytest.mark.slow
def test_a_trial_resumes_from_whichever_disk_operation_it_was_killed_at(digits, tmp_path):
    trial, splits = Trial("a", config(digits, epochs=1)), lenscope.load(digits)
    for number in range(1, count_operations(lambda: train_trial(trial, tmp_path / "lived", splits)) + 1):
        path = tmp_path / str(number)
        with in_place(Dying(number)), pytest.raises(Killed):
            train_trial(trial, path, splits)
        train_trial(trial, path, splits)
        assert is_done(trial, path)
        assert contents(path) == contents(tmp_path / "lived")


# Experiments.


class Steps(Experiment):
    """A last run is needed when the first ones are done."""

    name: ClassVar[str] = "steps"
    epochs: int = 1

    def trials(self, runs):
        base = TrainConfig(data=self.data, epochs=self.epochs, batch_size=20, threads=1)
        yield [Trial(f"seed-{seed}", base.with_settings(seed=seed), {"seed": seed}) for seed in self.each_seed]
        yield [Trial("last", base.with_settings(learning_rate=1e-3), {"seed": 0}, alone=True)]

    def measure(self, runs, splits):
        return {"results": results_of(runs)}


def count_runs(_settings, tables) -> Findings:
    return Findings("Steps", "None.", (f"{len(tables['results'].names('trial'))} runs",), ())


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setitem(catalogue.EXPERIMENTS, "steps", Steps)
    monkeypatch.setitem(catalogue.FINDINGS, "steps", count_runs)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "number"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_an_interrupted_experiment_keeps_its_runs_and_resumes(digits, tmp_path, processes, number):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    experiment = Steps(data=digits, seeds="2", epochs=60)
    conduct(experiment, whole)
    with pytest.raises(Interrupted, match="run the same command again to resume") as stop:
        conduct(experiment, cut, processes=processes, progress=Raises(number))
    assert (stop.value.signal, stop.value.path) == (number, cut)
    assert children() == []
    conduct(experiment, cut, processes=processes)
    for seed in range(2):
        assert weights(whole / f"runs/seed-{seed}") == weights(cut / f"runs/seed-{seed}")


def test_an_experiment_trains_each_run_once_and_takes_more_seeds_but_no_other_settings(digits, tmp_path):
    path, recorded = tmp_path / "x", Recorded()
    assert conduct(Steps(data=digits, seeds="1"), path).conclusions == ("2 runs",)
    assert {file.name for file in path.iterdir()} == {
        "experiment.toml", "failed.csv", "plots", "report.html", "results.csv", "runs",
    }  # fmt: skip
    assert conduct(Steps(data=digits, seeds="2"), path, progress=recorded).conclusions == ("3 runs",)
    assert recorded.runs == {"seed-1"}
    rows = read_rows(path / "results.csv")
    assert rows.names("trial") == ["seed-0", "seed-1", "last"]
    assert rows.where(trial="last").numbers("learning_rate")[-1] == 1e-3
    with pytest.raises(UsageError, match=r"has an experiment with epochs = 1, got 2; choose another --out"):
        conduct(Steps(data=digits, seeds="2", epochs=2), path)
    with pytest.raises(UsageError, match="seeds = 2, got 1"):
        conduct(Steps(data=digits, seeds="1"), path)


@pytest.fixture(scope="module")
def long_run(digits, tmp_path_factory):
    """A long run of three epochs, first with one variant and then, with plots, with two; not to be changed."""
    path = tmp_path_factory.mktemp("long") / "x"
    common, recorded = {"data": digits, "seeds": "1", "epochs": 3, "batch_size": 20}, Recorded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lenscope.lab.directory._displays", lambda _: {})
        conduct(Longrun(**common, variants=("plain",)), path)
    conduct(Longrun(**common, variants=("decay", "plain")), path, progress=recorded)
    assert recorded.runs == {"decay-0"}
    return path, common


def test_a_long_run_takes_more_variants_and_no_fewer(long_run):
    path, common = long_run
    assert read_rows(path / "results.csv").names("variant") == ["decay", "plain"]
    with pytest.raises(
        UsageError, match="with variants = decay plain, got plain; keep the earlier values and add others"
    ):
        conduct(Longrun(**common, variants=("plain",)), path)


def test_the_page_is_made_again_from_the_tables_alone(long_run, tmp_path):
    for file in ("experiment.toml", *(table.name for table in long_run[0].glob("*.csv"))):
        shutil.copy(long_run[0] / file, tmp_path)
    rebuild(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == (long_run[0] / "report.html").read_bytes()
    assert {path.name for path in (long_run[0] / "plots").iterdir()} >= {"score-conv1.png", "kernels.png"}


def test_scores_of_a_long_run_are_those_of_its_film(long_run):
    film = lenscope.open_run(long_run[0] / "runs/decay-0").film
    rows = read_rows(long_run[0] / "kernels.csv").where(variant="decay", layer="conv2", epoch=3)
    kernels = film.kernels["conv2"]
    last, first, before = kernels[-1], kernels[0], kernels[list(film.steps).index(6)]
    match = best_match(last - first, "gabor")
    expected = {
        "trained_first": best_match(last, "first").scores.mean(),
        "difference_gabor": match.scores.mean(),
        "difference_gabor_rare": (match.p_values < 0.01).mean(),
        "per_epoch": np.linalg.norm(last - before) / np.linalg.norm(first),
        "change": np.linalg.norm(last - first) / np.linalg.norm(first),
    }
    for column, value in expected.items():
        assert rows.numbers(column)[0] == pytest.approx(value, rel=1e-3), column


def test_a_run_that_failed_is_named_and_excluded(digits, tmp_path, monkeypatch):
    settings = Longrun(data=digits, seeds="3", epochs=2, batch_size=20, variants=("plain",))
    trials = next(settings.trials({}))
    broken = trials[1].config.with_settings(learning_rate=1e30, optimizer="sgd")
    trials[1] = Trial(trials[1].name, broken, trials[1].tags)
    monkeypatch.setattr(Longrun, "trials", lambda *_: (own for own in [trials]))
    conclusions = conduct(settings, tmp_path / "x").conclusions
    assert conclusions[-1] == "Excluded, since the loss became NaN or infinite (1): plain-1."
    assert all("(n = 2)" in text for text in conclusions[:-1])
    assert read_rows(tmp_path / "x/results.csv").names("seed") == ["0", "2"]
    assert is_done(trials[1], tmp_path / "x/runs/plain-1")


@pytest.mark.parametrize(
    ("kind", "settings", "problem"),
    [
        (Initlab, {"labels": (100, 100)}, "labels: got 100 100, expected one or more values, each once"),
        (Initlab, {"labels": ()}, "labels: got none"),
        (Initlab, {"labels": (-1,)}, "labels"),
        (Longrun, {"variants": ("plain", "plain")}, "variants: got plain plain"),
        *((Steps, {"seeds": wrong}, "seeds: got") for wrong in ("0", "-1", "", "5..4", "a", "1..", True, 1.5, "1 000")),
    ],
)
def test_settings_outside_their_range_are_refused(kind, settings, problem):
    with pytest.raises(ConfigError, match=problem):
        kind(**settings)


@pytest.mark.parametrize(
    ("given", "expected"), [("3", range(3)), (2, range(2)), ("100..119", range(100, 120)), ("7..7", range(7, 8))]
)
def test_seeds_are_a_count_or_a_range(given, expected):
    assert Steps(seeds=given).each_seed == expected


@pytest.mark.parametrize("wrong", [{"labels": (60, 0)}, {"labels": (20, 0), "batch_size": 61}])
def test_labels_that_do_not_fit_are_refused_before_anything_is_written(digits, tmp_path, wrong):
    with pytest.raises(UsageError, match="expected"):
        conduct(Initlab(data=digits, seeds="1", **wrong), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_data_without_test_images_are_refused_before_anything_is_written(mnist, tmp_path):
    with pytest.raises(UsageError, match="no test images"):
        conduct(Steps(data=str(write_digits(tmp_path, mnist, 10, 0)), seeds="1"), tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", catalogue.EXPERIMENTS)
def test_an_experiment_without_finished_runs_says_so(tmp_path, name):
    (tmp_path / "experiment.toml").write_text(f'experiment = "{name}"\n', encoding="utf-8")
    columns = ",".join(("trial", *catalogue.EXPERIMENTS[name].compared))
    (tmp_path / "results.csv").write_text(f"{columns}\n", encoding="utf-8")
    assert rebuild(tmp_path).conclusions == ("No run finished.",)
    assert "No run finished." in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("settings", "results", "problem"),
    [
        (None, None, "not an experiment"),
        ("experiment = 'other'", None, "not an experiment"),
        ("epochs = 1", None, "not an experiment"),
        ("experiment = ['steps']", None, "not an experiment"),
        ("experiment = 'steps'\nepochs = 'many'", None, "epochs: got 'many'"),
        ("experiment = 'steps'\nhorses = 2", None, "unknown setting 'horses'"),
        ("experiment =", None, "not TOML"),
        ("experiment = 'steps'", None, "no results yet; run: lenscope lab steps --out"),
        ("experiment = 'reproduce'", "trial,epoch\na,1\n", "its tables do not fit reproduce"),
        ("experiment = 'reproduce'", "seed,epoch,test_accuracy,train_loss\n0,1,x,y\n", "its tables do not fit"),
    ],
)
def test_a_directory_that_is_not_an_experiment_is_refused(tmp_path, settings, results, problem):
    for name, content in (("experiment.toml", settings), ("results.csv", results)):
        if content is not None:
            (tmp_path / name).write_text(content)
    with pytest.raises(RunError, match=problem):
        rebuild(tmp_path)
    assert not (tmp_path / "report.html").exists()


# The experiments of the lecture.


def test_reproduce_measures_within_the_first_epoch_of_its_own_runs(digits, tmp_path):
    found = conduct(Reproduce(data=digits, seeds="2", epochs=1, batch_size=20, first_epoch_seeds=1), tmp_path / "x")
    results, first = (read_rows(tmp_path / "x" / f"{name}.csv") for name in ("results", "first-epoch"))
    assert first.names("seed") == ["0"]
    assert first.numbers("step").tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(first.numbers("test_loss")[[0, -1]], results.where(seed=0).numbers("test_loss"))
    assert len(found.sections) == 2
    assert "ecture's" not in " ".join(found.conclusions)  # other data: nothing to compare with


@pytest.mark.slow
def test_a_race_chooses_on_validation_images_and_races_alone(digits, tmp_path):
    settings = Race(data=digits, seeds="2", epochs=1, batch_size=20, rates=2, search_seeds=1, validation=20)
    found = conduct(settings, tmp_path / "x")
    results = read_rows(tmp_path / "x/results.csv")
    search, race = (results.where(stage=stage) for stage in ("search", "race"))
    assert race.names("optimizer") == list(OPTIMIZERS)
    for name in OPTIMIZERS:
        tried = search.where(optimizer=name, epoch=1)
        assert len(tried) == 2
        (chosen,) = race.where(optimizer=name).names("rate")
        best = max(tried.numbers("validation_accuracy"))
        assert tried.where(rate=float(chosen)).numbers("validation_accuracy")[0] == best
    starts = {(tmp_path / f"x/runs/{name}-0/weights/initial.safetensors").read_bytes() for name in OPTIMIZERS}
    assert len(starts) == 1
    assert {film.name for section in found.sections for film in section.films} == {f"{name}-0" for name in OPTIMIZERS}


@pytest.mark.slow
def test_every_start_is_fine_tuned_from_the_weights_of_its_autoencoder(digits, tmp_path):
    settings = Initlab(data=digits, seeds="1", labels=(20, 0), pretrain_epochs=1, batch_size=20)
    found = conduct(settings, tmp_path / "x", processes=2)
    runs = tmp_path / "x/runs"
    assert len(list(runs.iterdir())) == 7 + 2 * len(STARTS)
    for name, start in STARTS.items():
        tuned = lenscope.open_run(runs / f"{name}-20-0")
        assert tuned.data.train_images == 20
        if start.autoencoder:
            control, layers = (
                ("pytorch", ("conv1.weight", "conv2.bias"))
                if start.network == "lenet"
                else ("mlp", ("fc1.weight", "fc2.bias"))
            )
            own, learned = tuned.weights("initial"), lenscope.open_run(runs / f"pretrain-{name}-0").weights()
            assert all(np.array_equal(own[layer], learned[layer]) for layer in layers)
            random = lenscope.open_run(runs / f"{control}-20-0").weights("initial")
            np.testing.assert_array_equal(own["fc3.weight"], random["fc3.weight"])
    assert {row.name for row in found.sections[2].pictures} == {"the images", *DECLARED}
    assert {film.layer for film in found.sections[3].films} == {"fc1"}


def test_a_rate_that_fails_is_not_chosen(digits, tmp_path):
    splits = lenscope.load(digits)
    trials = [
        Trial(f"{rate}", config(digits, optimizer="sgd", learning_rate=rate, validation=20)) for rate in (1e-3, 1e30)
    ]
    for trial in trials:
        train_trial(trial, tmp_path / trial.name, splits)
    runs = {trial.name: lenscope.open_run(tmp_path / trial.name) for trial in trials}
    assert best_rate("sgd", trials, runs) == 1e-3


def test_of_equally_accurate_rates_the_one_with_the_lower_loss_is_chosen():
    trials = [Trial(f"{rate}", config("mnist", optimizer="sgd", learning_rate=rate)) for rate in (0.1, 0.2, 0.3)]
    runs = {
        trial.name: SimpleNamespace(
            status=SimpleNamespace(state="finished"),
            metrics=SimpleNamespace(validation_accuracy=[0.9], validation_loss=[loss]),
        )
        for trial, loss in zip(trials, (0.5, 0.25, 0.75), strict=True)
    }
    assert best_rate("sgd", trials, runs) == 0.2
