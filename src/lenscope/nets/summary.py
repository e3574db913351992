"""The recap of a network: the output size, kernel, parameters, multiply-adds and bytes of each layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor, nn

from lenscope.errors import UsageError
from lenscope.nets.sizes import Call, by, check_input, image_shape, pair, trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["LayerSummary", "Summary", "check_input", "summarise"]


@dataclass(frozen=True)
class LayerSummary:
    """One call of one layer.

    Attributes:
        name: its name in the network, such as `conv1` or `encoder.0`.
        kind: its class, such as `Conv2d`.
        output: the size of its output for one image, without the batch; empty where it is not a tensor.
        kernel: such as `5×5`; empty where it has none.
        parameters: how many; 0 where they were counted at an earlier call.
        multiply_adds: for one image; None where the layer has parameters and we cannot tell.
        parameter_bytes: the memory of the parameters.
        activation_bytes: the memory of the output for one image.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    kernel: str
    parameters: int
    multiply_adds: int | None
    parameter_bytes: int
    activation_bytes: int


@dataclass(frozen=True)
class Summary:
    """A network's layers in the order of their calls.

    Attributes:
        network: the class of the network.
        input_shape: the size of one image, as a rule (C, H, W).
        batch_size: images a batch, shown as the first index of each output; None shows N.
        layers: one entry a call of a layer that holds no other. Parameters that belong to no such layer (the network's
            own, or a layer's whose weights are used without calling it) are a last entry named `(other)`.
    """

    network: str
    input_shape: tuple[int, ...]
    batch_size: int | None
    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """Parameters of the whole network."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the forward pass of one image, in the layers where we can tell."""
        return sum(layer.multiply_adds or 0 for layer in self.layers)

    @property
    def parameter_bytes(self) -> int:
        """The memory of all parameters."""
        return sum(layer.parameter_bytes for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """The memory of all outputs for one image."""
        return sum(layer.activation_bytes for layer in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the attributes, and the four totals."""
        totals = ("parameters", "multiply_adds", "parameter_bytes", "activation_bytes")
        return asdict(self) | {name: getattr(self, name) for name in totals}

    def text(self) -> str:
        """The recap as an aligned table, with its totals and what the batch size changes; no line feed at the end."""
        return "\n".join(_lines(self))

    __str__ = text


@runtime_checkable
class TellsWork(Protocol):
    """A layer of your own that says its work."""

    def multiply_adds(self, output: Tensor) -> int:
        """The multiply-adds that made this output of one image."""
        ...


def summarise(network: nn.Module, input_shape: Sequence[int], batch_size: int | None = None) -> Summary:
    """The layers of any network at any input size, from one forward pass of a blank image.

    The network is left as it was. A call of a function (`torch.relu(x)`) cannot be seen, only a call of a layer. A
    layer of your own may say its work as `TellsWork` does.

    Args:
        network: any network that takes one tensor.
        input_shape: the size of one image, as a rule (C, H, W).
        batch_size: images a batch, to show as the first index of each output; None shows N.

    Raises:
        SizeMismatchError: a layer cannot take what it gets: which, what it got, what it expected.
        UsageError: a size below 1.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch size: got {batch_size}, expected at least 1")
    counted: set[nn.Parameter] = set()
    layers = [_layer_summary(call, counted) for call in trace(network, input_shape)]
    rest = [parameter for parameter in network.parameters() if parameter not in counted]
    if rest:
        layers.append(LayerSummary("(other)", "", (), "", _count(rest), None, _bytes(rest), 0))
    return Summary(type(network).__name__, tuple(input_shape), batch_size, tuple(layers))


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
    if isinstance(layer, TellsWork):
        return layer.multiply_adds(output)
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


_HEADINGS = ("layer", "kind", "output", "kernel", "parameters", "multiply-adds", "bytes")


def _lines(summary: Summary) -> Iterator[str]:
    """The recap's lines: the network, the table, the notes."""
    batch = "N" if summary.batch_size is None else str(summary.batch_size)
    rows: list[tuple[str, ...]] = [_HEADINGS, ("input", "", by((batch, *summary.input_shape)), "", "", "", "")]
    rows += [_cells(layer, batch) for layer in summary.layers]
    rows += [("total", "", "", "", f"{summary.parameters:,}", _work(summary), f"{summary.parameter_bytes:,}")]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    heading, *body, total = (_aligned(row, widths) for row in rows)
    yield from (summary.network, "", heading, rule, *body, rule, total, "", *_notes(summary, batch))


def _cells(layer: LayerSummary, batch: str) -> tuple[str, ...]:
    output = by((batch, *layer.output)) if layer.output else ""
    work = "?" if layer.multiply_adds is None else f"{layer.multiply_adds:,}"
    return (layer.name, layer.kind, output, layer.kernel, f"{layer.parameters:,}", work, f"{layer.parameter_bytes:,}")


def _work(summary: Summary) -> str:
    """The total of the multiply-adds; at least that, where a layer's are not known."""
    known = all(layer.multiply_adds is not None for layer in summary.layers)
    return f"{'' if known else '≥ '}{summary.multiply_adds:,}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """Four columns of words, flush left, then three of numbers, flush right."""
    words = [cell.ljust(width) for cell, width in zip(row[:4], widths[:4], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(row[4:], widths[4:], strict=True)]
    return "  ".join(words + numbers).rstrip()


def _notes(summary: Summary, batch: str) -> Iterator[str]:
    total = "" if summary.batch_size is None else f" = {summary.batch_size * summary.activation_bytes:,}"
    yield "Multiply-adds are those of one image going forward; bytes are those of the parameters."
    yield f"The batch size changes no parameter: it is only the first index of each output, here {batch}."
    yield f"So a batch's outputs take {batch} × {summary.activation_bytes:,}{total} bytes."
