from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lenscope.config import MAX_CHARACTERS, RECIPES, TrainConfig, resolve
from lenscope.config.settings import require_possible
from lenscope.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another preset than the defaults, so that its turn can be seen."""
    monkeypatch.setitem(RECIPES, "lecture", {"epochs": 3, "batch_size": 7, "learning_rate": 0.5})


@pytest.mark.usefixtures("fast")
def test_options_win_over_the_file_over_the_recipe_over_the_defaults(tmp_path: Path) -> None:
    file = write(tmp_path / "c.toml", "batch_size = 8\nlearning_rate = 0.6")
    config = resolve(file=file, learning_rate=0.7)
    assert (config.epochs, config.batch_size, config.learning_rate) == (3, 8, 0.7)
    assert config.momentum == TrainConfig().momentum


@pytest.mark.parametrize("in_file", ["lr", "learning_rate"])
@pytest.mark.parametrize("option", ["lr", "learning_rate"])
def test_lr_is_learning_rate_in_file_and_options(tmp_path: Path, in_file: str, option: str) -> None:
    file = write(tmp_path / "c.toml", f"{in_file} = 0.25")
    assert resolve(file=file).learning_rate == 0.25
    assert resolve(file=file, **{option: 0.5}).learning_rate == 0.5
    assert TrainConfig.from_toml(f"{in_file} = 0.25").learning_rate == 0.25
    assert TrainConfig(learning_rate=0.1).with_settings(**{option: 0.5}).learning_rate == 0.5


def test_both_names_of_the_learning_rate_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match="learning_rate: given twice, once as lr"):
        TrainConfig(lr=0.1, learning_rate=0.2)


def test_the_defaults_are_the_lectures_recipe() -> None:
    assert resolve() == resolve("lecture") == TrainConfig()


def test_the_recipe_may_stand_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "c.toml", 'recipe = "lecture"\nepochs = 4')
    assert resolve(file=file).epochs == 4
    monkeypatch.setitem(RECIPES, "other", {})
    with pytest.raises(ConfigError, match="recipe: got 'other'"):  # known, but no name that a config may have
        resolve("other", file)


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_is_a_config_that_names_it(name: str) -> None:
    config = resolve(name)
    assert config.recipe == name
    assert TrainConfig.from_toml(config.to_toml()) == config


def test_the_recipes_for_accuracy_distort_their_images_and_the_lectures_does_not() -> None:
    assert [name for name in RECIPES if resolve(name).augment.distorts] == ["speedrun", "fast", "best"]


@pytest.mark.parametrize("text", ['recipe = "lectur"', "recipe = []", "recipe = 0"])
def test_a_recipe_that_nobody_knows_is_refused_wherever_it_stands(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"unknown recipe .*known: best, fast, lecture, speedrun"):
        resolve(file=write(tmp_path / "c.toml", text))


BAD: list[tuple[str, Any, str]] = [
    ("epochs", 0, "greater than or equal to 1"),
    ("epochs", True, "a valid integer"),
    ("epochs", 16**5000, "less than or equal to"),
    ("batch_size", 10**400, "less than or equal to 1000000000"),
    ("learning_rate", float("inf"), "a finite number"),
    ("learning_rate", 10**400, "number"),
    ("learning_rate", [0.1] * 1000, "a valid number"),
    ("momentum", 1, "less than 1"),
    ("validation", 1.5, "a whole count or a fraction below 1"),
    ("seed", 2**63, "less than 9223372036854775808"),
    ("network", "lenet5", "'lenet', 'lenet1998', "),
    ("optimizer", "Adam", "'adam'"),
    ("schedule", 3, "'constant', 'cosine' or 'onecycle'"),
    ("data", "", "at least 1 character"),
    ("data", "\udcff", "which is not valid UTF-8"),
    ("checkpoint_every", "0s", "epochs (5), seconds (30s) or steps (200steps)"),
]


@pytest.mark.parametrize(
    ("name", "value", "expected"), BAD, ids=[f"{name}-{place}" for place, (name, _, _) in enumerate(BAD)]
)
def test_a_bad_value_gives_one_line_with_the_setting_what_was_got_and_expected(
    name: str, value: Any, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}: got ")
    assert message.count("got") == 1
    assert expected in message
    assert message.isprintable()
    assert len(message) < 200
    assert caught.value.__cause__ is None


def test_a_path_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 5000), tmp_path / "a\0b"):
        with pytest.raises(ConfigError, match=r"^out: .* is not a valid path: .*; choose another$"):
            require_possible("out", path)
    require_possible("out", tmp_path / "missing")


def test_gd_takes_the_full_training_set_whatever_the_batch_size() -> None:
    assert [TrainConfig(optimizer=name).images_per_step(60_000) for name in ("gd", "sgd")] == [60_000, 100]
    assert TrainConfig(optimizer="gd").full_batch


def test_several_bad_values_share_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^epochs: got 0, .*; seed: got -1, [^\n]*$"):
        TrainConfig(epochs=0, seed=-1)


def test_of_many_bad_values_the_first_are_told_and_the_others_counted() -> None:
    with pytest.raises(ConfigError, match=r"^unknown setting 'a0'; .*unknown setting 'a2'; [^;]*; and 97 more$"):
        TrainConfig(**{f"a{number}": 1 for number in range(100)})


@pytest.mark.parametrize("name", ["self", "settings", '"two\\nlines"'])
def test_any_key_in_a_file_that_is_no_setting_is_an_unknown_setting(tmp_path: Path, name: str) -> None:
    text = f"{name} = 1"
    with pytest.raises(ConfigError, match=r"^some: unknown setting '[^\n]*$"):
        TrainConfig.from_toml(text, "some")
    with pytest.raises(ConfigError, match=r"c\.toml: unknown setting '[^\n]*$"):
        resolve(file=write(tmp_path / "c.toml", text))


def test_numpys_numbers_are_numbers() -> None:
    config = TrainConfig(seed=np.int64(3), validation=np.int32(5), learning_rate=np.float64(0.5), epochs=np.uint8(2))
    assert TrainConfig.from_toml(config.to_toml()) == config
    assert (config.seed, config.validation, config.learning_rate, config.epochs) == (3, 5, 0.5, 2)


def test_with_settings_changes_a_copy_and_validates_it() -> None:
    config = TrainConfig(seed=5)
    assert config.with_settings(epochs=2) == TrainConfig(seed=5, epochs=2)
    with pytest.raises(ConfigError, match="epochs: got 0"):
        config.with_settings(epochs=0)


@pytest.mark.parametrize(
    "text",
    [
        "epochs 10",
        "seed = " + "9" * 5000,
        "x = " + "[" * 5000,
        "x = 1\x00",
    ],
)
def test_what_is_not_toml_is_refused_with_the_name_of_the_file(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "c.toml", text)
    with pytest.raises(ConfigError) as caught:
        resolve(file=file)
    assert str(caught.value).startswith(f"{file}: not TOML: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", ["#" * (MAX_CHARACTERS + 1), "epochs" + ".a" * 50_000 + " = 1"])
def test_a_file_longer_than_settings_can_be_is_refused_unread(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"c\.toml: more than 10000 characters; settings take a few hundred"):
        resolve(file=write(tmp_path / "c.toml", text))
    with pytest.raises(ConfigError, match=r"^some: more than 10000 characters"):
        TrainConfig.from_toml(text, "some")
    assert resolve(file=write(tmp_path / "c.toml", "#" * MAX_CHARACTERS)) == TrainConfig()


def test_settings_with_two_of_the_longest_paths_read_back() -> None:
    config = TrainConfig(data="x" * 4096, init_from="y" * 4096, patience=9, validation=0.5, checkpoint_every="200steps")
    assert TrainConfig.from_toml(config.to_toml()) == config


def test_what_is_wrong_about_a_key_of_thousands_of_characters_stays_a_line_with_its_place() -> None:
    key = "a" * 4000
    with pytest.raises(ConfigError, match=r"not TOML: Cannot declare .*… ?.*line 2, column") as caught:
        TrainConfig.from_toml(f"[{key}]\n[{key}]\nx = 1")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("key", ["recipe", "validation"])
def test_a_table_without_end_is_refused_in_one_line(tmp_path: Path, key: str) -> None:
    file = write(tmp_path / "c.toml", key + ".a" * 3_000 + " = 1")
    with pytest.raises(UsageError) as caught:
        resolve(file=file)
    assert key in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", ["missing", "directory", "latin", "under a file"])
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path, kind: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "latin").write_bytes("data = 'é'".encode("latin-1"))
    file = tmp_path / "latin" / "c.toml" if kind == "under a file" else tmp_path / kind
    reasons = {
        "missing": "No such file",
        "directory": "Is a directory",
        "latin": "not UTF-8",
        "under a file": "Not a dir",
    }
    with pytest.raises(ConfigError) as caught:
        resolve(file=file)
    assert str(caught.value).startswith(f"{file}: cannot be read: {reasons[kind]}")
    assert str(caught.value).endswith("; --config takes a TOML file")


AUTOENCODE = [
    (
        {"autoencode": "masking=0.5"},
        "autoencode: got masking=0.5, but lenet is not an autoencoder; expected one of",
    ),
    ({"network": "autoencoder", "autoencode": "masking=1"}, "masking: got 1.0, expected less than 1"),
    (
        {"network": "autoencoder", "autoencode": 3},
        "autoencode: got 3, expected 'none', a table, or a text such as 'masking=",
    ),
    ({"network": "autoencoder", "train_accuracy": True}, "train_accuracy: autoencoder does not classify"),
    (
        {"network": "mlp-autoencoder", "epochs": 1},
        "epochs: got 1, expected at least 2 for mlp-autoencoder, half",
    ),
    (
        {"network": "mlp-autoencoder", "patience": 2, "validation": 5},
        "patience: mlp-autoencoder trains each layer",
    ),
    ({"network": "lenet1998", "init": "he"}, "init: got 'he', but lenet1998 has initial weights of its own"),
]


@pytest.mark.parametrize(("settings", "says"), AUTOENCODE, ids=str)
def test_what_does_not_go_with_the_network_is_said(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig(**settings)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_an_autoencoders_settings_are_a_table_and_a_text_and_a_file_as_it_was(golden: Any) -> None:
    config = TrainConfig(
        network="autoencoder", init="he", train_images=1000, autoencode="masking=0.25,gaussian=0.3,kl=0.001,l1=1e-05"
    )
    assert str(config.autoencode) == "masking=0.25,gaussian=0.3,kl=0.001,l1=1e-05"
    assert config.autoencode.corrupts
    assert config == TrainConfig(**{**config.model_dump(), "autoencode": dict(config.autoencode)})
    assert TrainConfig.from_toml(config.to_toml()) == config
    assert TrainConfig(network="autoencoder", autoencode="none").autoencode == TrainConfig().autoencode
    golden("config-autoencoder.toml", config.to_toml())


def test_settings_of_a_run_of_an_earlier_release_hold_out_as_it_did(tmp_path):
    """A run's own file, also as `--config`; a file that somebody wrote gets today's rule."""
    config = TrainConfig(validation=0.2, epochs=3)
    before = config.to_toml().replace("stratify = true\n", "")
    assert before != config.to_toml()
    assert TrainConfig.from_toml(before) == config.with_settings(stratify=False)
    (tmp_path / "config.toml").write_text(before)
    assert resolve(file=tmp_path / "config.toml") == config.with_settings(stratify=False)
    assert TrainConfig.from_toml(config.to_toml()).stratify
    assert TrainConfig.from_toml(before.replace("validation = 0.2", "validation = 0")).stratify
    assert TrainConfig.from_toml("validation = 0.2").stratify


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 0", "epochs: got 0, expected greater than or equal to 1"),
        ("recipe = 'lectur'", "unknown recipe 'lectur'; did you mean 'lecture'?"),
        ("lr = 1e-3\nlearning_rate = 1e-3", "learning_rate: given twice, once as lr"),
        ("patience = 2\nvalidation = 0", "patience: requires a validation set"),
        ("patience = 2\nevaluate = 'last'", "evaluate: got 'last', but patience requires every epoch"),
    ],
)
def test_what_is_wrong_in_a_file_names_the_file_and_what_is_wrong_beside_it_does_not(
    tmp_path: Path, text: str, message: str
) -> None:
    file = write(tmp_path / "c.toml", text)
    with pytest.raises(UsageError) as caught:
        resolve(file=file)
    assert str(caught.value).startswith(f"{file}: {message}")
    with pytest.raises(ConfigError, match=r"^epochs: got -1, expected"):
        resolve(file=write(file, "seed = 3"), epochs=-1)
    assert resolve(file=write(file, "patience = 2\nvalidation = 0"), validation=9).patience == 2


def test_a_byte_order_mark_before_toml_is_no_setting(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes("\ufeffepochs = 4".encode())
    assert resolve(file=tmp_path / "c.toml").epochs == 4
    assert TrainConfig.from_toml("\ufeffepochs = 4").epochs == 4
