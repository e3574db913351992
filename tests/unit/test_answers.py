from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import lenscope
from lenscope.data.dataset import Dataset, Splits
from lenscope.errors import DataError, UsageError
from lenscope.insight.answers import evaluate_run, predict_pictures
from lenscope.training.choice import predict_log_probabilities


@pytest.fixture(scope="module")
def able_run(mnist, tmp_path_factory):
    """A network that has learned something, so that its answers are not all the same."""
    splits = Splits(mnist.train.take(np.arange(3000)), test=mnist.test.take(np.arange(20)))
    out = tmp_path_factory.mktemp("runs") / "able"
    return lenscope.train(splits, out=out, epochs=2, batch_size=20, lr=2e-3, device="cpu", progress=False)


def pattern(size, channels, seed):
    return np.random.default_rng(seed).integers(0, 256, (size, size) + (channels,) * (channels > 1), np.uint8)


def run_on_patterns(tmp_path, channels, name="folder"):
    images = np.stack([pattern(28, channels, seed).reshape(28, 28, channels) for seed in range(12)]).transpose(
        0, 3, 1, 2
    )
    train = Dataset(images, np.arange(12, dtype=np.uint8) % 2, ("first", "second"), name)
    return lenscope.train(
        Splits(train), out=tmp_path / "run", epochs=1, batch_size=4, lr=1e-3, device="cpu", progress=False
    )


def test_evaluate_is_what_training_measured_last(tiny_run, tiny):
    evaluation = evaluate_run(tiny_run, tiny.test)
    assert evaluation.accuracy == tiny_run.metrics.test_accuracy[-1]
    assert evaluation.loss == pytest.approx(tiny_run.metrics.test_loss[-1], rel=1e-6)


@pytest.mark.parametrize(("classes", "channels"), [(9, 1), (10, 3)])
def test_images_of_other_classes_or_channels_are_refused(tiny_run, classes, channels):
    part = Dataset(np.zeros((2, channels, 28, 28), np.uint8), np.zeros(2, np.uint8), tuple("abcdefghij"[:classes]), "x")
    with pytest.raises(UsageError) as caught:
        evaluate_run(tiny_run, part)
    plural = "" if channels == 1 else "s"
    assert str(caught.value) == (
        f"x: got {classes} classes (a, b, c, …) and {channels} channel{plural}, expected those that tiny was trained "
        "on, 10 classes (0, 1, 2, …) and 1 channel"
    )


def test_enlarged_inverted_digits_are_recognised_as_the_originals_are(able_run, mnist, tmp_path):
    digits = mnist.test.take(np.arange(20))
    originals = predict_log_probabilities(able_run.network(), digits.resized(32)).argmax(1)
    files = []
    for number, digit in enumerate(digits.images[:, 0]):
        paper = np.pad(255 - digit, ((3, 9), (6, 2)), constant_values=255)
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(paper).resize((400, 410), Image.Resampling.BICUBIC).convert("RGB").save(files[-1])
    predictions = predict_pictures(able_run, files)
    assert len(set(originals.tolist())) >= 5
    assert sum(int(p.answer) == original for p, original in zip(predictions, originals, strict=True)) >= 18
    for prediction, file in zip(predictions, files, strict=True):
        assert prediction.source == str(file)
        assert prediction.probabilities.shape == (10,)
        assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert prediction.probability == prediction.probabilities.max()
        assert prediction.answer == prediction.classes[prediction.probabilities.argmax()]
        np.testing.assert_array_equal(prediction.prepared, prediction.steps.resized(32)[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_other_data_are_only_resized(tmp_path, channels):
    run = run_on_patterns(tmp_path, channels)
    grey, colour = pattern(50, 1, 1), pattern(50, 3, 2)
    for name, pixels in (("grey", grey), ("colour", colour)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    of_grey, of_colour = predict_pictures(run, [tmp_path / "grey.png", tmp_path / "colour.png"])
    if channels == 3:
        expected = [np.repeat(grey[None], 3, 0), colour.transpose(2, 0, 1)]
    else:
        expected = [grey[None], np.asarray(Image.fromarray(colour).convert("L"))[None]]
    for prediction, image in zip((of_grey, of_colour), expected, strict=True):
        alone = Dataset(image[None], np.zeros(1, np.uint8), run.data.classes, "x").resized(32)
        np.testing.assert_array_equal(prediction.prepared, alone.images[0])
        probabilities = np.exp(predict_log_probabilities(run.network(), alone)[0])
        np.testing.assert_array_equal(prediction.probabilities, probabilities)
        assert prediction.steps is None
        assert prediction.classes == ("first", "second")


@pytest.mark.parametrize(
    ("name", "prepared"), [("mnist", True), ("emnist-letters", True), ("fashion-mnist", False), ("mnistlike", False)]
)
def test_only_sets_made_as_mnist_was_are_prepared_as_it_was(tmp_path, name, prepared, mnist):
    run = run_on_patterns(tmp_path, 1, name)
    Image.fromarray(mnist.test.images[0, 0]).save(tmp_path / "seven.png")
    (prediction,) = predict_pictures(run, [tmp_path / "seven.png"])
    assert (prediction.steps is not None) == prepared


def test_a_blank_picture_is_named(tiny_run, tmp_path):
    Image.fromarray(np.full((40, 40), 250, np.uint8)).save(tmp_path / "blank.png")
    with pytest.raises(DataError, match=r"blank\.png: no digit found"):
        predict_pictures(tiny_run, [tmp_path / "blank.png"])


def test_evaluating_resizes_to_the_networks_size(tiny_run, tiny):
    enlarged = replace(tiny.test, images=np.kron(tiny.test.images, np.ones((2, 2), np.uint8)), _resized={})
    assert evaluate_run(tiny_run, enlarged).labels.shape == (20,)
