from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace

import pytest

import lenscope
from fixtures_runs import plant
from lenscope.config import TrainConfig
from lenscope.insight.comparison import compare_runs, notes_of, results_of, rows_of, value_as_text
from lenscope.runs.files.metrics import Metrics
from lenscope.training.events import EpochMetrics


@pytest.fixture(scope="module")
def other_run(tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "other"
    return lenscope.train(tiny, out=out, epochs=1, batch_size=20, seed=3, validation=10, device="cpu", progress=False)


def test_settings_that_differ_and_results_are_values(tiny_run, other_run):
    found = compare_runs([tiny_run, other_run])
    differing = {"epochs": [2, 1], "validation": [tiny_run.config.validation, 10], "seed": [0, 3]}
    assert {name: cells for name, cells in found["differing"].items() if name != "device"} == differing
    assert found["equal"]["batch_size"] == 20
    results, last = found["results"], [run.metrics.rows()[-1] for run in (tiny_run, other_run)]
    assert results["state"] == ["finished", "finished"]
    assert results["epochs_done"] == [2, 1]
    assert results["test_loss"] == [row.test_loss for row in last]
    assert results["validation_accuracy"] == [None, last[1].validation_accuracy]
    assert results["validation_accuracy_interval"][0] is None
    low, high = results["test_accuracy_interval"][0]
    assert 0 <= low <= results["test_accuracy"][0] <= high <= 1
    assert "reconstruction_error" not in results
    change = last[0].test_accuracy - last[1].test_accuracy
    assert found["difference"] == {"test_accuracy": change, "test_images": 20}


def test_the_rows_are_the_settings_that_differ_and_then_the_results_as_texts(tiny_run, other_run):
    found = compare_runs([tiny_run, other_run])
    rows = {name: cells for name, *cells in rows_of(found)}
    results = [
        "epochs done",
        "train loss",
        "validation accuracy",
        "test loss",
        "test accuracy",
        "95 % interval",
        "seconds",
    ]
    assert next(name for name in rows if name in results) == "epochs done"
    assert set(results) <= set(rows)
    assert rows["seed"] == ["0", "3"]
    assert rows["test accuracy"] == [f"{100 * run.metrics.test_accuracy[-1]:.2f} %" for run in (tiny_run, other_run)]
    assert rows["validation accuracy"][0] == ""
    equal, measured, change = notes_of(found, ["tiny", "other"])
    assert equal.startswith("equal in both runs: state finished, data mnist, network lenet, ")
    assert measured.startswith(
        "validation accuracy: on 10 images; test accuracy: on 20 images; losses: nats per image; "
    )
    assert re.fullmatch(
        r"test accuracy of tiny minus that of other: [+−]?\d+\.00 points, on the same 20 test images", change
    )


def test_a_run_differs_from_itself_in_nothing(tiny_run):
    found = compare_runs([tiny_run, tiny_run])
    assert found["differing"] == {}
    assert found["difference"]["test_accuracy"] == 0
    assert "validation_accuracy" not in found["results"]


def test_accuracies_on_other_test_images_are_not_subtracted(tiny_run, tmp_path):
    copy = shutil.copytree(tiny_run.path, tmp_path / "copy")
    environment = tiny_run.environment
    data = environment["data"] | {"test_sha256": "0" * 64}
    other = plant(copy, "environment.json", json.dumps(environment | {"data": data}).encode())
    found = compare_runs([tiny_run, other])
    assert found["difference"] is None
    assert next(name for name, *_ in rows_of(found)) == "test data"


def a_run(rows, state):
    data = SimpleNamespace(validation_images=0, test_images=0)
    return SimpleNamespace(
        metrics=Metrics.of(rows), status=SimpleNamespace(state=state), config=TrainConfig(), data=data
    )


def test_the_seconds_are_those_of_training_and_of_measuring():
    rows = [EpochMetrics(0, evaluation_seconds=0.5), EpochMetrics(1, train_seconds=3.0, evaluation_seconds=0.5)]
    results = results_of(a_run(rows, "running"))
    assert results["seconds"] == 4.0
    assert results["train_loss"] is None


def test_a_run_that_measured_nothing_yet_has_empty_results():
    results = results_of(a_run([], "failed"))
    assert (results["state"], results["epochs_done"], results["test_accuracy"]) == ("failed", 0, None)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("patience", None, "none"),
        ("stratify", False, "no"),
        ("augment", {"shift": 2.0, "rotation": 7.5}, "shift=2,rotation=7.5"),
        ("train_sha256", "0123456789abcdef", "0123456789ab"),
        ("seed", 12345, "12345"),
        ("train_images", 12345, "12,345"),
        ("validation", 0.2, "0.2"),
        ("test_accuracy_interval", (0.5, 1.0), "50.00 to 100.00 %"),
    ],
)
def test_values_are_shown_as_plain_words_and_numbers(name, value, text):
    assert value_as_text(name, value) == text


def test_a_package_that_only_one_run_knows_is_a_difference(tiny_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run.path, copy)
    environment = tiny_run.environment | {"packages": {**tiny_run.environment["packages"], "jax": "9.9"}}
    other = plant(copy, "environment.json", json.dumps(environment).encode())
    assert compare_runs([tiny_run, other])["differing"] == {"jax_version": [None, "9.9"]}
    assert compare_runs([other, tiny_run])["differing"] == {"jax_version": ["9.9", None]}
