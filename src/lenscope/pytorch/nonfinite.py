"""The name of the first value in a module that is not finite."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from lenscope.pytorch.nets.build import copied
from lenscope.training.nonfinite import name_non_finite

if TYPE_CHECKING:
    import torch

    from lenscope.nets.layers import Weights


def first_non_finite(network: torch.nn.Module, images: torch.Tensor) -> str:
    """As `lenscope.training.nonfinite.first_non_finite`, for any module.

    Args:
        network: with the gradients of the failed step, where they are known, else 0.
        images: some images of the step, as the network's input.
    """
    broken: Weights = {}

    def look(name: str, _module: Any, _inputs: Any, output: torch.Tensor) -> None:
        if not output.isfinite().all():
            broken.setdefault(name, copied(output))

    hooks = [layer.register_forward_hook(partial(look, name)) for name, layer in network.named_modules() if name]
    network(images)
    for hook in hooks:
        hook.remove()
    parameters = dict(network.named_parameters())
    gradients = {name: copied(cast("torch.Tensor", parameter.grad)) for name, parameter in parameters.items()}
    return name_non_finite({name: copied(parameter) for name, parameter in parameters.items()}, broken, gradients)
