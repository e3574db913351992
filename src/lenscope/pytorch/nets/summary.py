"""The summary of any PyTorch network, from one watched forward pass of a blank image."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lenscope.errors import SizeMismatchError
from lenscope.nets.layers import by, require_sizes
from lenscope.nets.layers import trace as trace_table
from lenscope.nets.summary import LayerSummary, Summary, require_batch
from lenscope.nets.summary import summarise as summarise_table
from lenscope.pytorch.nets.module import TableModule, is_as_its_table, title_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


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
    layers = [_layer_summary(call, counted) for call in trace(network, input_shape)]
    rest = [parameter for parameter in network.parameters() if parameter not in counted]
    if rest:
        layers.append(LayerSummary("(other)", "", (), "", _count(rest), None, _bytes(rest), 0))
    return Summary(title_of(network), tuple(input_shape), batch_size, tuple(layers))


def _layer_summary(call: Call, counted: set[nn.Parameter]) -> LayerSummary:
    new = [parameter for parameter in call.layer.parameters() if parameter not in counted]
    counted.update(new)
    return LayerSummary(
        name=call.name,
        kind=type(call.layer).__name__,
        output=image_shape(call.output),
        kernel=_kernel(call.layer),
        parameters=_count(new),
        multiply_adds=_multiply_adds(call),
        parameter_bytes=_bytes(new),
        activation_bytes=_bytes([call.output]) if isinstance(call.output, Tensor) else 0,
    )


def _multiply_adds(call: Call) -> int | None:
    """For one image; layers without parameters are taken to have none, as pools and activations do."""
    layer, output = call.layer, call.output
    if not isinstance(output, Tensor):
        return None
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
        return output.numel() * int(layer.weight[0].numel())
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return int(call.inputs[0].numel() * layer.weight[0].numel())
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        return output.numel()  # a scale and a shift for each value, once trained
    return None if any(True for _ in layer.parameters()) else 0


def _kernel(layer: nn.Module) -> str:
    """Such as 5×5, or 7×7/2×2 with its stride where that is not the usual one: 1, or a pool's own size."""
    size = pair(getattr(layer, "kernel_size", ()))
    usual = size if "Pool" in type(layer).__name__ else (1,) * len(size)
    stride = pair(getattr(layer, "stride", usual))
    return by(size) if stride == usual else f"{by(size)}/{by(stride)}"


def _count(parameters: Sequence[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer that holds no other: its name in the network, and what it got and gave."""

    name: str
    layer: nn.Module
    inputs: tuple[Any, ...]
    output: Any


def trace(network: nn.Module, input_shape: Sequence[int]) -> list[Call]:
    """Every call of a layer that holds no other, in order, for one blank image.

    The pass runs in evaluation mode without gradients, on the network's own device and in its own type; the network is
    left as it was, after an error too.

    Raises:
        SizeMismatchError: the network cannot take images of this size, and where the pass ended.
        UsageError: a size below 1.
    """
    shape = tuple(input_shape)
    require_sizes(shape)
    calls: list[Call] = []
    entered: list[str] = []

    def before(name: str, *_: object) -> None:
        entered.append(name)

    def after(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        calls.append(Call(name, layer, inputs, output))

    with _watched(network, before, after), torch.no_grad():
        try:
            network(_blank(network, shape))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, IndexError) as error:
            if isinstance(network, TableModule):
                trace_table(network.table, shape)  # which says what would fit
            reason = str(error).partition("\n")[0]
            raise SizeMismatchError(f"images of {by(shape)}: {_place(entered, calls)}: {reason}") from None
    return calls


@contextmanager
def _watched(network: nn.Module, before: Callable[..., None], after: Callable[..., None]) -> Iterator[None]:
    """Evaluation mode, with a hook before and after each layer that holds no other; undone whatever happens."""
    training = {layer: layer.training for layer in network.modules()}
    hooks = []
    for name, layer in network.named_modules():
        if not any(True for _ in layer.children()):
            said = name or title_of(network)
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


def image_shape(value: object) -> tuple[int, ...]:
    """The size of one image's part of a batch, without the first index; empty where it is not a tensor."""
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else ()


def pair(value: int | Iterable[int]) -> tuple[int, ...]:
    """Both sizes of what torch also takes as one number."""
    return (value, value) if isinstance(value, int) else tuple(value)
