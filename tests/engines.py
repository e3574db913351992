"""Engines of any kind, on one of our networks, and what their tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.pytorch.engine import TorchEngine
from lenscope.pytorch.nets.build import build_module

if TYPE_CHECKING:
    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Weights


def make_engine(
    kind: Any, train: Dataset, config: TrainConfig, weights: Weights | None = None, capture: Any = None
) -> Any:
    """An engine on the network that the settings name; training images are resized."""
    network = Network(config.network, train.channels, len(train.classes))
    weights = initial_weights(network, config.seed) if weights is None else weights
    train = train.resized(network.image_size)
    if kind is TorchEngine:
        return TorchEngine(build_module(network, weights), train, config, capture)
    return kind(network, weights, train, config)


def never() -> bool:
    """A `stop` that never asks to."""
    return False


def same(one: Weights, other: Weights) -> bool:
    """Whether all of the first's weights are the other's, NaN being equal to NaN."""
    return all(np.array_equal(values, other[name], equal_nan=True) for name, values in one.items())
