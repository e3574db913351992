"""A network as the page runs it: its layers in order, and its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lenscope.nets.layers import dense_kernels
from lenscope.nets.lenet1998 import class_codes
from lenscope.reports.section_data import packed

if TYPE_CHECKING:
    from lenscope.nets.layers import Network, Weights

OPERATIONS = {"tableconv": "conv"}  # kinds of layers that have another name in the page


def network_program(network: Network, weights: Weights) -> dict[str, Any]:
    """Layers, weights (base64 of little-endian float32) and the range of the input, as `js/network.js` takes them."""
    layers = network.layers
    convolutions = {f"{it.name}.weight": dense_kernels(it, weights) for it in layers if it.kind == "tableconv"}
    codes = {f"{it.name}.codes": class_codes(it.outputs) for it in layers if it.kind == "rbf"}
    return {
        "channels": network.channels,
        "size": network.image_size,
        "input": {"scale": network.scale, "shift": network.shift},
        "layers": [
            {"name": it.name, "op": OPERATIONS.get(it.kind, it.kind), "activation": it.activation} for it in layers
        ],
        "tensors": {
            name: {"shape": list(values.shape), "data": packed(values.astype("<f4"))}
            for name, values in (weights | convolutions | codes).items()
        },
    }
