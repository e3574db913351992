"""Where in a network the first number is that is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


UNKNOWN = "the loss or its gradient"


def first_non_finite(network: torch.nn.Module, images: torch.Tensor) -> str:
    """Name the first weight, layer's output or gradient that is not finite, in the order of the network.

    Args:
        network: with the gradients of the step that failed, where they are known.
        images: some of that step's, as the network takes them.

    Returns:
        Such as `conv1.weight`, `fc2` or `the gradient of fc3.bias`; UNKNOWN where all is finite.
    """
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            return name
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
    gradients = ((name, parameter.grad) for name, parameter in network.named_parameters())
    broken = (f"the gradient of {name}" for name, gradient in gradients if _is_broken(gradient))
    return next(iter(found), None) or next(broken, UNKNOWN)


def _is_broken(gradient: torch.Tensor | None) -> bool:
    return gradient is not None and not gradient.isfinite().all()
