"""The public verbs where they decide something of their own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import lenscope
from fixtures_data import write_digits, write_idx

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
    alone = lenscope.train(folder, out=tmp_path / "b", **QUICK)
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
