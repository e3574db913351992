from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

import lenscope
from fixtures_runs import plant
from lenscope.data.dataset import Dataset, Splits
from lenscope.data.fit import fit_square
from lenscope.data.resize import resize
from lenscope.engines import predict_log_probabilities
from lenscope.errors import DataError, RunError, UsageError
from lenscope.insight.answers import describe_preparation, evaluate_run, predict_each, predict_pictures
from lenscope.training import fused_engine


@pytest.fixture(scope="module")
def able_run(mnist, tmp_path_factory):
    """A network that has learned something, so that its answers are not all the same."""
    splits = Splits(mnist.train.take(np.arange(3000)), test=mnist.test.take(np.arange(20)))
    out = tmp_path_factory.mktemp("runs") / "able"
    return lenscope.train(splits, out=out, epochs=2, batch_size=20, lr=2e-3, device="cpu", progress=False)


def pattern(size, channels, seed):
    return np.random.default_rng(seed).integers(0, 256, (size, size) + (channels,) * (channels > 1), np.uint8)


def grey_and_colour(folder, size):
    """Two pictures and their files."""
    pictures = pattern(size, 1, 1), pattern(size, 3, 2)
    files = [folder / "grey.png", folder / "colour.png"]
    for pixels, file in zip(pictures, files, strict=True):
        Image.fromarray(pixels).save(file)
    return pictures, files


def run_on_patterns(tmp_path, channels, name="folder", **settings):
    images = np.stack([pattern(28, channels, seed).reshape(28, 28, channels) for seed in range(12)]).transpose(
        0, 3, 1, 2
    )
    train = Dataset(images, np.arange(12, dtype=np.uint8) % 2, ("first", "second"), name)
    return lenscope.train(
        Splits(train), out=tmp_path / "run", epochs=1, batch_size=4, lr=1e-3, device="cpu", progress=False, **settings
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
        f"x: got {classes} classes (a, b, c, …) and {channels} channel{plural}, expected those of the training "
        "images of tiny, 10 classes (0, 1, 2, …) and 1 channel: missing '0', '1', '2', '3', '4', '5', '6', '7', "
        "'8', '9', "
        f"not expected {', '.join(map(repr, part.classes))}"
    )


def test_enlarged_inverted_digits_are_recognised_as_the_originals_are(able_run, mnist, tmp_path):
    digits = mnist.test.take(np.arange(20))
    weights = able_run.checked_weights()
    originals = predict_log_probabilities(able_run.architecture, weights, digits.resized(32)).argmax(1)
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
    (grey, colour), files = grey_and_colour(tmp_path, 50)
    of_grey, of_colour = predict_pictures(run, files)
    if channels == 3:
        expected = [np.repeat(grey[None], 3, 0), colour.transpose(2, 0, 1)]
    else:
        expected = [grey[None], np.asarray(Image.fromarray(colour).convert("L"))[None]]
    for prediction, image in zip((of_grey, of_colour), expected, strict=True):
        alone = Dataset(image[None], np.zeros(1, np.uint8), run.data.classes, "x").resized(32)
        np.testing.assert_array_equal(prediction.prepared, alone.images[0])
        probabilities = np.exp(predict_log_probabilities(run.architecture, run.checked_weights(), alone)[0])
        np.testing.assert_array_equal(prediction.probabilities, probabilities)
        assert prediction.steps is None
        assert prediction.classes == ("first", "second")


def run_on_digits(images, labels, out, name, **settings):
    train = Dataset(images, labels, tuple("0123456789"), name)
    settings = {"epochs": 3, "batch_size": 50, "lr": 2e-3} | settings
    return lenscope.train(Splits(train), out=out, device="cpu", validation=0, progress=False, **settings)


@pytest.fixture(scope="module", params=["MNIST", "mnist-inverted"])
def named_run(request, mnist, tmp_path_factory):
    """Runs on the same digits under other names, of which one says that they are dark on light, and they are."""
    images = mnist.train.images[:2000]
    out = tmp_path_factory.mktemp("runs") / request.param
    return run_on_digits(
        ~images if "inverted" in request.param else images, mnist.train.labels[:2000], out, request.param
    )


