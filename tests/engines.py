"""Engines of any kind on a network of ours, as tests want them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.pytorch.engine import TorchEngine
from lenscope.pytorch.nets.build import build_module

if TYPE_CHECKING:
    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Weights


def make_engine(kind: Any, train: Dataset, config: TrainConfig, weights: Weights | None = None) -> Any:
    """An engine on the network that the settings name; the training images are resized to it."""
    network = Network(config.network, train.channels, len(train.classes))
    weights = initial_weights(network, config.seed) if weights is None else weights
    train = train.resized(network.image_size)
    if kind is TorchEngine:
        return TorchEngine(build_module(network, weights), train, config)
    return kind(network, weights, train, config)
