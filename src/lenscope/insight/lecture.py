"""The published result to compare with: the table of Lecture 29."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenscope.config import RECIPES

if TYPE_CHECKING:
    from lenscope.config import TrainConfig

BATCH_SIZE = 100
EPOCHS = tuple(range(1, 11))
LOSS_AS_PRINTED = (0.010279, 0.003504, 0.002661, 0.002197, 0.001840, 0.001596, 0.001413, 0.001268, 0.001151, None)
"""Sums of batch means over 60,000: the mean loss per image divided by the batch size. The tenth is not shown."""
ACCURACY = (0.8815, 0.9177, 0.9324, 0.9481, 0.9540, 0.9603, 0.9656, 0.9672, 0.9705, 0.974)
"""On the test set; the tenth is spoken."""


def loss_per_image(as_printed: float) -> float:
    """The mean loss per image in nats, from a loss as the lecture prints it."""
    return as_printed * BATCH_SIZE


def is_lecture_experiment(config: TrainConfig) -> bool:
    """Whether a run can be compared with the lecture's table: its recipe, of any length, on MNIST, from scratch."""
    settings = config.model_dump()
    recipe = {name: value for name, value in RECIPES["lecture"].items() if name != "epochs"}
    same = all(settings[name] == value for name, value in recipe.items())
    plain = (
        not config.augment.distorts and not config.validation and config.init == "pytorch" and not config.train_images
    )
    return same and plain and config.data == "mnist" and config.init_from is None
