"""Recipes, and the precedence of settings: defaults < recipe < file < options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lenscope.config.settings import shown
from lenscope.config.train import TrainConfig, read_settings, renamed
from lenscope.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

RECIPES: dict[str, dict[str, Any]] = {
    # Lecture 29: Adam at 1e-4, batches of 100, ten epochs. Equal to the defaults, which may change; this may not.
    "lecture": {
        "network": "lenet",
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "weight_decay": 0.0,
        "schedule": "constant",
        "batch_size": 100,
        "epochs": 10,
    },
    # The fewest seconds to a mean test accuracy of 99.0 % and of 99.2 % on MNIST, and the highest accuracy in 30 s: see
    # docs/recipes.md.
    "speedrun": {
        "network": "lenet",
        "optimizer": "adam",
        "learning_rate": 1.1e-2,
        "schedule": "onecycle",
        "batch_size": 100,
        "epochs": 2,
        "augment": "shift=1",
        "init": "glorot",
    },
    "fast": {
        "network": "lenet",
        "optimizer": "adam",
        "learning_rate": 6e-3,
        "schedule": "onecycle",
        "batch_size": 50,
        "epochs": 3,
        "augment": "shift=1",
    },
    "best": {
        "network": "lenet",
        "optimizer": "adam",
        "learning_rate": 2e-3,
        "schedule": "onecycle",
        "batch_size": 50,
        "epochs": 40,
        "augment": "rotation=10,shift=1.5,scale=0.1,shear=8,elastic=0.6",
    },
}


def resolve(recipe: str | None = None, file: Path | None = None, **options: Any) -> TrainConfig:
    """The settings by precedence: defaults < recipe < file < options.

    Args:
        recipe: a name in RECIPES; if None, the file's or the default.
        file: a TOML file of settings.
        options: settings by name.

    Raises:
        ConfigError: an unreadable file or a setting outside its range.
        UsageError: an unknown recipe.
    """
    from_file = read_settings(file) if file is not None else {}
    given = renamed(options) | ({} if recipe is None else {"recipe": recipe})
    try:
        return _over_recipe({**from_file, **given})
    except UsageError as error:
        if file is not None and _refusal(from_file) == str(error):  # the options have no part in it
            raise type(error)(f"{file}: {error}") from None
        raise


def _over_recipe(settings: dict[str, Any]) -> TrainConfig:
    name = settings.get("recipe", TrainConfig.model_fields["recipe"].default)
    if not isinstance(name, str) or name not in RECIPES:
        raise unknown_name("recipe", name if isinstance(name, str) else shown(name), RECIPES)
    return TrainConfig(**{**RECIPES[name], **settings})


def _refusal(settings: dict[str, Any]) -> str:
    """The message of the error that these settings raise on their own; empty where they are valid."""
    try:
        _over_recipe(settings)
    except UsageError as error:
        return str(error)
    return ""
