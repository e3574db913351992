from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest

import lenscope
from lenscope.config import TrainConfig
from lenscope.insight.comparison import compare_runs, describe_results
from lenscope.runs.files.manifest import Manifest, fingerprint
from lenscope.runs.files.metrics import Metrics
from lenscope.runs.run import open_run
from lenscope.training.events import EpochMetrics


@pytest.fixture(scope="module")
def other_run(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "other"
    return lenscope.train(tiny, out=out, epochs=1, batch_size=20, seed=3, validation=10, device="cpu", progress=False)


def test_settings_that_differ_come_first_and_then_the_results(tiny_run, other_run):
    rows = compare_runs([tiny_run, other_run])
    results = ["state", "epochs done", "train loss", "validation accuracy", "test loss", "test accuracy", "seconds"]
    assert list(rows)[-7:] == results
    assert set(rows) - set(results) - {"device"} == {"epochs", "validation", "seed"}
    assert rows["epochs"] == ["2", "1"]
    assert rows["seed"] == ["0", "3"]
    assert rows["validation"] == ["0", "10"]
    assert rows["state"] == ["finished", "finished"]
    assert rows["epochs done"] == ["2", "1"]
    assert rows["test accuracy"] == [f"{100 * run.metrics.test_accuracy[-1]:.2f} %" for run in (tiny_run, other_run)]
    assert rows["validation accuracy"][0] == ""
    assert rows["validation accuracy"][1] == f"{100 * other_run.metrics.validation_accuracy[-1]:.2f} %"
    assert rows["test loss"] == [f"{run.metrics.test_loss[-1]:.4f}" for run in (tiny_run, other_run)]


def test_a_run_differs_from_itself_in_nothing(tiny_run):
    rows = compare_runs([tiny_run, tiny_run])
    assert rows == {name: [cell, cell] for name, cell in describe_results(tiny_run).items() if cell}
    assert "validation accuracy" not in rows


def test_the_seconds_are_those_of_training_and_of_measuring():
    rows = [EpochMetrics(0, evaluation_seconds=0.5), EpochMetrics(1, train_seconds=3.0, evaluation_seconds=0.5)]
    run = SimpleNamespace(metrics=Metrics.of(rows), status=SimpleNamespace(state="running"), config=TrainConfig())
    assert describe_results(run)["seconds"] == "4.0"
    assert describe_results(run)["train loss"] == ""


def test_a_run_that_measured_nothing_yet_has_empty_results():
    run = SimpleNamespace(metrics=Metrics.of([]), status=SimpleNamespace(state="failed"), config=TrainConfig())
    results = describe_results(run)
    assert (results["state"], results["epochs done"], results["test accuracy"]) == ("failed", "0", "")


def test_a_package_that_only_one_run_knows_is_a_difference(tiny_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run.path, copy)
    environment = tiny_run.environment | {"packages": {**tiny_run.environment["packages"], "jax": "9.9"}}
    content = json.dumps(environment).encode()
    (copy / "environment.json").write_bytes(content)
    static = tiny_run.committed.static | {"environment.json": fingerprint(content)}
    (copy / "manifest.json").write_bytes(Manifest(static, tiny_run.committed.appended).to_json())
    for runs in ((tiny_run, open_run(copy)), (open_run(copy), tiny_run)):
        assert sorted(compare_runs(list(runs))["jax version"]) == ["", "9.9"]
