"""Settings of many runs, as they are written and combined."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenscope.config import TrainConfig
from lenscope.errors import ConfigError
from lenscope.lab.grid import combine, configure, label, plain, range_of, read_grid, varied


@pytest.mark.parametrize(
    ("texts", "grid"),
    [
        (["lr=1e-4,1e-3"], {"learning_rate": [1e-4, 1e-3]}),
        (["batch_size=50, 100", "optimizer=adam"], {"batch_size": [50, 100], "optimizer": ["adam"]}),
        (["augment=none|rotation=10,shift=2"], {"augment": ["none", "rotation=10,shift=2"]}),
        (["augment=rotation=10,shift=2"], {"augment": ["rotation=10,shift=2"]}),
        (["train_accuracy=true,false"], {"train_accuracy": [True, False]}),
        (["lr=1e-4..1e-2"], {"learning_rate": ["1e-4..1e-2"]}),
    ],
)
def test_texts(texts, grid):
    assert read_grid(texts) == grid
    assert read_grid(grid) == grid


def test_a_table_takes_single_values():
    assert read_grid({"lr": 1e-3, "optimizer": ["sgd"]}) == {"learning_rate": [1e-3], "optimizer": ["sgd"]}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["lr"], "expected a setting and its values"),
        (["lr="], "expected a setting and its values"),
        (["rate=1"], "unknown setting 'rate'"),
        (["lr=1,2", "learning_rate=3"], "learning_rate: got it twice"),
        (["epochs=1,1"], "epochs: got 2 values, expected 1 to 10,000, each once"),
        ({"epochs": []}, "epochs: got 0 values"),
        (["seed=1,2"], "give it with --seeds"),
        (["data=mnist"], "give it with --data"),
        (7, "expected a table"),
    ],
)
def test_what_is_no_grid_is_told(wrong, told):
    with pytest.raises(ValueError, match=told):
        read_grid(wrong)


def test_ranges():
    assert range_of(["16..256"]).whole
    assert range_of(["1e-4..1e-2"]).logarithmic
    assert not range_of(["0..5"]).logarithmic
    assert not range_of(["1..2.0"]).whole
    assert range_of(["1..2", "3"]) is None
    assert range_of(["../run"]) is None
    with pytest.raises(ValueError, match="the smaller number first"):
        range_of(["2..1"])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_every_combination_comes_once(sizes):
    names = ["epochs", "batch_size", "train_images", "patience"]
    grid = {name: list(range(1, size + 1)) for name, size in zip(names, sizes, strict=False)}
    combined = combine(grid)
    expected = 1
    for size in sizes:
        expected *= size
    assert len(combined) == expected
    assert len({tuple(one.items()) for one in combined}) == expected


def test_a_list_is_combined_with_the_grid():
    each = [{"optimizer": "sgd", "learning_rate": 0.1}, {"optimizer": "adam", "learning_rate": 1e-3}]
    combined = combine({"batch_size": [50, 100]}, each)
    assert [one["batch_size"] for one in combined] == [50, 100, 50, 100]
    assert [one["optimizer"] for one in combined] == ["sgd", "sgd", "adam", "adam"]


def test_a_recipe_may_be_varied_and_settings_go_over_it():
    settings = combine({"recipe": ["lecture", "fast"], "epochs": [2]})
    configs = [configure(one, threads=1) for one in settings]
    assert [one.learning_rate for one in configs] == [1e-4, 6e-3]
    assert {one.epochs for one in configs} == {2}
    assert varied(settings, configs) == ["recipe"]
    with pytest.raises(ConfigError, match="learning_rate"):
        configure({"learning_rate": -1.0})


def test_labels():
    config = TrainConfig(augment="shift=1", learning_rate=1 / 3)
    assert label(config, ["learning_rate", "augment"]) == "learning_rate=0.3333, augment=shift=1"
    assert label(config, []) == "all alike"
    assert plain(config.augment) == "shift=1"
    assert plain(0.5) == 0.5
