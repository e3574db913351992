"""A network as the page runs it: its layers in order, and its weights."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from lenscope.nets.lenet import LeNet

if TYPE_CHECKING:
    from torch import Tensor

    from lenscope.nets.catalogue import LeNets

Layers = tuple[tuple[str, str, str | None], ...]

LENET: Layers = (
    ("conv1", "conv", "relu"),
    ("pool1", "maxpool", None),
    ("conv2", "conv", "relu"),
    ("pool2", "maxpool", None),
    ("fc1", "dense", "relu"),
    ("fc2", "dense", "relu"),
    ("fc3", "dense", None),
)
LENET1998: Layers = (
    ("c1", "conv", "squash"),
    ("s2", "subsample", "squash"),
    ("c3", "conv", "squash"),
    ("s4", "subsample", "squash"),
    ("c5", "dense", "squash"),
    ("f6", "dense", "squash"),
    ("rbf", "rbf", None),
)


def network_program(network: LeNets, channels: int) -> dict[str, Any]:
    """Layers, weights (base64 of little-endian float32) and the range of the input, as `js/network.js` takes them."""
    tensors = dict(network.state_dict())
    if isinstance(network, LeNet):
        layers, scale, shift = LENET, 1.0, 0.0
    else:
        layers, scale, shift = LENET1998, 1.275, -0.1
        tensors |= {"c3.weight": network.c3.dense_weight(), "rbf.codes": network.rbf.codes}
    return {
        "channels": channels,
        "size": network.image_size,
        "input": {"scale": scale, "shift": shift},
        "layers": [{"name": name, "op": operation, "activation": activation} for name, operation, activation in layers],
        "tensors": {name: _tensor(tensor) for name, tensor in tensors.items()},
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    values = tensor.detach().numpy().astype("<f4")
    return {"shape": list(values.shape), "data": base64.b64encode(values.tobytes()).decode()}
