"""What a training run is made of: `settings` (validation and TOML), `train` (TrainConfig) and `recipes`."""

from lenscope.config.recipes import RECIPES, resolve
from lenscope.config.settings import MAX_CHARACTERS, NumberGroup, Settings, parse_toml
from lenscope.config.train import (
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
    Preparation,
    RecipeName,
    ScheduleName,
    TrainConfig,
    read_settings,
    renamed,
)

__all__ = [
    "AUTOENCODERS",
    "MAX_CHARACTERS",
    "RECIPES",
    "Augmentation",
    "Autoencoding",
    "DeviceName",
    "EngineName",
    "EvaluateName",
    "FitName",
    "InitName",
    "NetworkName",
    "NumberGroup",
    "OptimizerName",
    "Preparation",
    "RecipeName",
    "ScheduleName",
    "Settings",
    "TrainConfig",
    "parse_toml",
    "read_settings",
    "renamed",
    "resolve",
]
