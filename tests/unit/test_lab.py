"""Experiments: their runs, how they are shared out, how they go on, and the page that is made again from tables."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

import lenscope
from disks import Dying, Killed, count_operations, in_place
from fixtures_lab import Heard, Raises, children, config
from fixtures_runs import contents
from lenscope.config import TrainConfig
from lenscope.data.idx import write_idx
from lenscope.errors import ConfigError, Interrupted, RunError, UsageError
from lenscope.insight.findings import Findings
from lenscope.lab.catalogue import EXPERIMENTS
from lenscope.lab.experiment import Experiment, conduct, metrics_rows, rebuild
from lenscope.lab.initlab import DECLARED, STARTS, Initlab
from lenscope.lab.kernels import films_of, unit_rows
from lenscope.lab.longrun import Longrun, spread_epochs
from lenscope.lab.race import OPTIMIZERS, Race, best_rate, rates_about
from lenscope.lab.reproduce import Reproduce
from lenscope.lab.rows import collect, read_rows
from lenscope.lab.trials import Trial, carry_out, is_done
from lenscope.runs.lock import FILE as LOCK
from lenscope.training.events import EpochDone

if TYPE_CHECKING:
    from pathlib import Path


# One run.


def test_a_trial_is_an_ordinary_run(digits, tmp_path):
    trial = Trial("a", config(digits))
    assert not is_done(trial, tmp_path / "a")
    carry_out(trial, tmp_path / "a", lenscope.load(digits))
    assert is_done(trial, tmp_path / "a")
    assert lenscope.open_run(tmp_path / "a").config == trial.config
    assert not (tmp_path / "a" / "plots").exists()


def test_one_that_is_done_is_left_as_it_is(digits, tmp_path):
    trial = Trial("a", config(digits))
    carry_out(trial, tmp_path / "a", lenscope.load(digits))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    carry_out(trial, tmp_path / "a", lenscope.load(digits))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")} == before


def test_a_run_with_other_settings_is_not_taken_for_it(digits, tmp_path):
    carry_out(Trial("a", config(digits)), tmp_path / "a", lenscope.load(digits))
    with pytest.raises(UsageError, match=r"trained with other settings than are asked for now \(seed is 0 there\)"):
        is_done(Trial("a", config(digits, seed=1)), tmp_path / "a")


def test_one_whose_batch_was_made_as_small_as_the_set_is_taken_for_it(digits, tmp_path):
    splits, trial = lenscope.load(digits), Trial("a", config(digits, batch_size=100, train_images=40))
    carry_out(trial, tmp_path / "a", splits)
    assert is_done(trial, tmp_path / "a")
    assert lenscope.open_run(tmp_path / "a").config.batch_size == 40


class Full(Heard):
    """A disk that is full after the first epoch."""

    def __call__(self, event) -> None:
        if isinstance(event, EpochDone) and event.metrics.epoch == 1:
            raise MemoryError

    def close(self) -> None:
        pass


def test_a_run_that_failed_for_want_of_memory_goes_on(digits, tmp_path):
    trial, splits = Trial("a", config(digits, epochs=3)), lenscope.load(digits)
    with pytest.raises(MemoryError):
        carry_out(trial, tmp_path / "a", splits, Full())
    assert lenscope.open_run(tmp_path / "a").status.state == "failed"
    assert not is_done(trial, tmp_path / "a")
    carry_out(trial, tmp_path / "a", splits)
    assert is_done(trial, tmp_path / "a")
    assert len(lenscope.open_run(tmp_path / "a").metrics) == 4


def test_a_start_is_known_by_its_name_wherever_the_experiment_lies(digits, tmp_path):
    splits = lenscope.load(digits)
    carry_out(Trial("start", config(digits, epochs=1)), tmp_path / "start", splits)
    trial = Trial("a", config(digits, epochs=1, init_from=str(tmp_path / "start")))
    carry_out(trial, tmp_path / "a", splits)
    assert is_done(Trial("a", config(digits, epochs=1, init_from="elsewhere/start")), tmp_path / "a")
    with pytest.raises(UsageError, match="trained with other settings"):
        is_done(Trial("a", config(digits, epochs=1, init_from="elsewhere/other")), tmp_path / "a")


def test_units_of_three_channels_are_tiles_each(tiny_colour, tmp_path):
    run = lenscope.train(tiny_colour, out=tmp_path / "a", network="mlp", epochs=1, batch_size=20, progress=False)
    (film,) = films_of(collect(unit_rows(Trial("a", run.config), run, "fc1", 4)))
    assert film.frames.shape == (2, 4, 3, 28, 28)
    np.testing.assert_allclose(film.frames[-1], run.weights()["fc1.weight"][:4].reshape(4, 3, 28, 28), rtol=1e-3)


def test_a_run_whose_loss_is_no_number_is_done(digits, tmp_path):
    trial = Trial("a", config(digits, optimizer="sgd", learning_rate=1e30))
    carry_out(trial, tmp_path / "a", lenscope.load(digits))
    assert lenscope.open_run(tmp_path / "a").status.state == "failed"
    assert is_done(trial, tmp_path / "a")


def test_what_a_killed_process_left_empty_is_taken_away_and_anything_else_is_not(digits, tmp_path):
    trial, path = Trial("a", config(digits, epochs=1)), tmp_path / "a"
    path.mkdir()
    for left in (LOCK, ".config.toml.1384.part"):
        (path / left).touch()
    carry_out(trial, path, lenscope.load(digits))
    assert is_done(trial, path)
    other = tmp_path / "b"
    other.mkdir()
    (other / "thesis.txt").touch()
    with pytest.raises(RunError, match="is no run"):
        carry_out(trial, other, lenscope.load(digits))
    assert (other / "thesis.txt").exists()


@pytest.mark.slow
def test_a_trial_goes_on_at_whichever_operation_on_the_disk_it_was_killed(digits, tmp_path):
    trial, splits = Trial("a", config(digits, epochs=1)), lenscope.load(digits)
    for number in range(1, count_operations(lambda: carry_out(trial, tmp_path / "lived", splits)) + 1):
        path = tmp_path / str(number)
        with in_place(Dying(number)), pytest.raises(Killed):
            carry_out(trial, path, splits)
        carry_out(trial, path, splits)
        assert is_done(trial, path)
        assert contents(path) == contents(tmp_path / "lived")


# Experiments.


class Steps(Experiment):
    """A second run of each seed is asked for when the first is done."""

    name: ClassVar[str] = "steps"
    epochs: int = 1
    seen: ClassVar[list[int]] = []

    def trials(self, runs):
        base = TrainConfig(data=self.data, epochs=self.epochs, batch_size=20, threads=1)
        first = [Trial(f"seed-{seed}", base.with_settings(seed=seed), {"seed": seed}) for seed in self.each_seed]
        if any(trial.name not in runs for trial in first):
            return first
        return [*first, Trial("last", base.with_settings(learning_rate=1e-3), {"seed": 0}, alone=True)]

    def measure(self, runs, splits):
        return {"results": collect(row for trial, run in runs for row in metrics_rows(trial, run))}

    def conclude(self, tables):
        told = f"{len(tables['results'].names('trial'))} runs"
        return Findings("Steps", "None.", (told,), ())


def weights(path: Path) -> bytes:
    return (path / "weights/final.safetensors").read_bytes()


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    from lenscope.lab import catalogue

    monkeypatch.setitem(catalogue.EXPERIMENTS, "steps", Steps)


class Counts(Heard):
    """Keeps which processes there are."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: set[int | None] = set()

    def advance(self, run, epoch) -> None:
        super().advance(run, epoch)
        self.processes |= {child.pid for child in children()}


