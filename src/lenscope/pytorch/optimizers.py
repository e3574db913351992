"""The optimisers of PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lenscope.training.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lenscope.config import TrainConfig


def build_optimizer(config: TrainConfig, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The fused optimiser of PyTorch for a config; engines set the learning rate again before each step."""
    optimizer = OPTIMIZERS[config.optimizer]
    kind: type[torch.optim.Optimizer] = getattr(torch.optim, optimizer.torch)
    options: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay, "fused": True}
    return kind(parameters, **options, **optimizer.options(config))
