"""When an answer is unsure: calibrated on images that the run holds out, kept in the run, used without the data."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import lenscope
from fixtures_runs import plant
from lenscope.data.dataset import Splits
from lenscope.engines import predict_log_probabilities
from lenscope.errors import LenscopeError, RunError
from lenscope.runs import unsure
from lenscope.runs.unsure import UnsureRule, calibrate, leads

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.runs.run import Run

PLAIN = {"epochs": 1, "batch_size": 50, "lr": 2e-3, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def splits(mnist: Splits) -> Splits:
    return Splits(mnist.train.take(np.arange(2000)), test=mnist.test.take(np.arange(300)))


@pytest.fixture(scope="module")
def run(splits: Splits, tmp_path_factory: Any) -> Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    return lenscope.train(splits, out=out, validation=500, **PLAIN | {"epochs": 6})


def test_a_lead_is_the_answers_log_probability_less_the_mean() -> None:
    logs = np.log(np.array([[0.5, 0.25, 0.25], [0.98, 0.01, 0.01]], np.float32))
    np.testing.assert_allclose(leads(logs), [np.log(2) * 2 / 3, np.log(98) * 2 / 3], rtol=1e-6)


def test_one_in_a_hundred_held_out_images_is_unsure(run: Run, splits: Splits) -> None:
    held_out = splits.hold_out(500, 0).validation
    assert held_out is not None
    rule = run.unsure_rule
    assert rule is not None
    assert (rule.part, rule.images, rule.share) == ("validation", 500, 0.01)
    found = leads(predict_log_probabilities(run.architecture, run.weights(), held_out.resized(32)))
    assert int((found < rule.least_lead).sum()) == 5
    said = {finding.part: finding.says for finding in lenscope.verify(run)}
    assert said[unsure.FILE] == "calibrated on 500 validation images"


def test_without_a_validation_part_training_images_calibrate_it_and_never_the_test_part(splits, run, monkeypatch):
    asked = []

    def predict(_network, _weights, part, threads):
        asked.append(part)
        assert threads == 1
        return np.eye(200, 10, dtype="f4")

    monkeypatch.setattr(unsure, "predict_log_probabilities", predict)
    monkeypatch.setattr(unsure, "MOST", 200)
    rule = calibrate(run.architecture, run.weights(), splits, threads=1)
    assert (rule.part, rule.images) == ("training", 200)
    assert np.array_equal(asked[0].images[[0, -1]], splits.train.images[[0, -1]])


def test_a_run_is_kept_though_there_is_no_room_to_calibrate(tiny: Any, tmp_path: Path, monkeypatch: Any) -> None:
    def fail(*_: object) -> None:
        raise LenscopeError("--threads 512: no room for so many")

    monkeypatch.setattr("lenscope.runs.prepare.calibrate", fail)
    kept = lenscope.train(tiny, out=tmp_path / "run", **PLAIN)
    assert (kept.status.state, kept.unsure_rule) == ("finished", None)
    assert kept.weights()


def test_of_few_images_there_is_no_rule_and_nothing_is_said(tiny_run: Run, tmp_path: Path) -> None:
    assert tiny_run.unsure_rule is None
    assert not (tiny_run.path / unsure.FILE).exists()
    Image.fromarray(np.eye(28, dtype=np.uint8) * 255).save(tmp_path / "line.png")
    assert lenscope.predict(tiny_run, [tmp_path / "line.png"])[0].unsure is None


def test_noise_is_unsure_far_more_often_than_digits_are(run: Run, splits: Splits, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(splits.test.images[number, 0]).save(tmp_path / f"digit-{number}.png")
        noise = np.pad(draw.integers(0, 256, (60, 60), np.uint8), 40)
        Image.fromarray(noise).save(tmp_path / f"noise-{number}.png")
    of = {kind: lenscope.predict(run, sorted(tmp_path.glob(f"{kind}*"))) for kind in ("digit", "noise")}
    assert sum(bool(one.unsure) for one in of["digit"]) <= 4
    assert sum(bool(one.unsure) for one in of["noise"]) >= 15


def test_a_run_that_goes_on_calibrates_again(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lenscope.train(splits, out=tmp_path / "run", **PLAIN)
    before = first.unsure_rule
    whole = lenscope.train(splits, out=tmp_path / "whole", **PLAIN | {"epochs": 2})
    monkeypatch.setattr("lenscope.api.training.load_own", lambda *_, **__: splits)
    after = lenscope.resume(first, epochs=2, progress=False).unsure_rule
    assert before != after == whole.unsure_rule


@pytest.mark.parametrize("content", [b"[]", b'{"least_lead": NaN, "share": 0.01, "part": "training", "images": 100}'])
def test_a_broken_rule_is_named(run: Run, tmp_path: Path, content: bytes) -> None:
    shutil.copytree(run.path, tmp_path / "copy")
    plant(tmp_path / "copy", unsure.FILE, content)
    with pytest.raises(RunError, match=r"unsure\.json"):
        _ = lenscope.open_run(tmp_path / "copy").unsure_rule


def test_a_rule_is_kept_as_it_is(run: Run) -> None:
    rule = UnsureRule(1.5, 0.01, "training", 100)
    assert b'"least_lead": 1.5' in rule.to_json()
    assert rule.is_unsure(np.log(np.full(10, 0.1, np.float32)))
    assert not replace(rule, least_lead=0.0).is_unsure(np.log(np.full(10, 0.1, np.float32)))
