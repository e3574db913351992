"""Settings, data and network of one run, checked against each other before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.runs.unsure import UnsureRule, calibrate
from lenscope.training.fit import check_batch_size

if TYPE_CHECKING:
    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.nets.layers import Weights


@dataclass(frozen=True, eq=False)
class Prepared:
    """The inputs of training.

    Attributes:
        config: the settings.
        whole: the data as loaded, at their own size.
        sized: the data at the network's size: the validation split is held out unless the data have one, the training
            split limited.
        network: the network to train.
        weights: its initial weights according to the seed.
    """

    config: TrainConfig
    whole: Splits
    sized: Splits
    network: Network
    weights: Weights

    def unsure_rule(self, weights: Weights) -> UnsureRule | None:
        """When the trained network's answers count as unsure; None for an autoencoder, or for too few images."""
        if self.config.reconstructs:
            return None
        return calibrate(self.network, weights, self.sized, self.config.threads)


def prepare(config: TrainConfig, splits: Splits) -> Prepared:
    """The inputs of training; raises UsageError for settings that do not fit the data."""
    network = Network(config.network, splits.train.channels, len(splits.classes))
    weights = initial_weights(network, config.seed, config.init)
    sized = _sized(config, splits, network.image_size)
    check_batch_size(config, len(sized.train))
    return Prepared(config, splits, sized, network, weights)


def _sized(config: TrainConfig, splits: Splits, size: int) -> Splits:
    """The splits at the network's size.

    The whole data set is resized first, since it caches the result: the next run on it starts at once, also with
    another validation split. Only if the training images are limited, the selected images alone are resized.
    """
    whole = splits.resized(size) if config.train_images is None else splits
    divided = whole.hold_out(config.validation, config.seed, stratify=config.stratify)
    return divided.keep(config.train_images, config.seed).resized(size)
