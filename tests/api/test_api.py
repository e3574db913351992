"""The public verbs where they decide something of their own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import lenscope
from fixtures_data import picture, write_digits, write_idx
from lenscope.runs.provenance import require_same_data

QUICK = {"epochs": 1, "batch_size": 30, "progress": False}


def test_data_come_from_the_argument_else_from_the_config(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_digits(tmp_path / "digits", tiny)
    config = lenscope.TrainConfig(data="digits", epochs=1, batch_size=30)
    from_config = lenscope.train(config=config, progress=False)
    assert (from_config.data.name, from_config.config.data) == ("digits", str(folder))
    from_argument = lenscope.train(tiny, config=config, progress=False)
    assert (from_argument.data.name, from_argument.config.data) == ("mnist", "mnist")


def test_a_folders_run_can_be_measured_from_anywhere(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_digits(tmp_path / "digits", tiny)
    run = lenscope.train("digits", out=tmp_path / "run", **QUICK)
    monkeypatch.chdir("/")
    assert lenscope.evaluate(run).split == "test"


def test_data_that_are_no_longer_the_runs_own_are_refused(tiny, tmp_path):
    folder = write_digits(tmp_path / "digits", tiny)
    run = lenscope.train(folder, out=tmp_path / "run", **QUICK)
    lenscope.evaluate(run)
    write_idx(folder / "t10k-labels-idx1-ubyte", tiny.test.labels[::-1].copy())
    with pytest.raises(lenscope.DataError, match="the images are not those that run was trained on"):
        lenscope.evaluate(run)
    assert len(lenscope.evaluate(run, folder).labels) == 20  # named, they are taken


def test_without_a_test_part_the_held_out_images_are_measured(tiny, tmp_path):
    folder = write_digits(tmp_path / "digits", replace(tiny, test=None))
    held_out = lenscope.train(folder, out=tmp_path / "a", validation=20, **QUICK)
    evaluation = lenscope.evaluate(held_out)
    assert (evaluation.split, len(evaluation.labels)) == ("validation", 20)
    assert evaluation.accuracy == held_out.metrics.validation_accuracy[-1]
    alone = lenscope.train(folder, out=tmp_path / "b", validation=0, **QUICK)
    evaluation = lenscope.evaluate(alone)
    assert (evaluation.split, len(evaluation.labels)) == ("training", 60)
    title = lenscope.confusion(alone).figure().get_suptitle()
    assert "training images" in title


def test_data_dir_is_where_a_named_set_is_looked_for(tiny_run, mnist, tmp_path):
    broken = write_digits(tmp_path / "elsewhere", replace(mnist, train=mnist.test))
    with pytest.raises(lenscope.LenscopeError):
        lenscope.evaluate(tiny_run, "mnist", data_dir=broken)


def test_a_runs_threads_are_its_own(tiny, tmp_path):
    before = torch.get_num_threads()
    run = lenscope.train(tiny, out=tmp_path / "run", threads=2, **QUICK)
    assert run.environment["threads"] == 2
    assert torch.get_num_threads() == before


def test_summary_takes_any_network():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5))
    assert lenscope.summary(network, input_shape=(3, 8, 8)).parameters == 3 * 4 * 9 + 4 + 144 * 5 + 5


def test_preparations_are_drawn_under_the_name_asked_for(tiny, tiny_run, tmp_path):
    from PIL import Image

    Image.fromarray(tiny.test.images[0, 0]).save(tmp_path / "seven.png")
    [prediction] = lenscope.predict(tiny_run, [tmp_path / "seven.png"])
    assert lenscope.show_preparation(prediction, tmp_path).name == "seven-steps.png"
    assert lenscope.show_preparation(prediction, tmp_path / "new", "2-seven").is_file()


def test_kernels_and_curves_are_pictures(tiny_run):
    for display in (lenscope.kernels(tiny_run, "conv2", kernel=3), lenscope.curves(tiny_run)):
        assert display._repr_png_().startswith(b"\x89PNG")
    assert lenscope.kernels(tiny_run, "conv1").kernels.initial.shape == (6, 5, 5)


def test_evaluation_is_what_training_measured(tiny, tiny_run):
    evaluation = lenscope.evaluate(tiny_run, tiny)
    assert evaluation.accuracy == tiny_run.metrics.test_accuracy[-1]
    assert np.all(evaluation.confidence > 0)


def test_mistakes_are_those_of_the_evaluation(tiny, tiny_run):
    display = lenscope.mistakes(tiny_run, tiny)
    assert display.evaluation.split == "test"
    assert np.array_equal(display.dataset.labels, tiny.test.labels)


def arrays_of(tiny, *, test=True):
    """The tiny set as Keras would load it."""
    pairs = [(split.images[:, 0], split.labels) for split in (tiny.train, tiny.test)]
    return tuple(pairs) if test else pairs[0]


def test_a_run_on_arrays_is_that_on_the_splits_and_needs_them_again(tiny, tmp_path):
    run = lenscope.train(arrays_of(tiny), out=tmp_path / "arrays", **QUICK)
    same = lenscope.train(tiny, out=tmp_path / "splits", **QUICK)
    assert np.array_equal(run.losses, same.losses)
    assert (run.data.train_sha256, run.data.test_sha256) == (tiny.train.sha256, tiny.test.sha256)
    says = "^arrays: neither a named data set nor a folder; the run was trained on arrays of your own; pass .* data=$"
    for again in (lambda: lenscope.evaluate(run), lambda: lenscope.resume(run, epochs=2, progress=False)):
        with pytest.raises(lenscope.DataError, match=says):
            again()
    assert lenscope.evaluate(run, arrays_of(tiny)).accuracy == run.metrics.test_accuracy[-1]
    assert lenscope.resume(run, data=arrays_of(tiny), epochs=2, progress=False).config.data == "arrays"
    with pytest.raises(lenscope.RunError, match="the test data differ from those that it was trained on"):
        lenscope.resume(run, data=arrays_of(tiny, test=False), epochs=3, progress=False)


def test_other_arrays_are_measured_by_the_runs_classes(tiny, tmp_path):
    animals = np.array(["cat", "dog"])[tiny.train.labels % 2]
    run = lenscope.train((tiny.train.images, animals), out=tmp_path / "run", **QUICK)
    dogs = tiny.test.images[tiny.test.labels % 2 == 1]
    by_name, by_number = (lenscope.evaluate(run, (dogs, [dog] * len(dogs))) for dog in ("dog", 1))
    assert by_name.split == ""
    assert by_name.accuracy == by_number.accuracy
    assert by_name.labels.tolist() == [1] * len(dogs)


@pytest.mark.parametrize(("test", "validation", "resolved"), [(True, None, 0), (False, None, 0.2), (False, 0, 0)])
def test_a_fifth_is_held_out_of_training_images_that_are_alone_and_this_is_said(
    tiny, tmp_path, capsys, test, validation, resolved
):
    data = arrays_of(tiny, test=test)
    run = lenscope.train(data, out=tmp_path / "run", validation=validation, **{**QUICK, "progress": True})
    assert run.config.validation == resolved
    assert run.data.validation_images == 60 * resolved
    said = "no validation or test images: 20 % of each class, 12 of 60, are held out; --validation 0 trains on all\n"
    assert (said in capsys.readouterr().err) == (resolved > 0)


def test_where_nothing_can_be_held_out_the_option_is_named(tmp_path):
    data = (np.zeros((2, 8, 8), np.uint8), [0, 1])
    with pytest.raises(lenscope.UsageError, match=r"got 0\.2 of 2 images, .*; --validation 0 trains on all$"):
        lenscope.train(data, out=tmp_path / "run", batch_size=1, progress=False, validation=0.2)


def test_of_so_few_images_that_a_fifth_is_none_nothing_is_held_out_by_default(tmp_path):
    data = (np.zeros((2, 8, 8), np.uint8), [0, 1])
    assert lenscope.train(data, out=tmp_path / "run", batch_size=1, epochs=1, progress=False).config.validation == 0


@pytest.mark.parametrize("pack", [False, True])
def test_pictures_that_are_square_already_are_trained_and_predicted_as_they_were_loaded(pack, tmp_path, monkeypatch):
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    for number, size in enumerate([(9, 9), (6, 9), (9, 9), (12, 6)]):  # height and width
        path = tmp_path / "data" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(np.full(size, 50 * number, np.uint8)))
    padded, squeezed = (lenscope.load(tmp_path / "data", fit=fit, pack=pack) for fit in ("pad", "squeeze"))
    run = lenscope.train(padded, out=tmp_path / "run", batch_size=3, epochs=1, progress=False)
    assert (run.config.fit, lenscope.resume(run, data=padded, epochs=2, progress=False).config.fit) == ("pad", "pad")
    with pytest.raises(lenscope.UsageError, match=r"got crop, but .* with fit='pad'; load them with fit='crop'"):
        lenscope.train(padded, out=tmp_path / "other", fit="crop")
    with pytest.raises(lenscope.UsageError, match=r"got pad, but .* with fit='squeeze'; load"):
        lenscope.resume(run, data=squeezed, epochs=3)


def test_a_validation_part_of_the_datas_own_is_recorded_and_compared(tiny, tmp_path):
    train, validation = arrays_of(tiny)
    data = (train, validation, validation)
    own = lenscope.Splits(lenscope.load(train).train, validation=lenscope.load(validation, fit="pad").train)
    run = lenscope.train(own, out=tmp_path / "run", patience=3, **QUICK)
    assert (run.data.validation_sha256, run.data.test_sha256) == (tiny.test.sha256, None)
    assert (run.data.train_images, run.data.validation_images, run.config.validation) == (60, 20, None)
    assert lenscope.evaluate(run, own).accuracy == run.metrics.validation_accuracy[-1]
    assert all(finding.sound for finding in lenscope.verify(run, data=own, replay=True, progress=False))
    with pytest.raises(lenscope.RunError, match="the validation data differ from those that it was trained on"):
        lenscope.resume(run, data=train, epochs=2, progress=False)
    former = {"data": {"train_sha256": run.data.train_sha256, "test_sha256": None}}  # of a release without this hash
    require_same_data(former, own, run.path)
    with pytest.raises(lenscope.UsageError, match="leave --validation out"):
        lenscope.train(data, out=tmp_path / "other", validation=9, **QUICK)
    with pytest.raises(lenscope.UsageError, match="patience: requires a validation set; add --validation 5000"):
        lenscope.train(arrays_of(tiny), out=tmp_path / "other", patience=3, **QUICK)


def test_all_that_a_run_looks_at_has_its_fit(tiny, tmp_path):
    wide = tiny.train.images[:, 0, 4:24]
    data = lenscope.load((wide, tiny.train.labels))
    run = lenscope.train(data, out=tmp_path / "run", fit="crop", **QUICK)
    assert run.data.image_size == (20, 20)
    assert all(finding.sound for finding in lenscope.verify(run, data=data, replay=True, progress=False))
    for own in (data, (wide, tiny.train.labels), (wide[:, :, 4:24], tiny.train.labels)):
        assert lenscope.evaluate(run, own).loss == run.metrics.validation_loss[-1]
    cropped = replace(data.train, images=data.train.images[..., 4:24])
    assert lenscope.evaluate(run, data.train).loss == lenscope.evaluate(run, cropped).loss


def test_notes_are_said_once(tiny, tmp_path, capsys):
    run = lenscope.train((tiny.train.images / 255, tiny.train.labels), out=tmp_path / "run", epochs=1, batch_size=30)
    assert run.data.train_sha256 == tiny.train.sha256
    note = "images are float64 from 0 to 1, and are multiplied by 255 and rounded\n"
    assert capsys.readouterr().err.count(note) == 1
