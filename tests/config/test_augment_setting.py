"""The setting `augment`: in the API, in TOML files and on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from lenscope.cli import main
from lenscope.cli.train import Train
from lenscope.config import Augmentation, TrainConfig, resolve
from lenscope.errors import ConfigError

SOME = Augmentation(shift=2, rotation=7.5)


@pytest.mark.parametrize(
    "value", [SOME, {"shift": 2, "rotation": 7.5}, "rotation=7.5,shift=2", " shift = 2.0 , rotation = 75e-1 "]
)
def test_text_and_tables_say_the_same(value: Any) -> None:
    assert TrainConfig(augment=value).augment == SOME


@pytest.mark.parametrize("value", ["none", {}, Augmentation(), "shift=0", "smoothness=5"])
def test_none_distorts_nothing_and_is_the_default(value: Any) -> None:
    assert not TrainConfig(augment=value).augment.distorts
    assert not TrainConfig().augment.distorts


@pytest.mark.parametrize("name", ["shift", "rotation", "scale", "shear", "elastic"])
def test_each_setting_alone_distorts(name: str) -> None:
    assert TrainConfig(augment=f"{name}=0.5").augment.distorts


def test_an_augmentation_is_shown_as_the_text_that_makes_it() -> None:
    assert str(SOME) == "shift=2,rotation=7.5"
    assert str(Augmentation()) == "none"
    assert str(Augmentation(elastic=1, smoothness=5)) == "elastic=1,smoothness=5"


def test_toml_has_a_table_and_may_lack_it() -> None:
    config = TrainConfig(augment=SOME)
    assert "[augment]\nshift = 2.0\nrotation = 7.5\n" in config.to_toml()
    assert TrainConfig.from_toml(config.to_toml()) == config
    before = config.to_toml().partition("[augment]")[0]
    assert TrainConfig.from_toml(before) == TrainConfig()
    assert TrainConfig.from_toml("augment = 'shift=2,rotation=7.5'") == config


def test_a_later_augmentation_takes_the_place_of_all_of_an_earlier_one(tmp_path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[augment]\nshift = 2\nelastic = 1", encoding="utf-8")
    assert resolve(file=file).augment == Augmentation(shift=2, elastic=1)
    assert resolve(file=file, augment="rotation=7.5").augment == Augmentation(rotation=7.5)
    assert TrainConfig(augment=SOME).with_settings(augment={"shear": 3}).augment == Augmentation(shear=3)
    assert TrainConfig(augment=SOME).with_settings(epochs=3).augment == SOME
    options = ["--config", str(file), "--augment", "rotation=7.5"]
    assert Train.parse("lenscope train", options).augment == Augmentation(rotation=7.5)
    assert Train.parse("lenscope train", options[:2]).augment == Augmentation(shift=2, elastic=1)
    assert Train.parse("lenscope train", [*options[:2], "--augment", "none"]).augment == Augmentation()


BAD: list[tuple[Any, str]] = [
    ("rotatoin=10", "unknown setting 'rotatoin'; did you mean 'rotation'? known: elastic, rotation, scale, "),
    ("rotation=ten", "rotation: got 'ten', expected a valid number"),
    ("shift=-1", "shift: got -1.0, expected greater than or equal to 0"),
    ("shear=nan", "shear: got nan, expected a finite number"),
    ("shift=1,shift=2", "got 'shift=1,shift=2', expected each setting once"),
    ("shift=1,", "got 'shift=1,', expected 'none', a table, or a text such as 'rotation=10,shift=2'"),
    ("", "got '', expected 'none', a table, "),
    ("nonee", "got 'nonee', expected 'none', a table, "),
]
BAD_VALUES: list[tuple[Any, str]] = [
    (3, "got 3, expected 'none', a table, "),
    (None, "got None, expected 'none', a table, "),
    (["shift"], "got ['shift'], expected 'none', a table, "),
    ({"shift": "2"}, "shift: got '2', expected a valid number"),
    ({"shift": True}, "shift: got True, expected a valid number"),
    ({3: 4}, "unknown setting '3'; known: "),
]


@pytest.mark.parametrize(("value", "problem"), BAD + BAD_VALUES)
def test_a_bad_augmentation_gives_one_line(value: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(augment=value)
    message = str(caught.value)
    assert message.startswith(f"augment: {problem}")
    assert message.isprintable()
    assert caught.value.__cause__ is None


def test_a_bad_option_ends_with_one_line_and_exit_code_2(capsys) -> None:
    text, problem = BAD[0]
    assert main(["train", "--augment", text]) == 2
    assert capsys.readouterr().err.startswith(f"lenscope train: augment: {problem}")


def test_help_shows_one_option_with_its_settings_and_default(capsys) -> None:
    assert main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert text.count("--augment") == 1
    told = text.partition("--augment NAME=NUMBER,…")[2].partition(" --")[0]
    assert all(name in told for name in Augmentation.model_fields)
    assert told.endswith("(default: none)")