@pytest.mark.slow
def test_the_processes_stay_for_what_is_asked_for_next(digits, tmp_path):
    class Rounds(Steps):
        name: ClassVar[str] = "rounds"

        def trials(self, runs):
            return [trial for trial in super().trials({}) if trial.config.seed < len(runs) + 2]

    heard = Counts()
    with pytest.raises(RunError, match="holds no experiment"):  # it is in no catalogue, so that nothing is concluded
        conduct(Rounds(data=digits, seeds="4"), tmp_path / "x", processes=2, teller=heard)
    assert len({run for run, _ in heard.advanced}) == 4
    assert len(heard.processes) == 2
    assert children() == []


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_experiment_that_is_asked_to_stop_keeps_its_runs_and_goes_on(digits, tmp_path, processes, number):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    experiment = Steps(data=digits, seeds="2", epochs=60)
    conduct(experiment, whole)
    with pytest.raises(Interrupted, match="the same command goes on") as stop:
        conduct(experiment, cut, processes=processes, teller=Raises(number))
    assert (stop.value.signal, stop.value.path) == (number, cut)
    assert children() == []
    conduct(experiment, cut, processes=processes)
    for seed in range(2):
        assert weights(whole / "runs" / f"seed-{seed}") == weights(cut / "runs" / f"seed-{seed}")


