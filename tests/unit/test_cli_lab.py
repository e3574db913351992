"""The experiments as they are called."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lenscope.cli import main
from lenscope.data.idx import write_idx
from lenscope.lab.catalogue import EXPERIMENTS


@pytest.fixture
def here(tmp_path, monkeypatch, mnist):
    """A folder with `digits`: 60 training and 20 test images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    for part, dataset, count in (("train", mnist.train, 60), ("t10k", mnist.test, 20)):
        taken = dataset.take(np.arange(count))
        write_idx(tmp_path / "digits" / f"{part}-images-idx3-ubyte", taken.images[:, 0])
        write_idx(tmp_path / "digits" / f"{part}-labels-idx1-ubyte", taken.labels)
    return tmp_path


def run_cli(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


SMALL = ("reproduce", "--data", "digits", "--seeds", "2", "--epochs", "1", "--batch-size", "20", "--processes", "1")


def test_an_experiment_says_how_far_it_is_and_what_came_of_it(here, capsys):
    code, out, err = run_cli(capsys, *SMALL)
    assert code == 0
    assert out.startswith("After epoch 1: ")
    assert out.count("\n") == 2
    assert "1 of 2 runs" in err
    assert err.splitlines()[-1] == (
        "open experiments/reproduce-digits/report.html in a browser; every run is in experiments/reproduce-digits/runs"
    )
    assert (here / "experiments/reproduce-digits/results.csv").exists()


def test_the_second_time_nothing_is_trained_and_json_is_one_document(here, capsys):
    run_cli(capsys, *SMALL, "--quiet")
    code, out, err = run_cli(capsys, *SMALL, "--quiet", "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert told["experiment"] == "experiments/reproduce-digits"
    assert len(told["conclusions"]) == 2


FEW = ("--data", "digits", "--seeds", "1", "--batch-size", "20", "--processes", "1", "--quiet")
EACH = [
    ("reproduce", *FEW, "--epochs", "1"),
    ("race", *FEW, "--epochs", "1", "--rates", "1", "--search-seeds", "1", "--validation", "20"),
    ("initlab", *FEW, "--labels", "40", "--pretrain-epochs", "1"),
    ("longrun", *FEW, "--epochs", "1", "--variants", "plain"),
    ("sweep", "--data", "digits", "--seeds", "1", "--set", "batch_size=10,20", "--processes", "1", "--quiet"),
    (
        "sweep",
        "--data",
        "digits",
        "--seeds",
        "1",
        "--set",
        "lr=1e-4..1e-2",
        "--set",
        "batch_size=20",
        "--search",
        "2",
        "--processes",
        "1",
    ),
]


@pytest.mark.parametrize("command", EACH, ids=lambda command: " ".join(command[::7]))
def test_an_experiment_all_of_whose_runs_fail_says_so_and_ends_with_1(command, here, capsys, monkeypatch):
    """Also where only what it compares failed: the race after its search, the fine-tuning after the autoencoders."""
    kind = EXPERIMENTS[command[0]]
    honest = kind.trials
    hopeless = {"learning_rate": 1e30, "optimizer": "sgd", "epochs": 2}

    def broken(trial):
        fails = not trial.config.reconstructs and trial.tags.get("stage") != "search"
        return replace(trial, config=trial.config.with_settings(**hopeless)) if fails else trial

    monkeypatch.setattr(kind, "trials", lambda *own: list(map(broken, honest(*own))))
    code, out, err = run_cli(capsys, *command, "--out", "x")
    assert code == 1, err
    assert out, err
    assert out.startswith("No run came to its end.\nFailed, since the loss was no number any more, and left out (")
    assert err.splitlines()[-1].endswith("x: no run came to its end; 'lenscope runs x/runs' lists them")
    assert run_cli(capsys, "lab", "x")[:2] == (1, out)
    code, told, _ = run_cli(capsys, "lab", "x", "--json")
    assert (code, json.loads(told)["conclusions"]) == (1, out.splitlines())


def test_lab_makes_the_page_again(here, capsys):
    _, expected, _ = run_cli(capsys, *SMALL, "--quiet")
    page = here / "experiments/reproduce-digits/report.html"
    page.unlink()
    assert run_cli(capsys, "lab", "experiments/reproduce-digits") == (0, expected, "")
    assert page.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("reproduce", "--seeds", "none"), 2, "lenscope reproduce: seeds: got 'none', expected how many"),
        (("race", "--rates", "0"), 2, "lenscope race: rates: got 0"),
        (("longrun", "--variants", "plane"), 2, "did you mean 'plain'"),
        (("lab", "nowhere"), 1, "lenscope lab: nowhere: holds no experiment"),
        (("reproduce", "--data", "mnits"), 2, "did you mean 'mnist'"),
    ],
)
def test_what_is_wrong_is_one_line(here, capsys, arguments, code, problem):
    got, out, err = run_cli(capsys, *arguments)
    assert (got, out) == (code, "")
    assert problem in err
    assert err.count("\n") == 1
    assert not (here / "experiments").exists()
