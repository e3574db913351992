"""Grids of settings: reading and combining them."""

from __future__ import annotations

import pytest

from lenscope.errors import ConfigError
from lenscope.lab.questions.grid import combine, configure, range_of, read_grid, varied


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
    ("wrong", "problem"),
    [
        (["lr"], "expected a setting and its values"),
        (["lr="], "expected a setting and its values"),
        (["rate=1"], "unknown setting 'rate'"),
        (["lr=1,2", "learning_rate=3"], "learning_rate: given twice"),
        (["epochs=1,1"], "epochs: got 2 values, expected 1 to 10,000, each once"),
        ({"epochs": []}, "epochs: got 0 values"),
        (["seed=1,2"], "give it with --seeds"),
        (["data=mnist"], "give it with --data"),
        (7, "expected a table"),
    ],
)
def test_other_grids_are_refused(wrong, problem):
    with pytest.raises(ValueError, match=problem):
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
