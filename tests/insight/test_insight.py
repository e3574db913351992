"""Everything measured about a run: what the report draws and `lenscope insight` prints, with planted kernels."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fixtures_runs import QUICK, begin_and_die
from lenscope.config import TrainConfig
from lenscope.insight.facts import insight_facts
from lenscope.insight.insight import examine_run
from lenscope.insight.story import describe_recipe, facts_of, tell
from lenscope.pytorch.nets.build import build
from lenscope.runs.files.metrics import Metrics
from lenscope.runs.lock import hold
from lenscope.runs.prepare import prepare
from lenscope.runs.provenance import data_metadata
from lenscope.runs.recorder import Recorder
from lenscope.runs.run import Run, open_run
from lenscope.training.events import EpochDone, EpochMetrics, RunFinished, RunStarted, Snapshot, StepsDone

CONFIG = TrainConfig(epochs=2, batch_size=20)
SOBEL = np.outer([1, 4, 6, 4, 1], [-1, -2, 0, 2, 1]) / 48


def rounded(value: Any) -> Any:
    """JSON without what differs in the last digits from one processor to another."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


@pytest.fixture(scope="module")
def planted(tiny, tmp_path_factory) -> Run:
    """Two epochs in which conv1's kernel 2 becomes Sobel's, kernel 3 goes dark, and conv2's first grows by half."""
    path = tmp_path_factory.mktemp("planted") / "planted"
    path.mkdir()
    initial = {name: tensor.numpy().copy() for name, tensor in build("lenet", 1, 10, 5).state_dict().items()}
    final = {name: weights.copy() for name, weights in initial.items()}
    final["conv1.weight"][2, 0], final["conv1.weight"][3], final["conv1.bias"][3] = SOBEL, -0.1, -1
    final["conv2.weight"][0, 0] *= 1.5
    half = {name: (initial[name] + final[name]) / 2 for name in initial}
    data = asdict(data_metadata(prepare(CONFIG, tiny)))
    with hold(path) as lock:
        recorder = Recorder(path, {"engine": "fused", "threads": 1, "packages": {}, "data": data}, lock)
        recorder.record(RunStarted(CONFIG, 60, 0, 20, tiny.classes, 1, 6, 3, "fused", "cpu", 1, initial))
        for epoch, weights in enumerate((initial, half, final)):
            if epoch:
                recorder.record(StepsDone(epoch, 3 * epoch, np.full(3, 2.0 / epoch, np.float32), np.full(3, 1e-4)))
            kernels = {layer: weights[f"{layer}.weight"] for layer in ("conv1", "conv2")}
            recorder.record(Snapshot(3 * epoch, kernels))
            seen = {"train_loss": 2.0 / epoch, "train_seconds": 0.5, "images_per_second": 120.0} if epoch else {}
            recorder.record(EpochDone(EpochMetrics(epoch=epoch, test_loss=2.3, test_accuracy=0.25, **seen)))
        recorder.record(RunFinished(6, final))
    return open_run(path)


def test_what_was_planted_is_seen(planted, tiny) -> None:
    insight = examine_run(planted, tiny.test)
    first, second = insight.layers
    assert first.steps.tolist() == [0, 3, 6]
    assert first.epochs.tolist() == [0, 1, 2]
    assert first.matches["trained"]["first"].scores[2, 0] > 0.9999
    assert first.matches["trained"]["first"].p_values[2, 0] == 1e-4
    assert np.isnan(first.matches["trained"]["first"].scores[3, 0])
    assert first.dead[3] == 1
    assert first.ablations[3].change == 0
    assert (first.ablations[3].lost, first.ablations[3].gained) == (0, 0)
    assert first.drift.kernels.change[0] == 0
    np.testing.assert_allclose(second.drift.slices.change[0, 0], 0.5, rtol=1e-6)
    np.testing.assert_allclose(second.drift.slices.cosine[0, 0], 1, rtol=1e-6)
    np.testing.assert_allclose(second.drift.slices.per_epoch[0, 0], 0.25, rtol=1e-6)
    for source in ("trained", "difference"):
        for family, match in first.matches[source].items():
            np.testing.assert_array_equal(first.courses[source][family][-1], match.scores)
    assert np.isnan(first.courses["difference"]["first"][0]).all()
    low, high = first.chance["first"]
    assert 0 < low < high < 1


