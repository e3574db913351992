"""A network as the page runs it: its layers in order, and its weights."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from lenscope.nets.layers import dense_kernels
from lenscope.nets.lenet1998 import class_codes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lenscope.nets.layers import Network, Weights

OPERATIONS = {"tableconv": "conv"}  # of the kinds of layers that the page knows under another name


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
        "tensors": {name: _tensor(values) for name, values in (weights | convolutions | codes).items()},
    }


def _tensor(values: NDArray[np.float32]) -> dict[str, Any]:
    return {"shape": list(values.shape), "data": base64.b64encode(values.astype("<f4").tobytes()).decode()}
