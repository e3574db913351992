"""The experiments as they are typed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lenscope.lab.execution.pool import Pool

FEW = ("--seeds", "1", "--batch-size", "20", "--processes", "1", "--out", "x", "--quiet", "--data")


def test_an_experiment_prints_its_progress_and_conclusions_and_lab_draws_it_again(here, digits, cli, monkeypatch):
    few = ("--epochs", "1", "--batch-size", "20", "--processes", "1")
    command = ("lab", "reproduce", "--seeds", "2", *few, "--data", digits)
    code, out, err = cli(*command)
    assert code == 0
    assert "epoch 1: " in out.splitlines()[0]
    assert out.count("\n") == 2
    assert err.startswith("reproduce: 2 runs of 1 epoch, 2 epochs in all; about ")
    assert "1 of 2 runs" in err
    [folder] = (here / "experiments").glob("reproduce-*")
    place = folder.relative_to(here)
    assert err.splitlines()[-1] == f"open {place}/report.html in a browser; every run is in {place}/runs"
    assert (folder / "results.csv").exists()
    done = cli(*command, "--quiet", "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["experiment"] == str(place)
    assert found["conclusions"] == out.splitlines()
    assert [(run["seed"], run["epoch"]) for run in found["runs"]] == [(0, 1), (1, 1)]
    assert {type(run["test_accuracy"]) for run in found["runs"]} == {float}
    assert found["charts"]["accuracy"]["lines"][0]["xs"] == [1.0]
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    (folder / "report.html").unlink()
    assert cli("open", place) == (0, f"{place}/report.html\n", "")
    assert opened == [(folder / "report.html").as_uri()]
    for former in ((), ("show",)):
        (folder / "report.html").unlink()
        assert cli("lab", *former, place) == (0, out, "")
        assert (folder / "report.html").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("lab", "sweep", "--set", "batch_size=10,20", *FEW[:2], *FEW[4:]),
        ("lab", "race", "--epochs", "1", "--rates", "1", "--search-seeds", "1", "--validation", "20", *FEW),
        pytest.param(("lab", "initlab", "--labels", "40", "--pretrain-epochs", "1", *FEW), marks=pytest.mark.slow),
        ("lab", "reproduce", "--epochs", "1", *FEW),
    ],
    ids=lambda command: command[1],
)
def test_an_experiment_without_finished_runs_says_so_and_ends_with_1(command, here, digits, cli, monkeypatch):
    """Also if only the compared runs failed: the race after its search, the fine-tuning after the autoencoders."""
    train = Pool.train
    hopeless = {"learning_rate": 1e30, "optimizer": "sgd", "epochs": 2}

    def broken(trial):
        fails = not trial.config.reconstructs and trial.tags.get("stage") != "search"
        return replace(trial, config=trial.config.with_settings(**hopeless)) if fails else trial

    monkeypatch.setattr(Pool, "train", lambda self, trials, *rest: train(self, list(map(broken, trials)), *rest))
    code, out, err = cli(*command, digits)
    assert code == 1, err
    assert out.startswith("No run ")
    assert err.splitlines()[-1].endswith("x: no run finished; 'lenscope runs x/runs' lists them")
    assert cli("lab", "show", "x")[:2] == (1, out)


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("lab", "reproduce", "--seeds", "none"), 2, "lenscope lab reproduce: seeds: got 'none', expected "),
        (("lab", "race", "--rates", "0"), 2, "lenscope lab race: rates: got 0"),
        (("lab", "longrun", "--variants", "plane"), 2, "did you mean 'plain'"),
        (("lab", "show", "nowhere"), 1, "lenscope lab show: nowhere: "),
        (("lab", "sweep", "--lr", "1"), 2, "--lr: a setting of the runs; give it as --set lr=VALUE"),
        (("lab", "sweep", "--nothing", "1"), 2, "lenscope lab sweep: unrecognized options: --nothing"),
        (("lab", "rce"), 2, "lenscope lab: unknown experiment 'rce'; did you mean 'race'?"),
        (("reproduce", "--seeds", "none"), 2, "lenscope lab reproduce: seeds: got 'none'"),
        (("lab", "reproduce", "--data", "mnits"), 2, "did you mean 'mnist'"),
        (("lab", "reproduce", "--ray-address", "auto"), 2, "--ray-address requires --backend ray"),
        (
            ("lab", "sweep"),
            2,
            "lenscope lab sweep: got no setting to vary; give its values, such as --set lr=1e-4,1e-3",
        ),
    ],
)
def test_an_error_is_one_line(here, cli, arguments, code, problem):
    done = cli(*arguments)
    assert (done.code, done.out) == (code, "")
    assert problem in done.err
    assert done.err.count("\n") == 1
    assert not (here / "experiments").exists()