def test_what_the_images_are_decides_how_a_picture_is_prepared_and_not_their_name(named_run, mnist, tmp_path):
    inverted = named_run.data.name == "mnist-inverted"
    for number, digit in enumerate(mnist.test.images[:20, 0]):
        Image.fromarray(np.pad(255 - digit, 9, constant_values=255)).resize((230, 230)).save(tmp_path / f"{number}.png")
    found = lenscope.predict(named_run, [tmp_path / f"{number}.png" for number in range(20)])
    assert sum(int(one.answer) == label for one, label in zip(found, mnist.test.labels, strict=False)) >= 15
    for one in found:
        assert (one.prepared[0, 0, 0] == 255) == inverted
        np.testing.assert_array_equal(one.prepared[0], resize(one.form.place(one.steps.centred)[None, None], 32)[0, 0])


def test_a_set_reads_its_own_pictures_whatever_their_polarity(named_run, mnist, tmp_path):
    """The preparation finds a digit of the set as the set has it: nothing but the polarity is to be undone."""
    digit = mnist.test.images[0, 0]
    own = ~digit if named_run.data.name == "mnist-inverted" else digit
    Image.fromarray(own).save(tmp_path / "own.png")
    (found,) = lenscope.predict(named_run, [tmp_path / "own.png"])
    (resized,) = lenscope.predict(named_run, [tmp_path / "own.png"], prepare="resize")
    np.testing.assert_array_equal(found.prepared, resized.prepared)
    assert resized.steps is None


def forget_form(run, name):
    """A run as releases wrote it that did not measure how its images are drawn."""
    facts = json.loads((run.path / "environment.json").read_text())
    del facts["data"]["form"]
    facts["data"]["name"] = name
    plant(run.path, "environment.json", json.dumps(facts).encode())
    return lenscope.open_run(run.path)


@pytest.mark.parametrize("fit", ["squeeze", "pad", "crop"])
def test_a_picture_becomes_square_as_the_training_images_did(tmp_path, fit):
    wide = np.random.default_rng(1).integers(0, 256, (30, 50, 3), np.uint8)
    run = lenscope.train(
        (np.stack([wide, 255 - wide]), [0, 1]),
        out=tmp_path / "run",
        fit=fit,
        epochs=1,
        batch_size=1,
        validation=0,
        progress=False,
    )
    Image.fromarray(wide).save(tmp_path / "wide.png")
    [prediction] = predict_pictures(run, [tmp_path / "wide.png"])
    trained_on = lenscope.load((wide[None], [0]), fit=fit).train.resized(32)
    np.testing.assert_array_equal(prediction.prepared, trained_on.images[0])


@pytest.mark.parametrize(
    ("name", "prepared", "says"),
    [
        ("mnist", True, "the data set is mnist"),
        ("emnist-letters", True, "the data set is emnist-letters"),
        ("mnist_png", False, "this run has no measurement of its images; for digits add --prepare digit"),
    ],
)
def test_an_old_run_goes_by_its_name_and_says_so(tmp_path, name, prepared, says, mnist):
    run = forget_form(run_on_digits(mnist.train.images[:60], mnist.train.labels[:60], tmp_path / "run", "x"), name)
    Image.fromarray(mnist.test.images[0, 0]).save(tmp_path / "seven.png")
    (prediction,) = predict_pictures(run, [tmp_path / "seven.png"])
    assert (prediction.steps is not None) == prepared
    assert says in describe_preparation(run.data)
    (forced,) = predict_pictures(run, [tmp_path / "seven.png"], "digit")
    assert forced.steps is not None


def test_a_preparation_is_asked_for_or_measured(tmp_path, mnist):
    run = run_on_patterns(tmp_path, 3)
    Image.fromarray(mnist.test.images[0, 0]).save(tmp_path / "seven.png")
    (plain,) = predict_pictures(run, [tmp_path / "seven.png"])
    (forced,) = predict_pictures(run, [tmp_path / "seven.png"], "digit")
    assert plain.steps is None
    assert forced.steps is not None
    assert forced.prepared.shape == (3, 32, 32)
    assert (
        describe_preparation(run.data)
        == "pictures are only resized: the training images are not centred on an even background"
    )
    asked = "pictures are prepared as digits (--prepare digit): light on dark, centred by mass"
    assert describe_preparation(run.data, "digit") == f"{asked}, scaled to 20 of 28 pixels"
    with pytest.raises(UsageError, match="unknown prepare 'digits'; did you mean 'digit'"):
        predict_pictures(run, [], "digits")


