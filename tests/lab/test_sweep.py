"""A sweep: its runs and their names, its tables and findings, how it resumes, and its search."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_lab_findings import WOBBLE, written

import lenscope
from conftest import in_full
from fixtures_lab import Raises, Recorded, untimed_results, write_digits
from lenscope.cli import main
from lenscope.cli.lab import Sweep as SweepCommand
from lenscope.config import TrainConfig
from lenscope.errors import ConfigError, Interrupted, UsageError
from lenscope.lab import Race, Sweep, conduct, rebuild
from lenscope.lab.questions.search import rungs
from lenscope.lab.questions.sweep import mark
from lenscope.lab.questions.sweep_findings import sweep_findings
from lenscope.lab.tables.rows import Rows, collect, read_rows

pytestmark = pytest.mark.usefixtures("no_plots")
SMALL = {"batch_size": 20, "epochs": 1}


def small(digits: str, **settings: object) -> Sweep:
    """Four settings with two seeds on sixty images, of which six are held out."""
    return Sweep(
        **{"data": digits, "seeds": "2", "grid": {**SMALL, "optimizer": ["adam", "sgd"], "lr": [1e-3, 1e-2]}} | settings
    )


def trials_of(sweep: Sweep):
    return next(sweep.trials({}))


# Runs.


def test_there_is_a_run_for_every_combination_and_seed_named_by_its_settings(digits):
    trials = trials_of(small(digits))
    assert len(trials) == len({trial.name for trial in trials}) == 8
    assert [trial.tags["config.optimizer"] for trial in trials[:4]] == ["adam"] * 4
    assert {(trial.config.validation, trial.config.threads) for trial in trials} == {(0.1, 1)}
    assert trials[0].tags["setting"] == "optimizer=adam, learning_rate=0.001"
    assert {trial.config.seed for trial in trials} == {0, 1}
    config = trials[0].config
    assert mark(config) == trials[0].name
    assert mark(config) == mark(TrainConfig(**config.model_dump(exclude_defaults=True)))  # a later default is no change
    assert mark(config.with_settings(data="elsewhere/" + digits.rpartition("/")[2])) == trials[0].name
    assert mark(config.with_settings(seed=7)) != trials[0].name


def test_of_one_setting_nothing_is_held_out_and_validation_may_be_given(digits):
    (trial,) = trials_of(Sweep(data=digits, seeds="1", grid=SMALL))
    assert (trial.config.validation, trial.tags["setting"]) == (0, "all alike")
    given = small(digits, grid={**SMALL, "lr": [1e-3, 1e-2], "validation": 20})
    assert {trial.config.validation for trial in trials_of(given)} == {20}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"grid": {"lr": ["1e-4..1e-2"]}}, "got a range, which requires a search"),
        ({"grid": {"lr": [1e-3]}, "each": [{"lr": 1e-2}]}, "learning_rate: given in the grid and in the list"),
        ({"each": [{"rate": 1}]}, "unknown setting 'rate'"),
        ({"search": 3}, "got no settings to search"),
        ({"search": 3, "grid": {"lr": [1.0]}, "each": [{"epochs": 1}]}, "omit the list"),
        ({"halving": True}, "halving: requires a search"),
        ({"grid": {"lr": list(range(1, 2000)), "epochs": list(range(1, 2000))}}, "expected at most 1,000,000 runs"),
        ({"grid": {"skip_unreadable": [True, False]}}, "must be equal for all runs"),
        ({"grid": {"fit": ["pad", "crop"]}}, "fit: must be equal for all runs"),
        ({"search": 3, "halving": True, "grid": {"epochs": [1, 3]}}, "epochs: got several values"),
        ({"search": 3, "halving": True, "grid": {"epochs": "1..3"}}, "epochs: got several values"),
        ({"search": 3, "halving": True, "grid": {"recipe": ["lecture", "best"]}}, "the recipes differ in it"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, problem):
    with pytest.raises(ConfigError, match=problem):
        Sweep(**settings)


@pytest.mark.parametrize(
    ("settings", "error", "problem"),
    [
        ({"grid": {"lr": [1e-3, -1.0]}}, ConfigError, "learning_rate: got -1"),
        ({"grid": {"lr": [1, 1.0]}}, UsageError, "got the same settings 2 times"),
        ({"grid": {"network": ["lenet", "autoencoder"]}}, UsageError, "got autoencoder, which has no accuracy"),
        (
            {"grid": {"lr": [1e-4 + number / 3e7 for number in range(1, 450)]}},
            UsageError,
            "take .* characters, expected at",
        ),
        ({"grid": {**SMALL, "validation": [0, 20]}}, UsageError, "validation: got 0 and 20, but settings are compared"),
        (
            {"search": 3, "grid": {"lr": "1e-4..1e-1", "validation": 0}},
            UsageError,
            "a search requires validation images",
        ),
        (
            {"search": 3, "grid": {"network": ["lenet", "lenet1998"], "init": ["pytorch", "he"]}},
            ConfigError,
            "lenet1998 has initial weights of its own",
        ),
    ],
)
def test_settings_that_cannot_be_trained_are_refused_before_anything_is_written(
    settings, error, problem, digits, tmp_path
):
    with pytest.raises(error, match=problem):
        conduct(small(digits, **settings), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_data_with_a_validation_part_of_their_own_are_compared_on_it(tiny, digits):
    splits = lenscope.Splits(tiny.train, tiny.test, tiny.test)
    with pytest.raises(UsageError, match=r"held out; add --set validation=0 to compare on it$"):
        small(digits).check(splits)
    small(digits, grid={**SMALL, "lr": [1e-3, 1e-2], "validation": [0]}).check(splits)
    with pytest.raises(UsageError, match=r"^validation: .*; move its pictures to train$"):
        Race(data=digits, validation=20).check(splits)


def test_without_test_images_settings_are_compared_on_what_is_held_out(mnist, tmp_path):
    data = str(write_digits(tmp_path, mnist, 60, 0))
    found = conduct(small(data), tmp_path / "x")
    assert [text.partition(":")[0].partition(" (")[0] for text in found.conclusions] == [
        "Best validation accuracy",
        "Best minus second best",
    ]
    assert found.question.endswith(" 2 seeds each. The best is chosen on validation images. There are no test images.")
    assert found.sections[0].lead.endswith("its validation accuracy is biased upwards.")
    assert found.sections[0].tables[0].header == ("setting", "n", "validation accuracy", "95 % interval")
    with pytest.raises(UsageError, match="no test images, on which"):
        conduct(small(data, grid=SMALL), tmp_path / "y")


def test_the_data_are_read_as_the_grid_says_for_all_runs_alike(tmp_path, monkeypatch):
    asked = []

    def load(*_names, **options):
        asked.append({name: value for name, value in options.items() if name != "data_dir"})
        raise UsageError("enough")

    monkeypatch.setattr("lenscope.api.load", load)
    for grid in ({"lr": [1e-3]}, {"skip_unreadable": [True], "fit": ["crop"]}):
        with pytest.raises(UsageError, match="enough"):
            conduct(Sweep(grid=grid), tmp_path / "x")
    assert asked == [{}, {"skip_unreadable": True, "fit": "crop"}]


# Results.


@pytest.fixture(scope="module")
def swept(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep"
    return path, conduct(small(digits), path)


def test_results_have_a_column_for_each_setting_that_varies(swept):
    path, findings = swept
    results = read_rows(path / "results.csv")
    columns = ["trial", "setting", "config.optimizer", "config.learning_rate", "epochs", "seed"]
    assert list(results.cells[0])[:6] == columns
    assert len(results) == 8 * 2
    assert results.names("config.learning_rate") == ["0.001", "0.01"]
    assert rebuild(path).conclusions == findings.conclusions


def test_a_sweep_that_was_interrupted_ends_as_one_that_was_not(digits, swept, tmp_path):
    with pytest.raises(Interrupted):
        conduct(small(digits), tmp_path / "cut", progress=Raises(15))
    done = {path.name for path in (tmp_path / "cut" / "runs").iterdir()}
    assert 0 < len(done) < 8
    conduct(small(digits), tmp_path / "cut")
    assert untimed_results(tmp_path / "cut") == untimed_results(swept[0])


def test_another_grid_is_refused_unless_it_has_all_runs_of_the_earlier_one(digits, swept, tmp_path):
    """More values, more seeds, and a setting whose default is among its values."""
    with pytest.raises(UsageError, match=r"has an experiment with grid = batch_size=20 .*; keep the earlier values"):
        conduct(small(digits, grid={**SMALL, "lr": [1e-1, 1e-2]}), swept[0])
    conduct(small(digits, seeds="1", grid=SMALL), tmp_path / "one")
    with pytest.raises(UsageError, match="settings are compared on held-out images, and a single one has none; choose"):
        conduct(small(digits, seeds="1"), tmp_path / "one")
    shutil.copytree(swept[0], tmp_path / "x")
    recorded = Recorded()
    grid = {**SMALL, "optimizer": ["adam", "sgd"], "lr": [1e-3, 1e-2], "init": ["he", "pytorch"]}
    conduct(small(digits, seeds="3", grid=grid), tmp_path / "x", progress=recorded)
    earlier = {trial.name for trial in trials_of(small(digits))}
    assert len(recorded.runs) == 24 - len(earlier)
    assert not recorded.runs & earlier
    assert set(read_rows(tmp_path / "x/results.csv").names("trial")) == recorded.runs | earlier


# Findings.


def results_of(rights: dict[str, float], held: bool = True, epochs: tuple[int, ...] = (1,)) -> Rows:
    """Five seeds of each setting about one mean, two epochs each."""
    rows = []
    for (name, right), asked in product(rights.items(), epochs):
        for seed, wobble in enumerate(WOBBLE):
            for epoch in (0, 1):
                accuracy = 0.1 if epoch == 0 else right + wobble * (1 if seed % 2 else 0.5)
                own = {
                    "trial": f"{name}-{seed}-{asked}",
                    "setting": name,
                    "config.learning_rate": name.rpartition("=")[2],
                }
                measured = {"validation_accuracy": accuracy if held else None, "test_accuracy": accuracy - 0.01}
                rows.append(own | {"epochs": asked, "seed": seed, "epoch": epoch} | measured)
    return collect(rows)


RATES = {"learning_rate=0.0001": 0.90, "learning_rate=0.001": 0.97, "learning_rate=0.01": 0.95}


def test_findings_of_a_grid(golden):
    sweep = Sweep(grid={"lr": [1e-4, 1e-3, 1e-2]})
    golden("lab-sweep.txt", written(sweep_findings(sweep, {"results": results_of(RATES)})))


def test_without_images_held_out_nothing_is_chosen(golden):
    sweep = Sweep(grid={"lr": [1e-4, 1e-3, 1e-2], "validation": [0]})
    golden("lab-sweep-unchosen.txt", written(sweep_findings(sweep, {"results": results_of(RATES, held=False)})))


def test_findings_of_one_setting(golden):
    golden(
        "lab-sweep-one.txt", written(sweep_findings(Sweep(), {"results": results_of({"all alike": 0.97}, held=False)}))
    )


def test_a_search_by_halving_compares_the_settings_that_reached_the_last_rung(golden):
    sweep = Sweep(grid={"lr": ["1e-4..1e-2"], "epochs": [3]}, search=3, halving=True)
    whole = results_of(
        {"learning_rate=0.001": 0.97, "learning_rate=0.002": 0.96, "learning_rate=0.003": 0.95}, epochs=(1, 3)
    )
    early = results_of({"learning_rate=0.01": 0.99}, epochs=(1,))
    golden("lab-sweep-search.txt", written(sweep_findings(sweep, {"results": collect([*early.cells, *whole.cells])})))


def test_a_setting_with_a_failed_run_is_not_the_best():
    results = results_of(RATES)
    left = [row for row in results.cells if row["trial"] != "learning_rate=0.001-3-1"]
    findings = sweep_findings(Sweep(grid={"lr": [1e-4, 1e-3, 1e-2]}), {"results": Rows(tuple(left))})
    assert findings.conclusions[0].startswith("Best validation accuracy: learning_rate=0.01:")
    assert findings.sections[0].tables[0].rows[-1][:2] == ("learning_rate=0.001", "4")


def test_settings_that_differ_in_the_fifth_digit_stay_two():
    results = collect(
        {**row, "setting": "learning_rate=0.001"} if row["config.learning_rate"] != "0.0001" else row
        for row in results_of(RATES).cells
    )
    findings = sweep_findings(Sweep(grid={"lr": [1e-4, 1e-3, 1e-2]}), {"results": results})
    names = [(row[0], row[1]) for row in findings.sections[0].tables[0].rows]
    assert names == [("learning_rate=0.001", "5"), ("learning_rate=0.01", "5"), ("learning_rate=0.0001", "5")]


def test_where_all_settings_have_failed_runs_these_count_as_zero():
    lost = {f"learning_rate=0.001-{seed}-1" for seed in range(1, 5)} | {
        f"learning_rate={rate}-0-1" for rate in ("0.01", "0.0001")
    }
    left = tuple(row for row in results_of(RATES).cells if row["trial"] not in lost)
    findings = sweep_findings(Sweep(grid={"lr": [1e-4, 1e-3, 1e-2]}), {"results": Rows(left)})
    assert findings.conclusions[0].startswith("Best validation accuracy: learning_rate=0.01:")


def test_settings_without_a_common_seed_are_not_compared():
    kept = {"learning_rate=0.001-0-1", "learning_rate=0.01-1-1"}
    left = tuple(row for row in results_of(RATES).cells if row["trial"] in kept)
    found = sweep_findings(Sweep(grid={"lr": [1e-3, 1e-2]}), {"results": Rows(left)}).conclusions
    assert [one.split(":")[0] for one in found] == [
        "Best validation accuracy",
        "Test accuracy of the best, which did not affect the choice",
    ]


def test_runs_that_failed_are_named_by_their_settings(digits, tmp_path):
    grid = {**SMALL, "optimizer": ["sgd"], "lr": [1e30, 1e31]}
    conclusions = conduct(small(digits, seeds="6", grid=grid), tmp_path / "x").conclusions
    assert "(learning_rate=1e+30, seed 0)" in conclusions[-1]
    assert conclusions[-1].endswith("and others (failed.csv).")
    assert len(read_rows(tmp_path / "x" / "failed.csv")) == 12


# The search.


def searched(digits: str, **settings: object) -> Sweep:
    asked = {
        "data": digits,
        "seeds": "1",
        "grid": {**SMALL, "epochs": 3, "lr": "1e-4..1e-1", "optimizer": ["adam", "sgd"]},
    }
    return Sweep(**asked | {"search": 6, "at_once": 3} | settings)


@pytest.fixture(scope="module")
def whole_search(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "x"
    conduct(searched(digits), path)
    return path


def test_a_search_that_was_interrupted_or_extended_ends_as_one_that_was_not(digits, whole_search, tmp_path):
    with pytest.raises(Interrupted):
        conduct(searched(digits, search=4), tmp_path / "cut", progress=Raises(15))
    conduct(searched(digits, search=4), tmp_path / "cut")
    conduct(searched(digits), tmp_path / "cut")
    assert untimed_results(whole_search) == untimed_results(tmp_path / "cut")
    with pytest.raises(UsageError, match="has an experiment with search = 6, got 4"):
        conduct(searched(digits, search=4), tmp_path / "cut")
    results = read_rows(whole_search / "results.csv")
    assert len(results.names("trial")) == 6
    rates = results.numbers("config.learning_rate")
    assert rates.min() >= 1e-4
    assert rates.max() <= 1e-1


def test_halving_keeps_a_third_on_each_rung(digits, tmp_path):
    findings = conduct(searched(digits, halving=True, search=3), tmp_path / "x")
    results = read_rows(tmp_path / "x" / "results.csv")
    assert {epochs: len(results.where(epochs=epochs).names("trial")) for epochs in (1, 3)} == {1: 3, 3: 1}
    assert findings.conclusions[0] == "Settings tried: 3 in 4 runs, the poorer ones stopped early."


def test_halving_keeps_the_best(digits):
    runs = {}
    plan = searched(digits, halving=True, search=3).trials(runs)
    first = next(plan)
    runs |= {trial.name: finished(right) for trial, right in zip(first, (0.25, 0.75, 0.5), strict=True)}
    (kept,) = next(plan)
    assert kept.config == first[1].config.with_settings(epochs=3)


def finished(right: float) -> SimpleNamespace:
    """A run as far as a search reads it."""
    metrics = SimpleNamespace(validation_accuracy=[right], test_accuracy=[1 - right])
    return SimpleNamespace(status=SimpleNamespace(state="finished"), metrics=metrics)


def test_rungs():
    grid = {"lr": [1e-3, 1e-2]}
    assert rungs(Sweep(grid={**grid, "epochs": 27}, search=9, halving=True)) == [1, 3, 9, 27]
    assert rungs(Sweep(grid={**grid, "epochs": 2}, search=9, halving=True)) == [1, 2]
    assert rungs(Sweep(grid={**grid, "epochs": 27}, search=9)) == [27]


def test_without_optuna_a_search_says_how_to_install_it(digits, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match=r"run: .*\[optuna\]"):
        searched(digits).check(lenscope.load(digits))


def test_a_search_is_given_on_the_command_line_or_partly_in_a_file(digits, tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('[grid]\nlr = "1e-4..1e-1"\nepochs = 1\nbatch_size = 20\n')
    options = ["--data", digits, "--seeds", "1", "--processes", "1", "--search", "2", "--json"]
    by_file = ["--config", str(file), "--out", str(tmp_path / "a")]
    by_hand = ["--set=lr=1e-4..1e-1", "--set=epochs=1", "--set=batch_size=20", "--out", str(tmp_path / "b")]
    assert main(["sweep", *options, *by_file]) == 0
    assert main(["sweep", *options, *by_hand]) == 0
    assert untimed_results(tmp_path / "a") == untimed_results(tmp_path / "b")


def test_a_search_of_epochs_trains_as_many(digits):
    trials = trials_of(searched(digits, grid={**SMALL, "epochs": "2..50"}))
    assert len({trial.config.epochs for trial in trials}) == len({trial.tags["config.epochs"] for trial in trials}) > 1


def test_a_search_takes_fractions_and_tables(digits):
    sweep = searched(digits, grid={"weight_decay": "0..1", "augment": [{"shift": 1.0}, "none"]})
    trials = trials_of(sweep)
    assert any(trial.config.weight_decay % 1 for trial in trials)
    assert {str(trial.config.augment) for trial in trials} <= {"shift=1", "none"}


# The command.


def test_options_override_the_file(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('seeds = "3"\n[grid]\nlr = [1e-4, 1e-3]\noptimizer = "sgd"\n')
    options = ["--config", str(file), "--set", "lr=1e-2", "--seeds", "100..101"]
    command = SweepCommand.parse("lenscope lab sweep", options)
    assert command.asked()["grid"] == {"learning_rate": [1e-2], "optimizer": ["sgd"]}
    assert command.asked()["seeds"] == "100..101"


def test_a_wrong_file_is_named(tmp_path):
    file = tmp_path / "sweep.toml"
    for text, problem in (("[grid", "not TOML"), ("search = -1", "search: got -1"), ('seeds = "x"', "seeds: got 'x'")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=rf"^{file}: {problem}"):
            SweepCommand.parse("lenscope lab sweep", ["--config", str(file)])


def test_where_no_setting_reached_the_last_rung_none_is_the_best():
    sweep = Sweep(grid={"lr": ["1e-4..1e-2"], "epochs": [3]}, search=3, halving=True)
    early = results_of({"learning_rate=0.01": 0.99}, epochs=(1,))
    assert sweep_findings(sweep, {"results": early}).conclusions == ("No setting was trained to its last epoch.",)


# Whatever is killed.


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "kills"), [("local", in_full(6, 30)), ("ray", in_full(4, 20))])
def test_drivers_and_workers_that_are_killed_at_random_change_nothing(backend, kills, tmp_path, tally):
    script = Path(__file__).parents[1] / "sweep_kills.py"
    done = subprocess.run(
        [sys.executable, str(script), str(kills), str(tmp_path / "x"), backend],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"{kills} kills, results the same\n", done.stderr
    tally(f"sweep on {backend}: {done.stdout.strip()}")
