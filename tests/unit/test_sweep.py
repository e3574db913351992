"""A sweep: its runs and their names, its tables, what it tells, how it goes on, and its search."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_lab_findings import WOBBLE, written

import lenscope
from conftest import in_full
from fixtures_lab import Raises
from lenscope.cli import main
from lenscope.cli.lab import Sweep as SweepCommand
from lenscope.config import TrainConfig
from lenscope.errors import ConfigError, Interrupted, UsageError
from lenscope.lab import Sweep, conduct, rebuild, search
from lenscope.lab.rows import Rows, collect, read_rows
from lenscope.lab.search import rungs
from lenscope.lab.sweep import mark

SMALL = {"batch_size": 20, "epochs": 1}


def small(digits: str, **settings: object) -> Sweep:
    """Four settings with two seeds on sixty images, of which six are held out."""
    return Sweep(
        **{"data": digits, "seeds": "2", "grid": {**SMALL, "optimizer": ["adam", "sgd"], "lr": [1e-3, 1e-2]}} | settings
    )


def without_times(results: Rows) -> list[dict[str, str]]:
    return [{name: cell for name, cell in row.items() if not name.endswith("_seconds")} for row in results.cells]


# Runs.


def test_there_is_a_run_for_every_combination_and_seed(digits):
    trials = small(digits).trials({})
    assert len(trials) == 8
    assert [trial.tags["config.optimizer"] for trial in trials[:4]] == ["adam"] * 4
    assert {trial.config.validation for trial in trials} == {0.1}
    assert {trial.config.threads for trial in trials} == {1}
    assert trials[0].tags["setting"] == "optimizer=adam, learning_rate=0.001"
    assert {trial.config.seed for trial in trials} == {0, 1}


def test_a_run_is_named_by_its_settings_wherever_the_data_lie(digits):
    names = [trial.name for trial in small(digits).trials({})]
    assert len(set(names)) == 8
    config = small(digits).trials({})[0].config
    assert mark(config) == names[0]
    assert mark(config.with_settings(data="elsewhere/" + digits.rpartition("/")[2])) == names[0]
    assert mark(config.with_settings(seed=7)) != names[0]


def test_of_one_setting_nothing_is_held_out_since_nothing_is_chosen(digits):
    (trial,) = Sweep(data=digits, seeds="1", grid=SMALL).trials({})
    assert trial.config.validation == 0
    assert trial.tags["setting"] == "all alike"


def test_validation_may_be_given(digits):
    held = {
        trial.config.validation
        for trial in small(digits, grid={**SMALL, "lr": [1e-3, 1e-2], "validation": 20}).trials({})
    }
    assert held == {20}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"grid": {"lr": ["1e-4..1e-2"]}}, "got a range, which a search takes"),
        ({"grid": {"lr": [1e-3]}, "each": [{"lr": 1e-2}]}, "learning_rate: got it in the grid and in the list"),
        ({"each": [{"rate": 1}]}, "unknown setting 'rate'"),
        ({"search": 3}, "got no settings to search among"),
        ({"search": 3, "grid": {"lr": [1.0]}, "each": [{"epochs": 1}]}, "leave the list out"),
        ({"halving": True}, "halving: is a way to search"),
        ({"grid": {"lr": list(range(1, 2000)), "epochs": list(range(1, 2000))}}, "expected 1,000,000 runs at most"),
        ({"search": 3, "halving": True, "grid": {"epochs": [1, 3]}}, "epochs: got several"),
        ({"search": 3, "halving": True, "grid": {"epochs": "1..3"}}, "epochs: got several"),
        ({"search": 3, "halving": True, "grid": {"recipe": ["lecture", "best"]}}, "recipes differ in them"),
    ],
)
def test_settings_that_cannot_be(settings, told):
    with pytest.raises(ConfigError, match=told):
        Sweep(**settings)


def test_a_setting_outside_its_range_is_told_before_anything_is_written(digits, tmp_path):
    with pytest.raises(ConfigError, match="learning_rate: got -1"):
        conduct(small(digits, grid={"lr": [1e-3, -1.0]}), tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ({"lr": [1, 1.0]}, "got the same settings 2 times"),
        ({"network": ["lenet", "autoencoder"]}, "got autoencoder, which has no accuracy"),
        ({"lr": [number / 1e6 for number in range(1, 1000)]}, "its settings take .* characters, expected 10,000"),
    ],
)
def test_what_could_not_be_told_in_the_end_is_refused_before_anything_is_written(grid, told, digits, tmp_path):
    with pytest.raises(UsageError, match=told):
        conduct(small(digits, grid=grid), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_search_looks_at_combinations_before_it_begins(digits):
    with pytest.raises(ConfigError, match="lenet1998 has initial weights of its own"):
        searched(digits, grid={"network": ["lenet", "lenet1998"], "init": ["pytorch", "he"]}).check(
            lenscope.load(digits)
        )


# Results.


@pytest.fixture(scope="module")
def swept(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep"
    return path, conduct(small(digits), path)


def test_results_have_a_column_for_each_setting_that_varies(swept):
    path, findings = swept
    results = read_rows(path / "results.csv")
    assert list(results.cells[0])[:6] == [
        "trial",
        "setting",
        "config.optimizer",
        "config.learning_rate",
        "epochs",
        "seed",
    ]
    assert len(results) == 8 * 2
    assert results.names("config.learning_rate") == ["0.001", "0.01"]
    assert rebuild(path).conclusions == findings.conclusions


def test_a_sweep_that_was_interrupted_ends_as_one_that_was_not(digits, swept, tmp_path):
    with pytest.raises(Interrupted):
        conduct(small(digits), tmp_path / "cut", teller=Raises(15))
    done = {path.name for path in (tmp_path / "cut" / "runs").iterdir()}
    assert 0 < len(done) < 8
    conduct(small(digits), tmp_path / "cut")
    assert without_times(read_rows(tmp_path / "cut" / "results.csv")) == without_times(
        read_rows(swept[0] / "results.csv")
    )


def test_more_seeds_go_on_and_another_grid_does_not(digits, swept, tmp_path):
    with pytest.raises(UsageError, match="holds an experiment with grid"):
        conduct(small(digits, grid=SMALL), swept[0])


# What it tells.


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


def test_what_a_grid_tells(golden):
    sweep = Sweep(grid={"lr": [1e-4, 1e-3, 1e-2]})
    golden("lab-sweep.txt", written(sweep.conclude({"results": results_of(RATES)})))


def test_without_images_held_out_nothing_is_chosen(golden):
    sweep = Sweep(grid={"lr": [1e-4, 1e-3, 1e-2], "validation": [0]})
    golden("lab-sweep-unchosen.txt", written(sweep.conclude({"results": results_of(RATES, held=False)})))


def test_what_one_setting_tells(golden):
    golden("lab-sweep-one.txt", written(Sweep().conclude({"results": results_of({"all alike": 0.97}, held=False)})))


def test_of_a_search_by_halving_those_count_that_came_to_the_end(golden):
    sweep = Sweep(grid={"lr": ["1e-4..1e-2"], "epochs": [3]}, search=3, halving=True)
    whole = results_of(
        {"learning_rate=0.001": 0.97, "learning_rate=0.002": 0.96, "learning_rate=0.003": 0.95}, epochs=(1, 3)
    )
    early = results_of({"learning_rate=0.01": 0.99}, epochs=(1,))
    golden("lab-sweep-search.txt", written(sweep.conclude({"results": collect([*early.cells, *whole.cells])})))


def test_a_setting_of_which_a_run_failed_is_not_the_best():
    results = results_of(RATES)
    left = [row for row in results.cells if row["trial"] != "learning_rate=0.001-3-1"]
    findings = Sweep(grid={"lr": [1e-4, 1e-3, 1e-2]}).conclude({"results": Rows(tuple(left))})
    assert findings.conclusions[0].startswith("Best on the held-out images: learning_rate=0.01:")
    assert findings.sections[0].tables[0].rows[-1][:2] == ("learning_rate=0.001", "4")


def test_settings_that_differ_in_the_fifth_digit_stay_two():
    results = collect(
        {**row, "setting": "learning_rate=0.001"} if row["config.learning_rate"] != "0.0001" else row
        for row in results_of(RATES).cells
    )
    findings = Sweep(grid={"lr": [1e-4, 1e-3, 1e-2]}).conclude({"results": results})
    names = [(row[0], row[1]) for row in findings.sections[0].tables[0].rows]
    assert names == [("learning_rate=0.001", "5"), ("learning_rate=0.01", "5"), ("learning_rate=0.0001", "5")]


def test_where_runs_of_all_settings_failed_those_that_failed_count_as_none_right():
    lost = {f"learning_rate=0.001-{seed}-1" for seed in range(1, 5)} | {
        f"learning_rate={rate}-0-1" for rate in ("0.01", "0.0001")
    }
    left = tuple(row for row in results_of(RATES).cells if row["trial"] not in lost)
    findings = Sweep(grid={"lr": [1e-4, 1e-3, 1e-2]}).conclude({"results": Rows(left)})
    assert findings.conclusions[0].startswith("Best on the held-out images: learning_rate=0.01:")


def test_where_best_and_next_have_no_seed_in_common_nothing_is_said_of_both():
    kept = {"learning_rate=0.001-0-1", "learning_rate=0.01-1-1"}
    left = tuple(row for row in results_of(RATES).cells if row["trial"] in kept)
    told = Sweep(grid={"lr": [1e-3, 1e-2]}).conclude({"results": Rows(left)}).conclusions
    assert [one.split(":")[0] for one in told] == [
        "Best on the held-out images",
        "On the test images, which had no part in the choice",
    ]


def test_runs_that_failed_are_told_by_their_settings(digits, tmp_path):
    grid = {**SMALL, "optimizer": ["sgd"], "lr": [1e30, 1e31]}
    told = conduct(small(digits, seeds="6", grid=grid), tmp_path / "x").conclusions
    assert "(learning_rate=1e+30, seed 0)" in told[-1]
    assert told[-1].endswith("and others (failed.csv).")
    assert len(read_rows(tmp_path / "x" / "failed.csv")) == 12


def test_pictures_that_cannot_be_read_are_left_out_by_all_runs(tmp_path, monkeypatch):
    asked = []

    def load(*_names, **options):
        asked.append(options["skip_unreadable"])
        raise UsageError("enough")

    monkeypatch.setattr("lenscope.api.load", load)
    for grid in ({"lr": [1e-3]}, {"skip_unreadable": [True]}):
        with pytest.raises(UsageError, match="enough"):
            conduct(Sweep(grid=grid), tmp_path / "x")
    assert asked == [False, True]
    with pytest.raises(ConfigError, match="the same for all runs"):
        Sweep(grid={"skip_unreadable": [True, False]})


# The search.


def searched(digits: str, **settings: object) -> Sweep:
    asked = {
        "data": digits,
        "seeds": "1",
        "grid": {**SMALL, "epochs": 3, "lr": "1e-4..1e-1", "optimizer": ["adam", "sgd"]},
    }
    return Sweep(**asked | {"search": 6, "at_once": 3} | settings)


def test_a_search_asks_for_what_is_known_and_ends_the_same_whatever_came_between(digits, tmp_path):
    conduct(searched(digits), tmp_path / "whole")
    with pytest.raises(Interrupted):
        conduct(searched(digits), tmp_path / "cut", teller=Raises(15))
    conduct(searched(digits), tmp_path / "cut")
    whole, cut = (read_rows(tmp_path / name / "results.csv") for name in ("whole", "cut"))
    assert without_times(whole) == without_times(cut)
    assert len(whole.names("trial")) == 6
    rates = whole.numbers("config.learning_rate")
    assert rates.min() >= 1e-4
    assert rates.max() <= 1e-1


def test_halving_keeps_a_third_on_each_rung(digits, tmp_path):
    findings = conduct(searched(digits, halving=True, search=3), tmp_path / "x")
    results = read_rows(tmp_path / "x" / "results.csv")
    assert {epochs: len(results.where(epochs=epochs).names("trial")) for epochs in (1, 3)} == {1: 3, 3: 1}
    first = {row["setting"]: float(row["validation_accuracy"]) for row in results.where(epochs=1, epoch=1).cells}
    (kept,) = results.where(epochs=3).names("setting")
    assert first[kept] == max(first.values())
    assert findings.conclusions[0] == "3 settings were tried in 4 runs, of which the poorer ones ended early."


def test_rungs():
    grid = {"lr": [1e-3, 1e-2]}
    assert rungs(Sweep(grid={**grid, "epochs": 27}, search=9, halving=True)) == [1, 3, 9, 27]
    assert rungs(Sweep(grid={**grid, "epochs": 2}, search=9, halving=True)) == [1, 2]
    assert rungs(Sweep(grid={**grid, "epochs": 27}, search=9)) == [27]


def test_a_search_needs_images_to_choose_by(digits):
    with pytest.raises(UsageError, match="a search chooses by it"):
        searched(digits, grid={"lr": "1e-4..1e-1", "validation": 0}).check(lenscope.load(digits))


def test_without_optuna_a_search_says_how_to_get_it(digits, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'lenscope\[optuna\]'"):
        searched(digits).check(lenscope.load(digits))


def test_a_search_and_its_range_are_given_on_the_command_line_or_one_of_them_in_a_file(digits, tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('[grid]\nlr = "1e-4..1e-1"\nepochs = 1\nbatch_size = 20\n')
    options = ["--data", digits, "--seeds", "1", "--processes", "1", "--search", "2", "--json"]
    by_file = ["--config", str(file), "--out", str(tmp_path / "a")]
    by_hand = ["--set=lr=1e-4..1e-1", "--set=epochs=1", "--set=batch_size=20", "--out", str(tmp_path / "b")]
    assert main(["sweep", *options, *by_file]) == 0
    assert main(["sweep", *options, *by_hand]) == 0
    first, second = (read_rows(tmp_path / name / "results.csv") for name in ("a", "b"))
    assert without_times(first) == without_times(second)


def test_a_search_among_epochs_trains_so_many(digits):
    trials = searched(digits, grid={**SMALL, "epochs": "2..50"}).trials({})
    assert len({trial.config.epochs for trial in trials}) == len({trial.tags["config.epochs"] for trial in trials}) > 1


def test_a_search_takes_fractions_of_what_is_one_and_tables(digits):
    sweep = searched(digits, grid={"weight_decay": "0..1", "augment": [{"shift": 1.0}, "none"]})
    trials = sweep.trials({})
    assert any(trial.config.weight_decay % 1 for trial in trials)
    assert {str(trial.config.augment) for trial in trials} <= {"shift=1", "none"}


def test_a_search_asks_each_setting_once_however_often_it_is_looked_at(digits, monkeypatch):
    study, asks = search._study(), []
    ask = study.ask
    monkeypatch.setattr(search, "_study", lambda: study)
    monkeypatch.setattr(study, "ask", lambda options: asks.append(1) or ask(options))
    sweep, runs = searched(digits, search=30), {}
    while missing := [trial for trial in sweep.trials(runs) if trial.name not in runs]:
        runs |= {trial.name: ended(int(trial.name, 16) % 100 / 100) for trial in missing}
    assert len(runs) == len(asks) == 30


def test_a_search_that_is_asked_anew_begins_anew(digits):
    sweep = searched(digits)
    first = [trial.name for trial in sweep.trials({})]
    later = sweep.trials(dict.fromkeys(first, ended(0.5)))
    assert len(later) == 6
    assert [trial.name for trial in sweep.trials({})] == first


def ended(accuracy: float) -> SimpleNamespace:
    """As much of a run as a search looks at."""
    metrics = SimpleNamespace(validation_accuracy=[accuracy])
    return SimpleNamespace(status=SimpleNamespace(state="finished"), metrics=metrics)


# The command.


def test_the_command_prints_what_it_found(digits, tmp_path, capsys):
    out = tmp_path / "x"
    options = ["--data", digits, "--seeds", "1", "--processes", "1", "--out", str(out), "--json"]
    grid = ["--set", "lr=1e-3,1e-2", "--set", "epochs=1", "--set", "batch_size=20", "--set", "augment=none|shift=1"]
    assert main(["sweep", *grid, *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["conclusions"][0].startswith("Best on the held-out images: learning_rate=")
    assert len(list((out / "runs").iterdir())) == 4
    assert (out / "plots" / "curves.png").exists()


def test_a_file_is_read_and_options_go_over_it(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('seeds = "3"\n[grid]\nlr = [1e-4, 1e-3]\noptimizer = "sgd"\n')
    command = SweepCommand.parse("lenscope sweep", ["--config", str(file), "--set", "lr=1e-2", "--seeds", "100..101"])
    assert command.asked()["grid"] == {"learning_rate": [1e-2], "optimizer": ["sgd"]}
    assert command.asked()["seeds"] == "100..101"


def test_a_file_that_cannot_be_is_told_by_its_name(tmp_path):
    file = tmp_path / "sweep.toml"
    for text, told in (("[grid", "not TOML"), ("search = -1", "search: got -1"), ('seeds = "x"', "seeds: got 'x'")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=rf"^{file}: {told}"):
            SweepCommand.parse("lenscope sweep", ["--config", str(file)])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--set", "rate=1"], "unknown setting 'rate'"),
        (["--set", "lr"], "expected a setting and its values"),
        (["--ray-address", "auto"], "add --backend ray"),
        (["--config", "nowhere.toml"], "nowhere.toml: cannot be read"),
    ],
)
def test_a_wrong_option_is_one_line(options, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *options]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_search_goes_on_with_more_settings_as_if_they_had_been_asked_for_at_once(digits, tmp_path):
    conduct(searched(digits, search=4), tmp_path / "x")
    conduct(searched(digits), tmp_path / "x")
    conduct(searched(digits), tmp_path / "whole")
    whole, grown = (read_rows(tmp_path / name / "results.csv") for name in ("whole", "x"))
    assert without_times(whole) == without_times(grown)
    with pytest.raises(UsageError, match="holds an experiment with search = 6, got 4"):
        conduct(searched(digits, search=4), tmp_path / "x")


def test_settings_that_hold_out_differently_are_not_compared(digits):
    with pytest.raises(UsageError, match="validation: got 0 and 20, but settings are compared on the same images"):
        small(digits, grid={**SMALL, "validation": [0, 20]}).check(lenscope.load(digits))


def test_where_no_setting_came_to_the_last_rung_none_is_the_best():
    sweep = Sweep(grid={"lr": ["1e-4..1e-2"], "epochs": [3]}, search=3, halving=True)
    early = results_of({"learning_rate=0.01": 0.99}, epochs=(1,))
    assert sweep.conclude({"results": early}).conclusions == ("No setting came to its last epoch.",)


def test_a_name_does_not_change_with_a_setting_that_is_the_default(digits):
    config = small(digits).trials({})[0].config
    assert mark(config) == mark(TrainConfig(**config.model_dump(exclude_defaults=True)))


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