def test_a_blank_picture_is_named(tiny_run, tmp_path):
    Image.fromarray(np.full((40, 40), 250, np.uint8)).save(tmp_path / "blank.png")
    with pytest.raises(DataError, match=r"blank\.png: no digit found"):
        predict_pictures(tiny_run, [tmp_path / "blank.png"])


def test_each_picture_is_answered_on_its_own_and_a_broken_one_keeps_its_place(tiny_run, tiny, tmp_path):
    files = [tmp_path / f"{number}.png" for number in range(4)]
    for file, digit in zip(files, tiny.test.images[:, 0], strict=False):
        Image.fromarray(digit).resize((400, 400)).save(file)
    files[2].write_text("not a picture")
    found = list(predict_each(tiny_run, files))
    assert [isinstance(one, DataError) for one in found] == [False, False, True, False]
    assert "2.png: not a picture" in str(found[2])
    with pytest.raises(DataError, match=r"2\.png"):
        predict_pictures(tiny_run, files)
    kept = sum(value.nbytes for value in vars(found[0]).values() if isinstance(value, np.ndarray))
    assert kept < 2**13  # whatever the size of the picture; its steps are made again where they are looked at


@pytest.mark.parametrize("use", [evaluate_run, lambda run, _: predict_pictures(run, [])])
def test_weights_that_are_not_finite_answer_nothing(tiny_run, tiny, tmp_path, use):
    shutil.copytree(tiny_run.path, tmp_path / "run")
    weights = tiny_run.weights() | {"fc3.bias": np.full(10, np.nan, np.float32)}
    run = plant(tmp_path / "run", "weights/final.safetensors", save(weights))
    with pytest.raises(RunError, match=r"weights/final\.safetensors: fc3\.bias is not finite; the run is broken$"):
        use(run, tiny.test)


def test_evaluating_resizes_to_the_networks_size(tiny_run, tiny):
    enlarged = replace(tiny.test, images=np.kron(tiny.test.images, np.ones((2, 2), np.uint8)))
    assert evaluate_run(tiny_run, enlarged).labels.shape == (20,)


def probabilities_of(found):
    return np.stack([one.probabilities for one in found])


@pytest.mark.parametrize("network", ["lenet", "mlp"])
def test_a_picture_has_the_same_probabilities_alone_and_among_others(network, mnist, tmp_path):
    run = run_on_digits(mnist.train.images[:60], mnist.train.labels[:60], tmp_path / "run", "x", network=network)
    digits = mnist.test.images[:150]
    together = probabilities_of(lenscope.predict(run, digits, prepare="resize"))
    alone = np.concatenate([probabilities_of(lenscope.predict(run, digit[0], prepare="resize")) for digit in digits])
    np.testing.assert_array_equal(together, alone)


def test_the_network_runs_once_per_batch_and_an_iterator_is_answered_one_by_one(tiny_run, mnist, monkeypatch):
    passes = []
    known = fused_engine.log_probabilities
    monkeypatch.setattr(fused_engine, "log_probabilities", lambda *given: passes.append(len(given[2])) or known(*given))
    monkeypatch.setattr("lenscope.insight.answers.SOON", 60)
    lenscope.predict(tiny_run, mnist.test.images[:130])
    assert passes == [64, 64, 2]
    passes.clear()
    monkeypatch.setattr("lenscope.insight.answers.SOON", 0)
    assert len(lenscope.predict(tiny_run, mnist.test.images[:2])) == 2
    read = []
    images = (read.append(1) or image for image in mnist.test.images[:9, 0])
    monkeypatch.setattr("lenscope.insight.answers.SOON", 60)
    next(lenscope.predict_each(tiny_run, images))
    assert (passes, len(read)) == ([1, 1, 1], 1)


