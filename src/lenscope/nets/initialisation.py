"""Initial weights as a function of the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from lenscope.errors import UsageError
from lenscope.randomness import Purpose, random_uniforms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from lenscope.config import InitName

Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


@runtime_checkable
class HasInitialBounds(Protocol):
    """A network that has an initial distribution of its own."""

    def initial_bounds(self) -> Mapping[str, float | NDArray[np.float64]]:
        """The bound b of each parameter, or of each of its values, that is to be uniform in ±b."""
        ...


def initialise(network: nn.Module, seed: int, init: InitName = "pytorch") -> None:
    """Fill the weights and biases of a network from the seed, in place; torch's generators stay as they are.

    All comes from the uniforms u of the stream (seed, WEIGHTS, i) of parameter number i, counted in state_dict order,
    in float64, rounded to float32:

    - `pytorch`: (2u − 1)·b. The bound b is 1/√fan_in for the weight and the bias of each layer, which is PyTorch's
      default distribution (He, Zhang, Ren and Sun 2015, with a = √5), or what the network's own `initial_bounds` says.
    - `glorot`: (2u − 1)·√(6/(fan_in + fan_out)), biases 0. Glorot and Bengio, "Understanding the difficulty of training
      deep feedforward neural networks" (AISTATS 2010), equation 16.
    - `he`: normal with standard deviation √(2/fan_in), biases 0. He, Zhang, Ren and Sun, "Delving deep into rectifiers"
      (ICCV 2015), equation 10.
    - `orthogonal`: a matrix (outputs × the rest) with orthonormal rows or columns, whichever are fewer, times √2, and
      times 1 in the last layer; biases 0. Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of
      learning in deep linear neural networks" (ICLR 2014): the Q of a normal matrix's QR, with R's diagonal positive.

    Normal numbers are Box and Muller's of two uniforms each. Parameters of other layers, such as those of a BatchNorm,
    keep their values.

    Args:
        network: any network; changed in place.
        seed: 0 ≤ seed < 2⁶⁴.
        init: which of the four.

    Raises:
        UsageError: another than `pytorch` for a network that has an initial distribution of its own.
    """
    own = network.initial_bounds() if isinstance(network, HasInitialBounds) else None
    if own is not None and init != "pytorch":
        raise UsageError(f"init {init}: a {type(network).__name__} has initial weights of its own; leave init out")
    values = _uniform(default_bounds(network) if own is None else own) if init == "pytorch" else _drawn(network, init)
    with torch.no_grad():
        for index, (name, parameter) in enumerate(network.named_parameters()):
            if name in values:
                drawn = values[name](seed, index, tuple(parameter.shape)).astype(np.float32)
                parameter.copy_(torch.from_numpy(drawn))


def default_bounds(network: nn.Module) -> dict[str, float]:
    """1/√fan_in, as PyTorch counts it, for the weight and the bias of every layer, by their names in the state_dict."""
    return {name: layer.weight[0].numel() ** -0.5 for layer, names in _layers(network) for name in names}


def normals(seed: int, index: int, count: int) -> NDArray[np.float64]:
    """Standard normal numbers of a parameter's stream, Box and Muller's; float64, shape (count,)."""
    half = -(-count // 2)
    uniforms = random_uniforms(seed, Purpose.WEIGHTS, index, 2 * half)
    radius, angle = np.sqrt(-2 * np.log1p(-uniforms[:half])), 2 * np.pi * uniforms[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


if TYPE_CHECKING:
    Draw = Callable[[int, int, tuple[int, ...]], NDArray[np.float64]]  # of a seed, a parameter's number and its shape


def _layers(network: nn.Module) -> Iterator[tuple[Layer, list[str]]]:
    """Each layer with weights that we fill, and its parameters' names in the state_dict."""
    for prefix, layer in network.named_modules():
        if isinstance(layer, Layer):
            yield layer, [f"{prefix}.{name}".removeprefix(".") for name, _ in layer.named_parameters(recurse=False)]


def _uniform(bounds: Mapping[str, float | NDArray[np.float64]]) -> dict[str, Draw]:
    def within(bound: float | NDArray[np.float64]) -> Draw:
        return lambda seed, index, shape: (2 * _uniforms(seed, index, shape) - 1) * bound

    return {name: within(bound) for name, bound in bounds.items()}


def _uniforms(seed: int, index: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return random_uniforms(seed, Purpose.WEIGHTS, index, int(np.prod(shape))).reshape(shape)


def _drawn(network: nn.Module, init: InitName) -> dict[str, Draw]:
    layers = list(_layers(network))
    draws: dict[str, Draw] = {}
    for place, (layer, names) in enumerate(layers, start=1):
        draws |= dict.fromkeys(names, lambda _seed, _index, shape: np.zeros(shape))
        draws[names[0]] = _weights(layer, init, gain=1.0 if place == len(layers) else 2**0.5)
    return draws


def _weights(layer: Layer, init: InitName, gain: float) -> Draw:
    fan_in, fan_out = fans(layer)
    if init == "glorot":
        return lambda seed, index, shape: (2 * _uniforms(seed, index, shape) - 1) * (6 / (fan_in + fan_out)) ** 0.5
    if init == "he":
        return lambda seed, index, shape: normals(seed, index, int(np.prod(shape))).reshape(shape) * (2 / fan_in) ** 0.5
    return lambda seed, index, shape: gain * _orthogonal(seed, index, shape)


def fans(layer: Layer) -> tuple[float, float]:
    """How many inputs an output of a layer has, and how many outputs an input: of a stride, the mean."""
    outgoing, incoming = layer.weight.shape[:2]
    if isinstance(layer, nn.Linear):
        return incoming, outgoing
    taps, places = float(np.prod(layer.kernel_size)), float(np.prod(layer.stride))
    if isinstance(layer, nn.ConvTranspose2d):  # its weight is (in, out, height, width)
        return outgoing * taps / places, incoming * taps
    return incoming * taps, outgoing * taps


def _orthogonal(seed: int, index: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    rows, columns = shape[0], int(np.prod(shape[1:]))
    matrix = normals(seed, index, rows * columns).reshape(rows, columns)
    q, r = np.linalg.qr(matrix if rows >= columns else matrix.T)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return (q if rows >= columns else q.T).reshape(shape)