def test_an_experiment_asks_until_no_run_is_missing(digits, tmp_path):
    found = conduct(Steps(data=digits, seeds="2"), tmp_path / "x")
    assert found.conclusions == ("3 runs",)
    assert {path.name for path in (tmp_path / "x").iterdir()} == {
        "experiment.toml", "failed.csv", "plots", "report.html", "results.csv", "runs",
    }  # fmt: skip
    rows = read_rows(tmp_path / "x" / "results.csv")
    assert rows.names("trial") == ["seed-0", "seed-1", "last"]
    assert rows.where(trial="last").numbers("learning_rate")[-1] == 1e-3


def test_finished_runs_are_not_repeated_and_more_seeds_are_added(digits, tmp_path):
    conduct(Steps(data=digits, seeds="1"), tmp_path / "x")
    before = (tmp_path / "x/runs/seed-0/status.json").stat().st_mtime_ns
    heard = Heard()
    assert conduct(Steps(data=digits, seeds="2"), tmp_path / "x", teller=heard).conclusions == ("3 runs",)
    assert (tmp_path / "x/runs/seed-0/status.json").stat().st_mtime_ns == before
    assert {run for run, _ in heard.advanced} == {"seed-1"}


def test_another_experiment_is_not_put_into_the_same_directory(digits, tmp_path):
    conduct(Steps(data=digits, seeds="1"), tmp_path / "x")
    with pytest.raises(UsageError, match=r"holds an experiment with epochs = 1, got 2; choose another --out"):
        conduct(Steps(data=digits, seeds="1", epochs=2), tmp_path / "x")


def test_fewer_seeds_do_not_replace_more(digits, tmp_path):
    conduct(Steps(data=digits, seeds="2"), tmp_path / "x")
    with pytest.raises(UsageError, match="seeds = 2, got 1"):
        conduct(Steps(data=digits, seeds="1"), tmp_path / "x")


def test_a_long_run_takes_more_variants_and_no_fewer(digits, tmp_path):
    common = {"data": digits, "seeds": "1", "epochs": 1, "batch_size": 20}
    conduct(Longrun(**common, variants=("plain",)), tmp_path / "x")
    heard = Heard()
    conduct(Longrun(**common, variants=("decay", "plain")), tmp_path / "x", teller=heard)
    assert {run for run, _ in heard.advanced} == {"decay-0"}
    assert read_rows(tmp_path / "x/results.csv").names("variant") == ["decay", "plain"]
    with pytest.raises(UsageError, match="with variants = decay plain, got plain; choose another --out"):
        conduct(Longrun(**common, variants=("plain",)), tmp_path / "x")


def test_a_run_that_failed_is_named_and_left_out(digits, tmp_path, monkeypatch):
    settings = Longrun(data=digits, seeds="3", epochs=2, batch_size=20, variants=("plain",))
    trials = settings.trials({})
    broken = trials[1].config.with_settings(learning_rate=1e30, optimizer="sgd")
    trials[1] = Trial(trials[1].name, broken, trials[1].tags)
    monkeypatch.setattr(Longrun, "trials", lambda *_: trials)
    told = conduct(settings, tmp_path / "x").conclusions
    assert told[-1] == "Failed, since the loss was no number any more, and left out (1): plain-1."
    assert all("(n = 2)" in text for text in told[:-1])
    assert read_rows(tmp_path / "x/results.csv").names("seed") == ["0", "2"]


@pytest.mark.parametrize("wrong", [(), (100, 100), (-1,)])
def test_labels_are_each_once(wrong):
    with pytest.raises(ConfigError, match="labels"):
        Initlab(labels=wrong)