def test_the_numbers_as_json(planted, tiny, golden) -> None:
    facts = rounded(insight_facts(examine_run(planted, tiny.test)))
    facts["run"] = facts["run"].rsplit("/", 1)[-1]
    for layer in facts["layers"]:
        layer["kernels"] = layer["kernels"][:4]
    golden("insight.json", json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def test_a_run_without_trained_weights_is_seen_as_far_as_it_got(tiny, tmp_path) -> None:
    begin_and_die(tiny, QUICK, tmp_path / "run", 5)
    insight = examine_run(open_run(tmp_path / "run"), tiny.test)
    assert (insight.measured, insight.evaluation) == (None, None)
    assert all(layer.dead is None and layer.ablations == () for layer in insight.layers)
    assert "It failed" in insight.sentence
    facts = insight_facts(insight)
    assert facts["evaluation"] is None
    assert facts["facts"]["accuracy"] == "0.00 % on the test images, epoch 1"


def test_the_story_of_a_run(planted, tiny) -> None:
    insight = examine_run(planted, tiny.test)
    accuracy = f"accuracy {100 * insight.evaluation.accuracy:.2f} % on 20 mnist test images, no better than guessing."
    assert tell(planted, insight.evaluation) == (
        "A LeNet was trained to classify the 10 classes of mnist from 60 images in 2 epochs (1.0 s of training): "
        f"{accuracy} The training loss was still falling, by 50 % in the last epoch."
    )
    assert tell(planted, None).startswith("A LeNet learned to classify the 10 classes of mnist from 60 images in 2")


class Course:
    """A run of which only the course matters."""

    def __init__(self, losses=(), state="finished", why=None, test_losses=(None,) * 9, **settings) -> None:
        pairs = zip(losses, test_losses, strict=False)
        rows = [EpochMetrics(at, loss, test_loss=test) for at, (loss, test) in enumerate(pairs, start=1)]
        self.metrics = Metrics.of([EpochMetrics(0, test_accuracy=0.1), *rows])
        self.config = CONFIG.with_settings(**settings)
        self.status = SimpleNamespace(state=state, why=why)
        self.data = SimpleNamespace(name="mnist", classes=("a",), train_images=1)
        self.environment: dict[str, Any] = {}


@pytest.mark.parametrize(("run", "words"), [
    (Course([0.5, 0.0, 0.0]), "learned to classify the 1 class of mnist from 1 image in 3 epochs (0.0 s of training)."),
    (Course([0.5, 0.4], why="no lower validation loss"), "It stopped early: no lower validation loss."),
    (Course([0.5, 0.4], "running", epochs=5), "It is still training: 2 of 5 epochs are done."),
    (Course([], "abandoned"), "A LeNet that has not finished an epoch on mnist. Its process ended after 0 of 2 epochs"),
    (Course([], "interrupted", init_from="runs/a"), "an epoch on mnist, starting from the weights of runs/a. It was"),
    (Course([0.5, 0.4], init_from="runs/a"), "the weights of runs/a. The training loss was still falling, by 20 % in"),
    (Course([0.5, 0.4], test_losses=(0.3, 0.32)), "The training loss was still falling, by 20 % in the last epoch."),
    (
        Course([0.5, 0.4, 0.3], test_losses=(0.3, 0.2, 0.25)),
        ". The test loss was lowest after epoch 2; it has risen by 25 % since, which is overfitting.",
    ),
])  # fmt: skip
def test_a_story_says_what_is_true(run, words) -> None:
    assert words in tell(run, None)
    assert "nan" not in tell(run, None)
    if run.status.why or run.status.state != "finished":
        assert "still falling" not in tell(run, None)


def test_facts_of_a_run_without_weights_name_the_last_accuracy_that_was_measured() -> None:
    facts = dict(facts_of(Course([], "running"), None))
    assert facts["accuracy"] == "10.00 % on the test images, epoch 0"
    assert facts["speed"] == "not trained"


@pytest.mark.parametrize(("settings", "words"), [
    ({}, "lecture: adam, learning rate 0.0001, batches of 100"),
    ({"optimizer": "sgd", "learning_rate": 0.5}, "lecture with changes: sgd, learning rate 0.5, batches of 100"),
    ({"optimizer": "gd"}, "lecture with changes: gd, learning rate 0.0001, the full training set per step"),
])  # fmt: skip
def test_a_recipe_says_whether_it_was_changed(settings, words) -> None:
    assert describe_recipe(TrainConfig().with_settings(**settings)) == words
