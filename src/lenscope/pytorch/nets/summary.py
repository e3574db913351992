"""The summary of any PyTorch network, from one watched forward pass of a blank image."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lenscope.errors import SizeMismatchError
from lenscope.nets.layers import by, require_sizes, trace
from lenscope.nets.summary import LayerSummary, Summary, require_batch
from lenscope.nets.summary import summarise as summarise_table
from lenscope.pytorch.nets.module import TableModule, is_as_its_table, title_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def summarise(network: nn.Module, input_shape: Sequence[int], batch_size: int | None = None) -> Summary:
    """The layers of any network at any input size, from one forward pass of a blank image.

    The network is left as it was. A call of a function (`torch.relu(x)`) cannot be seen, only a call of a layer.

    Args:
        network: any network that takes one tensor.
        input_shape: the size of one image, as a rule (C, H, W).
        batch_size: images per batch, to show as the first index of each output; None shows N.

    Raises:
        SizeMismatchError: a layer cannot take what it gets: which, what it got, what it expected.
        UsageError: a size below 1.
    """
    if isinstance(network, TableModule) and is_as_its_table(network):
        return summarise_table(network.table, input_shape, batch_size)
    require_batch(batch_size)
    counted: set[nn.Parameter] = set()
    layers: list[LayerSummary] = []

    def look(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        new = [parameter for parameter in layer.parameters() if parameter not in counted]
        counted.update(new)
        layers.append(
            LayerSummary(
                name=name,
                kind=type(layer).__name__,
                output=_image_shape(output),
                kernel=_kernel(layer),
                parameters=_count(new),
                multiply_adds=_multiply_adds(layer, inputs[0], output),
                parameter_bytes=_bytes(new),
                activation_bytes=_bytes([output]) if isinstance(output, Tensor) else 0,
            )
        )

    _watch(network, tuple(input_shape), look)
    rest = [parameter for parameter in network.parameters() if parameter not in counted]
    if rest:
        layers.append(LayerSummary("(other)", "", (), "", _count(rest), None, _bytes(rest), 0))
    return Summary(title_of(network), tuple(input_shape), batch_size, tuple(layers))


def _multiply_adds(layer: nn.Module, given: Tensor, output: object) -> int | None:
    """For one image; layers without parameters are taken to have none, as pools and activations do."""
    if not isinstance(output, Tensor):
        return None
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
        return output.numel() * int(layer.weight[0].numel())
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return int(given.numel() * layer.weight[0].numel())
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        return output.numel()  # a scale and a shift for each value, once trained
    return None if any(True for _ in layer.parameters()) else 0


def _kernel(layer: nn.Module) -> str:
    """Such as 5×5, or 7×7/2×2 with its stride where that is not the usual one: 1, or a pool's own size."""
    size = _pair(getattr(layer, "kernel_size", ()))
    usual = size if "Pool" in type(layer).__name__ else (1,) * len(size)
    stride = _pair(getattr(layer, "stride", usual))
    return by(size) if stride == usual else f"{by(size)}/{by(stride)}"


def _count(parameters: Sequence[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _watch(network: nn.Module, shape: tuple[int, ...], look: Callable[..., None]) -> None:
    """Call `look` after each call of a layer that contains no other, for one blank image: name, layer, inputs, output.

    The pass runs in evaluation mode without gradients, on the network's own device and in its own type; the network is
    left as it was, after an error too.

    Raises:
        SizeMismatchError: the network cannot take images of this size, and where the pass ended.
        UsageError: a size below 1.
    """
    require_sizes(shape)
    place = "before any layer"

    def enter(name: str, *_: object) -> None:
        nonlocal place
        place = f"in {name}"

    def leave(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        nonlocal place
        place = f"after {name}, which gave {by(_image_shape(output))}"
        look(name, layer, inputs, output)

    training, hooks = {layer: layer.training for layer in network.modules()}, []
    for name, layer in network.named_modules():
        if not any(True for _ in layer.children()):
            hooks.append(layer.register_forward_pre_hook(partial(enter, name or title_of(network))))
            hooks.append(layer.register_forward_hook(partial(leave, name or title_of(network))))
    like = next(network.parameters(), torch.zeros(()))
    try:
        network.eval()
        with torch.no_grad():
            network(torch.zeros((1, *shape), dtype=like.dtype, device=like.device))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        if isinstance(network, TableModule):
            trace(network.table, shape)  # which says what would fit
        reason = str(error).partition("\n")[0]
        raise SizeMismatchError(f"images of {by(shape)}: {place}: {reason}") from None
    finally:
        for hook in hooks:
            hook.remove()
        for layer, flag in training.items():
            layer.training = flag


def _image_shape(value: object) -> tuple[int, ...]:
    """The size of one image's part of a batch, without the first index; empty where it is not a tensor."""
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else ()


def _pair(value: int | Iterable[int]) -> tuple[int, ...]:
    """Both sizes of what torch also takes as one number."""
    return (value, value) if isinstance(value, int) else tuple(value)
