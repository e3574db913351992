from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from lenscope.config import (
    AUTOENCODERS,
    Augmentation,
    Autoencoding,
    DeviceName,
    EngineName,
    EvaluateName,
    FitName,
    InitName,
    NetworkName,
    OptimizerName,
    RecipeName,
    ScheduleName,
    TrainConfig,
)
from lenscope.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
POSITIVE = st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False)
COUNT = st.integers(1, 10**6)

VALID: dict[str, st.SearchStrategy[Any]] = {
    "data": TEXT,
    "network": st.sampled_from(get_args(NetworkName)),
    "init": st.sampled_from(get_args(InitName)),
    "recipe": st.sampled_from(get_args(RecipeName)),
    "epochs": COUNT,
    "batch_size": COUNT,
    "optimizer": st.sampled_from(get_args(OptimizerName)),
    "learning_rate": POSITIVE,
    "momentum": st.floats(0, 1, exclude_max=True),
    "weight_decay": st.just(0.0) | POSITIVE,
    "schedule": st.sampled_from(get_args(ScheduleName)),
    "augment": st.builds(Augmentation, shift=st.floats(0, 16), elastic=st.floats(0, 8), smoothness=st.floats(1, 16)),
    "autoencode": st.builds(
        Autoencoding, masking=st.floats(0, 0.99), gaussian=st.floats(0, 100), kl=st.floats(0, 9), l1=st.floats(0, 9)
    ),
    "validation": st.none() | COUNT | COUNT.map(float) | st.floats(0, 1, exclude_min=True, exclude_max=True),
    "stratify": st.booleans(),
    "train_images": st.none() | COUNT,
    "patience": st.none() | COUNT,
    "train_accuracy": st.booleans(),
    "evaluate": st.sampled_from(get_args(EvaluateName)),
    "skip_unreadable": st.booleans(),
    "fit": st.sampled_from(get_args(FitName)),
    "seed": st.integers(0, 2**63 - 1),
    "engine": st.sampled_from(get_args(EngineName)),
    "threads": st.none() | st.integers(1, 1024),
    "device": st.sampled_from(get_args(DeviceName)),
    "checkpoint_every": st.none()
    | st.builds("{}{}".format, st.integers(1, 999_999_999), st.sampled_from(["", "s", "steps"])),
    "init_from": st.none() | TEXT,
}


def agreeing(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with those changed that do not go with the network."""
    own: dict[str, Any] = {}
    if settings["network"] == "lenet1998":
        own |= {"init": "pytorch"}
    if settings["network"] in AUTOENCODERS:
        own |= {"train_accuracy": False, "epochs": max(2, settings["epochs"]), "patience": None}
    else:
        own |= {"autoencode": Autoencoding()}
    if settings["patience"]:
        own |= {"evaluate": "every"}
    return settings | own


CONFIGS = st.fixed_dictionaries(VALID).map(agreeing)
ANY_VALUE = st.recursive(
    st.booleans() | st.integers() | st.floats() | TEXT | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([*VALID, "lr", "self", "file"]) | TEXT


def test_every_field_has_a_strategy_here() -> None:
    assert set(VALID) == set(TrainConfig.model_fields)


@given(CONFIGS)
def test_toml_written_and_read_is_the_same_config_with_the_same_types(valid: dict[str, Any]) -> None:
    config = TrainConfig(**valid)
    again = TrainConfig.from_toml(config.to_toml())
    assert again == config
    assert [(name, type(value)) for name, value in again] == [(name, type(value)) for name, value in config]
    assert {name: value for name, value in config if value is not None}.items() <= valid.items()


def refusal(look: Callable[[], object]) -> str:
    """What a UsageError said, or nothing."""
    try:
        look()
    except UsageError as error:
        return str(error)
    return ""


@given(st.dictionaries(NAMES, ANY_VALUE, max_size=4))
def test_any_settings_give_a_config_or_one_line(some: dict[str, Any]) -> None:
    assert refusal(lambda: TrainConfig.from_toml(tomli_w.dumps(some))).isprintable()
