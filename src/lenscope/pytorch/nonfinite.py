"""Where in a network the first number is that is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


UNKNOWN = "the loss or its gradient"


def first_broken_weight(network: torch.nn.Module) -> str | None:
    """The name of the first weight that is not finite."""
    return next((name for name, weight in network.named_parameters() if not weight.isfinite().all()), None)


def first_non_finite(network: torch.nn.Module, images: torch.Tensor) -> str:
    """Name the first weight, layer's output or gradient that is not finite, or else has no finite square.

    Args:
        network: with the gradients of the step that failed, where they are known.
        images: some of that step's, as the network takes them.

    Returns:
        Such as `conv1.weight`, `fc2`, `the gradient of fc3.bias` or `the square of fc3.bias`; UNKNOWN where all is
        finite.
    """
    if broken := first_broken_weight(network):
        return broken
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            if not output.isfinite().all():
                found.append(name)

        return hook

    handles = [layer.register_forward_hook(look(name)) for name, layer in network.named_modules() if name]
    network(images)
    for handle in handles:
        handle.remove()
    weights = dict(network.named_parameters())
    gradients = {f"the gradient of {name}": weight.grad for name, weight in weights.items() if weight.grad is not None}
    found += [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
    values = (weights | gradients).items()
    found += [f"the square of {name}" for name, value in values if not value.square().sum().isfinite()]
    return next(iter(found), UNKNOWN)
