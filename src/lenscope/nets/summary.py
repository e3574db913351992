"""A network's summary: the output size, kernel, parameters, multiply-adds and bytes of each layer."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lenscope.errors import UsageError
from lenscope.nets.layers import KINDS, by, trace
from lenscope.text import for_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lenscope.nets.layers import Layer, Network, Shape


@dataclass(frozen=True)
class LayerSummary:
    """One call of one layer.

    Attributes:
        name: its name in the network, such as `conv1` or `encoder.0`.
        kind: its class, such as `Conv2d`.
        output: the size of its output for one image, without the batch; empty where it is not a tensor.
        kernel: such as `5×5`; empty where it has none.
        parameters: their number; 0 where they were counted at an earlier call.
        multiply_adds: for one image; None where the layer has parameters and the number is unknown.
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
        input_shape: the size of one image, usually (C, H, W).
        batch_size: images per batch, shown as the first index of each output; None shows N.
        layers: one entry per call of a layer that contains no other. Parameters outside these layers (the network's,
            or those of a layer whose weights are used without calling it) are a last entry named `(other)`.
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
        """Multiply-adds of the forward pass of one image, in the layers where the number is known."""
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
        """The attributes and the four totals as plain values for JSON."""
        totals = ("parameters", "multiply_adds", "parameter_bytes", "activation_bytes")
        return asdict(self) | {name: getattr(self, name) for name in totals}

    def text(self) -> str:
        """The summary as an aligned table, with totals and the effect of the batch size; no line feed at the end."""
        return "\n".join(_lines(self))

    def __str__(self) -> str:
        """The text, in characters that standard output can write."""
        return for_stdout(self.text())


def summarise(network: Network, input_shape: Sequence[int], batch_size: int | None = None) -> Summary:
    """The layers of one of our networks at any input size.

    Args:
        network: with as many channels as the images.
        input_shape: the size of one image, (C, H, W).
        batch_size: images per batch, to show as the first index of each output; None shows N.

    Raises:
        SizeMismatchError: an input of the wrong size for a layer; names layer, size and expected size.
        UsageError: a size below 1.
    """
    require_batch(batch_size)
    layers = tuple(_layer_summary(layer, given, output) for layer, given, output in trace(network, input_shape))
    return Summary(network.title, tuple(input_shape), batch_size, layers)


def require_batch(batch_size: int | None) -> None:
    """Raise UsageError for a batch size below 1."""
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch size: got {batch_size}, expected at least 1")


def _layer_summary(layer: Layer, given: Shape, output: Shape) -> LayerSummary:
    parameters = sum(math.prod(shape) for shape in layer.shapes.values())
    stride = "/2×2" if layer.kind == "deconv" else ""
    return LayerSummary(
        name=layer.name,
        kind=KINDS[layer.kind].title,
        output=output,
        kernel=f"{layer.kernel}×{layer.kernel}{stride}" if layer.kernel else "",
        parameters=parameters,
        multiply_adds=layer.multiply_adds(given, output),
        parameter_bytes=4 * parameters,
        activation_bytes=4 * math.prod(output),
    )


_HEADINGS = ("layer", "kind", "output", "kernel", "parameters", "multiply-adds", "bytes")


def _lines(summary: Summary) -> Iterator[str]:
    """The summary's lines: the network, the table, the notes."""
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
    """The total of the multiply-adds; a lower bound where a layer's are unknown."""
    known = all(layer.multiply_adds is not None for layer in summary.layers)
    return f"{'' if known else '≥ '}{summary.multiply_adds:,}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """Four columns of words, left-aligned, then three of numbers, right-aligned."""
    words = [cell.ljust(width) for cell, width in zip(row[:4], widths[:4], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(row[4:], widths[4:], strict=True)]
    return "  ".join(words + numbers).rstrip()


def _notes(summary: Summary, batch: str) -> Iterator[str]:
    total = "" if summary.batch_size is None else f" = {summary.batch_size * summary.activation_bytes:,}"
    yield "Multiply-adds are for the forward pass of one image; bytes are for the parameters."
    yield f"The batch size changes no parameter: it is only the first index of each output, here {batch}."
    yield f"A batch's outputs take {batch} × {summary.activation_bytes:,}{total} bytes."
