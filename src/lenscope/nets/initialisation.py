"""Initial weights as a function of the seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lenscope.errors import UsageError
from lenscope.nets.lenet1998 import connection_table
from lenscope.randomness import Purpose, random_uniforms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.config import InitName
    from lenscope.nets.layers import Layer, Network, Shape, Weights


def initial_weights(network: Network, seed: int, init: InitName = "pytorch") -> Weights:
    """The weights and biases of a network as a function of the seed; float32.

    Parameter number i, in the network's order, is computed in float64 from the uniforms u of the stream
    (seed, WEIGHTS, i) and rounded to float32:

    - `pytorch`: (2u − 1)·b. The bound b is 1/√fan_in for the weight and the bias of each layer, which is PyTorch's
      default distribution (He, Zhang, Ren and Sun 2015, with a = √5); a LeNet1998 has the bounds of its paper.
    - `glorot`: (2u − 1)·√(6/(fan_in + fan_out)), biases 0. Glorot and Bengio, "Understanding the difficulty of training
      deep feedforward neural networks" (AISTATS 2010), equation 16.
    - `he`: normal with standard deviation √(2/fan_in), biases 0. He, Zhang, Ren and Sun, "Delving deep into rectifiers"
      (ICCV 2015), equation 10.
    - `orthogonal`: a matrix (outputs × the rest) with orthonormal rows or columns, whichever are fewer, times √2, and
      times 1 in the last layer; biases 0. Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of
      learning in deep linear neural networks" (ICLR 2014): the Q of a normal matrix's QR, with R's diagonal positive.

    Normal numbers are Box and Muller's of two uniforms each.

    Args:
        network: a network of the catalogue.
        seed: 0 ≤ seed < 2⁶⁴.
        init: one of the four schemes above.

    Raises:
        UsageError: a scheme other than `pytorch` for a LeNet1998.
    """
    of_1998 = network.name == "lenet1998"
    if of_1998 and init != "pytorch":
        raise UsageError(f"init {init}: a {network.title} has initial weights of its own; leave init out")
    layers = [layer for layer in network.layers if layer.shapes]
    owners = [(layer, *parameter) for layer in layers for parameter in layer.shapes.items()]
    weights: Weights = {}
    for index, (layer, name, shape) in enumerate(owners):
        if init == "pytorch":
            bounds = bounds_of_1998(layer) if of_1998 else 2 * (_default_bound(layer),)
            drawn = _uniforms(seed, index, shape) * bounds[name.endswith(".bias")]
        elif name.endswith(".bias"):
            drawn = np.zeros(shape)
        else:
            gain = 1.0 if layer is layers[-1] else 2**0.5
            drawn = _drawn(init, layer, shape, gain, (seed, index))
        weights[name] = drawn.astype(np.float32, order="C")  # as safetensors writes them
    return weights


def _default_bound(layer: Layer) -> float:
    """1/√fan_in, as PyTorch counts the fan-in: the values of a weight per index of its first axis."""
    bound: float = float(math.prod(layer.shapes[f"{layer.name}.weight"][1:])) ** -0.5
    return bound


def normals(seed: int, index: int, count: int) -> NDArray[np.float64]:
    """Standard normal numbers from a parameter's stream, by Box and Muller; float64, shape (count,)."""
    half = -(-count // 2)
    uniforms = random_uniforms(seed, Purpose.WEIGHTS, index, 2 * half)
    radius, angle = np.sqrt(-2 * np.log1p(-uniforms[:half])), 2 * np.pi * uniforms[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def _drawn(init: InitName, layer: Layer, shape: Shape, gain: float, stream: tuple[int, int]) -> NDArray[np.float64]:
    """The weight of a layer from its stream (seed, parameter number); float64."""
    fan_in, fan_out = fans(layer)
    if init == "glorot":
        return _uniforms(*stream, shape) * float(np.sqrt(6 / (fan_in + fan_out)))
    if init == "he":
        return normals(*stream, int(np.prod(shape))).reshape(shape) * float(np.sqrt(2 / fan_in))
    return gain * _orthogonal(*stream, shape)


def _uniforms(seed: int, index: int, shape: Shape) -> NDArray[np.float64]:
    """Uniform numbers in [−1, 1)."""
    return 2 * random_uniforms(seed, Purpose.WEIGHTS, index, int(np.prod(shape))).reshape(shape) - 1


def fans(layer: Layer) -> tuple[float, float]:
    """The inputs per output of a layer, and the outputs per input; with a stride, their mean."""
    taps = float(layer.kernel**2 or 1)
    fan_in, fan_out = layer.inputs * taps, layer.outputs * taps
    return (fan_in / 4, fan_out) if layer.kind == "deconv" else (fan_in, fan_out)  # its stride is 2 in each direction


def _orthogonal(seed: int, index: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    rows, columns = shape[0], int(np.prod(shape[1:]))
    matrix = normals(seed, index, rows * columns).reshape(rows, columns)
    q, r = np.linalg.qr(matrix if rows >= columns else matrix.T)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return (q if rows >= columns else q.T).reshape(shape)


def bounds_of_1998(layer: Layer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bounds of the uniform distributions of a layer's weight and bias: 2.4/F, F a unit's fan-in.

    Source: LeCun et al. 1998, appendix A (see `lenscope.nets.lenet1998`).

    The bounds are arrays that broadcast to the weight and the bias.
    """
    if layer.kind == "tableconv":
        table = connection_table()
        units = float(layer.kernel**2) * table.sum(axis=1)  # (16,): C3's maps see three, four or six maps
        return 2.4 / units[table.nonzero()[0], None, None], 2.4 / units
    maps = 1 if layer.kind == "subsample" else layer.inputs
    bound = np.array(2.4 / (maps * (layer.kernel**2 or 1)))
    return bound, bound
