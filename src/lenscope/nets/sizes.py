"""One watched forward pass of a blank image: what every layer gets and gives, and which one cannot take it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lenscope.errors import SizeMismatchError, UsageError
from lenscope.nets.lenet1998 import Subsampling, TableConvolution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_CONVOLUTIONS = (nn.Conv2d, TableConvolution)
_MAP_LAYERS = (*_CONVOLUTIONS, nn.MaxPool2d, nn.AvgPool2d, Subsampling)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer that holds no other: its name in the network, and what it got and gave."""

    name: str
    layer: nn.Module
    inputs: tuple[Any, ...]
    output: Any


def check_input(network: nn.Module, input_shape: Sequence[int]) -> None:
    """Find out before training whether a network can take images of this size.

    Args:
        network: any network that takes one tensor; left as it was.
        input_shape: the size of one image, as a rule (C, H, W).

    Raises:
        SizeMismatchError: it cannot: which layer, what it got, what it expected, and what would fit.
        UsageError: a size below 1.
    """
    trace(network, input_shape)


def trace(network: nn.Module, input_shape: Sequence[int]) -> list[Call]:
    """Every call of a layer that holds no other, in order, for one blank image.

    The pass runs in evaluation mode without gradients, on the network's own device and in its own type; the network is
    left as it was, after an error too. Takes and raises what `check_input` does.
    """
    shape = tuple(input_shape)
    if not shape or min(shape) < 1:
        raise UsageError(f"image size: got {by(shape) or 'none'}, expected sizes of at least 1, such as 1×32×32")
    calls: list[Call] = []
    entered: list[str] = []
    fitting = _fitting(network, shape)

    def before(name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        entered.append(name)
        misfit = _misfit(layer, image_shape(inputs[0]), fitting) if inputs else ""
        if misfit:
            raise SizeMismatchError(f"{name} {misfit}")

    def after(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        calls.append(Call(name, layer, inputs, output))

    with _watched(network, before, after), torch.no_grad():
        try:
            network(_blank(network, shape))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, IndexError) as error:
            reason = str(error).partition("\n")[0]
            problem = f"images of {by(shape)}: {_place(entered, calls)}: {reason}"
            raise SizeMismatchError(f"{problem}; {fitting or 'try another size'}") from None
    return calls


@contextmanager
def _watched(network: nn.Module, before: Callable[..., None], after: Callable[..., None]) -> Iterator[None]:
    """Evaluation mode, with a hook before and after each layer that holds no other; undone whatever happens."""
    training = {layer: layer.training for layer in network.modules()}
    hooks = []
    for name, layer in network.named_modules():
        if not any(True for _ in layer.children()):
            said = name or type(network).__name__
            hooks.append(layer.register_forward_pre_hook(_named(said, before)))
            hooks.append(layer.register_forward_hook(_named(said, after)))
    try:
        network.eval()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer, flag in training.items():
            layer.training = flag


def _named(name: str, hook: Callable[..., None]) -> Callable[..., None]:
    """A hook that is told the layer's name, and gives nothing back that could replace what passes by."""
    return lambda *passing: hook(name, *passing)


def _blank(network: nn.Module, shape: tuple[int, ...]) -> Tensor:
    like = next(network.parameters(), torch.zeros(()))
    return torch.zeros((1, *shape), dtype=like.dtype, device=like.device)


def _place(entered: list[str], calls: list[Call]) -> str:
    """Where a pass ended: in a layer, or in the network's own code after one."""
    if len(entered) > len(calls):
        return f"in {entered[-1]}"
    return f"after {calls[-1].name}, which gave {by(image_shape(calls[-1].output))}" if calls else "before any layer"


def _fitting(network: nn.Module, shape: tuple[int, ...]) -> str:
    """The image size that a network of fixed size takes, where the image has another; else nothing."""
    size = getattr(network, "image_size", None)
    if size is None or shape[-2:] == (size, size):
        return ""
    return f"{type(network).__name__} takes images of {size}×{size}, got {by(shape[-2:])}"


def _misfit(layer: nn.Module, got: tuple[int, ...], fitting: str) -> str:
    """What is wrong with an input of this size and what to do about it; nothing where we cannot tell."""
    if isinstance(layer, nn.Linear):
        return _linear_misfit(layer, got, fitting)
    if isinstance(layer, _MAP_LAYERS):
        return _map_misfit(layer, got, fitting)
    if isinstance(layer, _NORMS) and got and got[0] != layer.num_features:
        return f"got {got[0]} channels, expected {layer.num_features}; give it num_features={got[0]}"
    return ""


def _linear_misfit(layer: nn.Linear, got: tuple[int, ...], fitting: str) -> str:
    expected = layer.in_features
    if not got or got[-1] == expected:
        return ""
    if len(got) > 1:
        return f"got {by(got)} an image, expected {expected} values; {fitting or 'flatten what comes before it'}"
    return f"got {got[0]} values an image, expected {expected}; {fitting or f'give it in_features={got[0]}'}"


def _map_misfit(layer: nn.Module, got: tuple[int, ...], fitting: str) -> str:
    """For layers that take maps: how many sizes, how many channels, and whether the kernel finds a place."""
    if len(got) != 3:
        return f"got {by(got) or 'one value'} an image, expected channels×height×width such as 1×32×32"
    if isinstance(layer, _CONVOLUTIONS) and got[0] != layer.in_channels:
        return f"got {_channels(got[0])}, expected {layer.in_channels}; make it for {_channels(got[0])}"
    least = _least(layer)
    if got[1] < least[0] or got[2] < least[1]:
        return f"got {by(got[1:])}, expected at least {by(least)}; {fitting or 'give it larger images'}"
    return ""


def _least(layer: nn.Module) -> tuple[int, ...]:
    """The smallest height and width that the kernel fits into."""
    kernel, dilation = pair(getattr(layer, "kernel_size", 1)), pair(getattr(layer, "dilation", 1))
    padding = getattr(layer, "padding", 0)
    if isinstance(padding, str):  # "same" pads as much as the kernel takes, "valid" not at all
        return (1, 1) if padding == "same" else tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    sizes = zip(kernel, dilation, pair(padding), strict=True)
    return tuple(max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in sizes)


def _channels(number: int) -> str:
    return f"{number} channel" if number == 1 else f"{number} channels"


def image_shape(value: object) -> tuple[int, ...]:
    """The size of one image's part of a batch, without the first index; empty where it is not a tensor."""
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else ()


def by(sizes: Sequence[object]) -> str:
    """Sizes as people write them: 6×28×28."""
    return "×".join(str(size) for size in sizes)


def pair(value: int | Iterable[int]) -> tuple[int, ...]:
    """Both sizes of what torch also takes as one number."""
    return (value, value) if isinstance(value, int) else tuple(value)
