"""The update rules, by the names that students know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lenscope.config import TrainConfig


def build_optimizer(config: TrainConfig, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of torch for a config's name and settings.

    `gd` and `sgd` are the plain step (they differ in the batch alone), `momentum` and `nesterov` are as torch has
    them (Sutskever et al., ICML 2013, with the rate outside the velocity), `adam` is Kingma and Ba's (ICLR 2015)
    with L2 weight decay, `adamw` decouples it (Loshchilov and Hutter, ICLR 2019). The learning rate is set again
    before each step.
    """
    common = {"lr": config.learning_rate, "weight_decay": config.weight_decay, "fused": True}
    match config.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, **common)  # type: ignore[arg-type]
        case "adamw":
            return torch.optim.AdamW(parameters, **common)  # type: ignore[arg-type]
        case "momentum" | "nesterov" as name:
            nesterov = name == "nesterov" and config.momentum > 0  # else torch refuses: both are sgd
            return torch.optim.SGD(parameters, momentum=config.momentum, nesterov=nesterov, **common)  # type: ignore[arg-type]
        case _:
            return torch.optim.SGD(parameters, **common)  # type: ignore[arg-type]
