"""A folder of pictures in colour, from training to the report, in both engines."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import lenscope
from fixtures_data import picture
from lenscope.data.formats.coloured import coloured

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.data.dataset import Splits


@pytest.fixture(scope="module")
def folder(tiny_colour: Splits, mnist: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training images of `tiny_colour` and the first 70 test images in colour, as PNG files."""
    assert mnist.test is not None
    test = replace(mnist.test.take(np.arange(70)), images=coloured(mnist.test.images[:70], 1))  # an 8 is among them
    root = tmp_path_factory.mktemp("folder") / "tinted"
    for name, part in (("train", tiny_colour.train), ("test", test)):
        for index, (image, label) in enumerate(zip(part.images, part.labels, strict=True)):
            path = root / name / str(label) / f"{index:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(np.ascontiguousarray(image.transpose(1, 2, 0))))
    return root


@pytest.fixture(scope="module", params=["fused", pytest.param("torch", marks=pytest.mark.slow)])
def run(folder: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> lenscope.Run:
    out = tmp_path_factory.mktemp("runs") / request.param
    return lenscope.train(folder, out=out, engine=request.param, epochs=80, batch_size=20, learning_rate=3e-3,
                          progress=False)  # fmt: skip


def test_the_folder_holds_the_same_images(folder: Path, tiny_colour: Splits) -> None:
    train = lenscope.load(folder).train
    assert train.images.shape == (60, 3, 28, 28)
    order = np.argsort(tiny_colour.train.labels, kind="stable")
    assert np.array_equal(train.images, tiny_colour.train.images[order])


def test_a_run_on_it_learns_evaluates_and_predicts(run: lenscope.Run, folder: Path, tmp_path: Path) -> None:
    assert run.metrics.train_loss[-1] < 0.5 < run.metrics.train_loss[1]
    assert lenscope.evaluate(run).accuracy == run.metrics.test_accuracy[-1]
    known = sorted((folder / "train").glob("*/*.png"))
    answers = lenscope.predict(run, known)
    assert np.mean([one.answer == path.parent.name for one, path in zip(answers, known, strict=True)]) > 0.9
    assert answers[0].prepared.shape == (3, 32, 32)
    grey = tmp_path / "grey.png"
    grey.write_bytes(picture())
    (answer,) = lenscope.predict(run, [grey])
    assert np.array_equal(answer.prepared[0], answer.prepared[2])


def test_its_pictures_and_its_report_are_in_colour(run: lenscope.Run) -> None:
    assert lenscope.kernels(run).kernels.coloured
    page = lenscope.report(run).read_text(encoding="utf-8")
    data = json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])
    assert [layer["coloured"] for layer in data["layers"]] == [True, False]
    assert data["images"]["channels"] == 3