@pytest.mark.parametrize("wrong", [{"labels": (60, 0)}, {"labels": (20, 0), "batch_size": 61}])
def test_labels_that_do_not_fit_are_refused_before_anything_is_trained(digits, tmp_path, wrong):
    with pytest.raises(UsageError, match="expected"):
        conduct(Initlab(data=digits, seeds="1", **wrong), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_variants_are_each_once():
    with pytest.raises(ConfigError, match="variants: got plain plain"):
        Longrun(variants=("plain", "plain"))


def test_data_without_a_test_part_are_refused_before_anything_is_written(mnist, tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    write_idx(folder / "train-images-idx3-ubyte", mnist.train.images[:10, 0])
    write_idx(folder / "train-labels-idx1-ubyte", mnist.train.labels[:10])
    with pytest.raises(UsageError, match="has no test part"):
        conduct(Steps(data=str(folder), seeds="1"), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_page_is_made_again_from_the_tables_alone(digits, tmp_path):
    import shutil

    found = conduct(Longrun(data=digits, seeds="2", epochs=2, batch_size=20, variants=("plain",)), tmp_path / "x")
    page = (tmp_path / "x/report.html").read_bytes()
    for left in ("runs", "plots"):
        shutil.rmtree(tmp_path / "x" / left)
    (tmp_path / "x/report.html").unlink()
    assert rebuild(tmp_path / "x").conclusions == found.conclusions
    assert (tmp_path / "x/report.html").read_bytes() == page
    assert {path.name for path in (tmp_path / "x/plots").iterdir()} >= {"score-conv1.png", "losses.png"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_none_of_whose_runs_came_to_its_end_says_so(tmp_path, name):
    (tmp_path / "experiment.toml").write_text(f'experiment = "{name}"\n', encoding="utf-8")
    (tmp_path / "results.csv").write_text("trial,epoch\n", encoding="utf-8")
    assert rebuild(tmp_path).conclusions == ("No run came to its end.",)
    assert "No run came to its end." in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "holds no experiment"),
        ("experiment = 'other'", "holds no experiment"),
        ("epochs = 1", "holds no experiment"),
        ("experiment = ['steps']", "holds no experiment"),
        ("experiment = 'steps'\nepochs = 'many'", "epochs: got 'many'"),
        ("experiment = 'steps'\nhorses = 2", "unknown setting 'horses'"),
        ("experiment =", "not TOML"),
        ("experiment = 'steps'", "has no results yet"),
    ],
)
def test_a_directory_that_is_no_experiment_is_told_so(tmp_path, content, problem):
    if content is not None:
        (tmp_path / "experiment.toml").write_text(content)
    with pytest.raises(RunError, match=problem):
        rebuild(tmp_path)


@pytest.mark.parametrize(
    "content", ["trial,epoch\na,1\n", "trial\na\n", "seed,epoch,test_accuracy,train_loss\n0,1,x,y\n"]
)
def test_tables_of_something_else_are_told_so(tmp_path, content):
    (tmp_path / "experiment.toml").write_text("experiment = 'reproduce'")
    (tmp_path / "results.csv").write_text(content)
    with pytest.raises(RunError, match="its tables are not those of reproduce"):
        rebuild(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("given", "expected"), [("3", range(3)), (2, range(2)), ("100..119", range(100, 120)), ("7..7", range(7, 8))]
)
def test_seeds_are_a_count_or_a_range(given, expected):
    assert Steps(seeds=given).each_seed == expected


@pytest.mark.parametrize("wrong", ["0", "-1", "", "5..4", "a", "1..", True, 1.5, "1 000"])
def test_other_seeds_are_refused(wrong):
    with pytest.raises(ConfigError, match="seeds: got"):
        Steps(seeds=wrong)


# The experiments of the lecture.


def test_reproduce_measures_within_the_first_epoch_of_its_own_runs(digits, tmp_path):
    found = conduct(
        Reproduce(data=digits, seeds="2", epochs=1, batch_size=20, first_epoch_seeds=1), tmp_path / "x", processes=1
    )
    results, first = (read_rows(tmp_path / "x" / f"{name}.csv") for name in ("results", "first-epoch"))
    assert first.names("seed") == ["0"]
    assert first.numbers("step").tolist() == [0, 1, 2, 3]
    ends = results.where(seed=0)
    np.testing.assert_array_equal(first.numbers("test_loss")[[0, -1]], ends.numbers("test_loss"))
    assert len(found.sections) == 2
    assert "lecture's" not in " ".join(found.conclusions)  # other data: nothing to compare with


@pytest.mark.slow
def test_a_race_chooses_on_validation_and_races_alone(digits, tmp_path):
    settings = Race(data=digits, seeds="2", epochs=1, batch_size=20, rates=2, search_seeds=1, validation=20)
    found = conduct(settings, tmp_path / "x")
    results = read_rows(tmp_path / "x/results.csv")
    search, race = (results.where(stage=stage) for stage in ("search", "race"))
    assert race.names("optimizer") == list(OPTIMIZERS)
    for name in OPTIMIZERS:
        tried = search.where(optimizer=name, epoch=1)
        assert len(tried) == 2
        best = max(tried.numbers("validation_accuracy"))
        chosen = race.where(optimizer=name).names("rate")
        assert tried.where(rate=float(chosen[0])).numbers("validation_accuracy")[0] == best
    starts = [
        (tmp_path / "x/runs" / f"{name}-0/weights/initial.safetensors").read_bytes() for name in ("gd", "adam", "sgd")
    ]
    assert len(set(starts)) == 1
    assert {film.name for section in found.sections for film in section.films} == {f"{name}-0" for name in OPTIMIZERS}


@pytest.mark.slow
def test_every_start_is_fine_tuned_from_what_its_autoencoder_learned(digits, tmp_path):
    settings = Initlab(data=digits, seeds="1", labels=(20, 0), pretrain_epochs=1, batch_size=20)
    found = conduct(settings, tmp_path / "x", processes=2)
    runs = tmp_path / "x/runs"
    assert len(list(runs.iterdir())) == 7 + 2 * len(STARTS)
    for name, start in STARTS.items():
        tuned = lenscope.open_run(runs / f"{name}-20-0")
        assert tuned.data.train_images == 20
        own = tuned.weights("initial")
        if start.autoencoder:
            learned = lenscope.open_run(runs / f"pretrain-{name}-0").weights()
            layers = ("conv1.weight", "conv2.bias") if start.network == "lenet" else ("fc1.weight", "fc2.bias")
            assert all(np.array_equal(own[layer], learned[layer]) for layer in layers)
            last = "fc3.weight"
            control = "pytorch" if start.network == "lenet" else "mlp"
            np.testing.assert_array_equal(
                own[last], lenscope.open_run(runs / f"{control}-20-0").weights("initial")[last]
            )
    assert {row.name for row in found.sections[2].pictures} == {"the images", *DECLARED}
    assert {film.layer for film in found.sections[3].films} == {"fc1"}
    plots = {path.name for path in (tmp_path / "x/plots").iterdir()}
    assert {"kernels.png", "reconstructions.png", "fully.png", "labels-autoencoders.png"} <= plots
    conduct(settings, tmp_path / "x", processes=1)


def test_a_rate_that_fails_is_not_chosen(digits, tmp_path):
    splits = lenscope.load(digits)
    trials = [
        Trial(f"{rate}", config(digits, optimizer="sgd", learning_rate=rate, validation=20)) for rate in (1e-3, 1e30)
    ]
    for trial in trials:
        carry_out(trial, tmp_path / trial.name, splits)
    runs = {trial.name: lenscope.open_run(tmp_path / trial.name) for trial in trials}
    assert best_rate("sgd", trials, runs) == 1e-3


def test_rates_lie_half_a_power_of_ten_apart():
    assert rates_about(0.1, 5) == (0.01, 0.032, 0.1, 0.32, 1.0)


def test_epochs_are_spread_over_their_logarithm():
    assert spread_epochs(1) == {0, 1}
    epochs = sorted(spread_epochs(500))
    assert epochs[:4] == [0, 1, 2, 3]
    assert epochs[-1] == 500
    assert 20 < len(epochs) < 30


def test_longrun_scores_are_those_of_the_film(digits, tmp_path):
    from lenscope.insight.operators import best_match

    conduct(Longrun(data=digits, seeds="1", epochs=3, batch_size=20, variants=("plain", "decay")), tmp_path / "x")
    film = lenscope.open_run(tmp_path / "x/runs/decay-0").film
    rows = read_rows(tmp_path / "x/kernels.csv").where(variant="decay", layer="conv2", epoch=3)
    last, first = film.kernels["conv2"][-1], film.kernels["conv2"][0]
    assert rows.numbers("trained_first")[0] == pytest.approx(best_match(last, "first").scores.mean(), rel=1e-3)
    match = best_match(last - first, "gabor")
    assert rows.numbers("difference_gabor")[0] == pytest.approx(match.scores.mean(), rel=1e-3)
    assert rows.numbers("difference_gabor_rare")[0] == pytest.approx((match.p_values < 0.01).mean(), rel=1e-3)
    before = film.kernels["conv2"][list(film.steps).index(6)]
    moved = np.linalg.norm(last - before) / np.linalg.norm(first)
    assert rows.numbers("per_epoch")[0] == pytest.approx(moved, rel=1e-3)
    assert rows.numbers("change")[0] == pytest.approx(np.linalg.norm(last - first) / np.linalg.norm(first), rel=1e-3)