def test_a_path_is_one_file_or_a_folder_and_a_list_is_several(tiny_run, tiny, tmp_path):
    for name in ("b/2.png", "b/1.PNG", "a.jpg", ".hidden.png", ".hidden/3.png", "b/Thumbs.db", "notes.txt"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiny.test.images[0, 0]).save(path, "PNG")
    (tmp_path / "empty").mkdir()
    folder, file = tmp_path / "photos", tmp_path / "photos" / "a.jpg"
    inside = [str(file), str(folder / "b" / "1.PNG"), str(folder / "b" / "2.png")]
    assert [one.source for one in lenscope.predict(tiny_run, str(file))] == [str(file)]
    assert [one.source for one in lenscope.predict(tiny_run, folder)] == inside
    assert [one.source for one in lenscope.predict(tiny_run, [folder, str(file)])] == [*inside, str(file)]
    with pytest.raises(DataError, match=r"empty: no picture in it; expected \.png, "):
        lenscope.predict(tiny_run, tmp_path / "empty")


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_are_predicted_as_their_pictures_are(channels, tmp_path):
    run = run_on_patterns(tmp_path, channels)
    (grey, colour), files = grey_and_colour(tmp_path, 28)
    of_files = lenscope.predict(run, files)
    of_grey = (grey, grey[None], grey[None, None], grey[..., None], grey / np.float32(255))
    of_colour = (colour, colour[None], colour.transpose(2, 0, 1)[None], colour / 255)
    for images, file in ((of_grey, of_files[0]), (of_colour, of_files[1])):
        found = lenscope.predict(run, images)
        assert [one.source for one in found] == [f"image {number}" for number in range(len(images))]
        for one in found:
            np.testing.assert_array_equal(one.prepared, file.prepared)
            np.testing.assert_array_equal(one.probabilities, file.probabilities)
    mixed = lenscope.predict(run, [np.stack([grey, grey]), tmp_path / "grey.png", colour])
    assert [one.source for one in mixed] == ["image 0", "image 1", str(tmp_path / "grey.png"), "image 2"]


def test_the_preparation_of_an_array_is_shown_as_that_of_a_picture(tiny_run, mnist):
    paper = np.pad(255 - mnist.test.images[0, 0], 30, constant_values=255)
    [one] = lenscope.predict(tiny_run, paper)
    np.testing.assert_array_equal(one.pixels, paper)
    np.testing.assert_array_equal(one.prepared, one.steps.resized(32)[0])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.zeros((3, 28, 28), np.uint8), "image 1: shape (3, 28, 28) may be 3 grey images or one in colour; pass "),
        (np.zeros((28, 28, 4), np.uint8), "image 1: images have shape (1, 28, 28, 4)"),
        (np.full((28, 28), -9, np.int16), "image 1: images are int16 from -9 to -9, expected uint8"),
        (np.zeros(4, np.uint8), "image 1: got shape (4,), expected a path or an array (H, W), (H, W, C) or (N, …)"),
        (7, "image 1: got int, expected a path or an array"),
        (np.zeros((28, 28), np.uint8), "image 1: no digit found"),
    ],
)
def test_an_array_that_is_no_image_is_named(value, says, tiny_run, tiny):
    first, found, last = lenscope.predict_each(tiny_run, [tiny.test.images[0, 0], value, tiny.test.images[1, 0]])
    assert str(found).startswith(says)
    assert (first.source, last.source) == ("image 0", "image 2")
    with pytest.raises(DataError, match="got NoneType, expected a path or an array"):
        lenscope.predict(tiny_run, None)


@pytest.mark.parametrize("fit", ["squeeze", "pad", "crop"])
def test_a_picture_is_made_square_as_those_of_training_were(fit, tmp_path):
    run = run_on_patterns(tmp_path, 1, fit=fit)
    wide = np.kron(pattern(4, 1, 1), np.ones((4, 9), np.uint8))
    expected = resize(fit_square(wide, fit)[None, None], 32)[0]
    [found] = lenscope.predict(run, wide)
    np.testing.assert_array_equal(found.prepared, expected)


def test_a_file_of_arrays_is_predicted_as_its_array(tiny_run, tiny, tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, tiny.test.images[:4, 0])
    found = lenscope.predict(tiny_run, path)
    assert [one.source for one in found] == [f"{path}[{number}]" for number in range(4)]
    np.testing.assert_array_equal(
        probabilities_of(found), probabilities_of(lenscope.predict(tiny_run, tiny.test.images[:4]))
    )
    np.save(path, np.zeros((2**16 + 1, 1, 3), np.uint8))
    [error] = lenscope.predict_each(tiny_run, [path])
    assert str(error) == f"{path}: 1×65537 is longer than 65536 pixels; save it smaller"
    np.save(path, np.zeros((2, 2), np.float32))
    [error] = lenscope.predict_each(tiny_run, [path])
    assert str(error).startswith(f"{path}: expected images as bytes; ")
