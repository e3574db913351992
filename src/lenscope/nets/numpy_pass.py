"""The forward and backward pass of a network in plain numpy: the reference that native code is tested against.

Within a pass the images of a batch are the innermost axis: maps are (height, maps, width, N), values (values, N). So
sums, maxima and masks run over contiguous memory, and one row of a convolution's output is one matrix product:

    columns  (height, in × k, out width × N)      each input column once per position in a window
    windows  (out height, k × in × k, out width × N)    k rows of `columns` each, overlapping in memory
    output   (out height, out, out width × N)     = kernels (out, k × in × k) @ windows

Numbers have the dtype of the weights: float32, or float64 to check gradients.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from lenscope.errors import UsageError
from lenscope.nets import blas
from lenscope.nets.layers import dense_kernels
from lenscope.nets.lenet1998 import class_codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from lenscope.nets.layers import Activation, Kind, Layer, Network, Weights

    Array = NDArray[np.floating[Any]]


CHUNK = 100  # images at a time: 2 MB of maps stay in the cache


@np.errstate(all="ignore")  # values that are not finite stay visible in the result
def forward(network: Network, weights: Weights, images: NDArray[np.uint8]) -> dict[str, Array]:
    """The output of each layer by its name, before its activation.

    Args:
        network: one of ours without a decoder.
        weights: its weights; they decide the dtype.
        images: uint8, shape (N, C, H, W), at the network's size.

    Returns:
        (N, maps, height, width) for maps, else (N, values). The last layer's output is the scores of the classes;
        `log_probabilities` are their log-softmax.

    Raises:
        UsageError: a transposed convolution, as in an autoencoder's decoder.
    """
    outputs, values = {}, pixels(network, weights, images)
    for layer in network.layers:
        made = apply(layer, weights, values)
        outputs[layer.name] = made.transpose(3, 1, 0, 2) if made.ndim == 4 else made.T
        values = activated(layer, made.copy())
    return outputs


@np.errstate(all="ignore")
def log_probabilities(network: Network, weights: Weights, images: NDArray[np.uint8]) -> Array:
    """The log-probability of each class for each image; shape (N, classes). Arguments and errors are `forward`'s."""
    with blas.one_thread():
        parts = (pixels(network, weights, images[start : start + CHUNK]) for start in range(0, len(images), CHUNK))
        scores = [pass_through(network.layers, weights, part)[-1] for part in parts]
        return _log_softmax(np.concatenate(scores, axis=1)).T


@np.errstate(all="ignore")
def gradients(
    network: Network, weights: Weights, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]]
) -> tuple[float, Weights]:
    """The mean negative log-likelihood of the labels in nats, and its gradient with respect to each weight.

    Of equal maxima in a max-pool the first receives the gradient, as in PyTorch.

    Args:
        network: one whose kinds of layers are in `BACKWARD`: `lenet` or `mlp`.
        weights: its weights; they decide the dtype.
        images: uint8, shape (N, C, H, W), at the network's size.
        labels: shape (N,).
    """
    values = pass_through(network.layers, weights, pixels(network, weights, images))
    chosen = labels, np.arange(len(labels))
    log_probable = _log_softmax(values[-1])
    gradient = np.exp(log_probable)
    gradient[chosen] -= 1
    gradient /= len(labels)
    found: Weights = {}
    for place, layer in reversed(list(enumerate(network.layers))):
        given, made = values[place], values[place + 1]
        if layer.activation:
            gradient *= made > 0
        if layer.shapes:
            found |= dict(zip(layer.shapes, BACKWARD[layer.kind].weights(layer, given, gradient), strict=True))
        if place:
            gradient = BACKWARD[layer.kind].values(layer, weights, given, gradient)
    return -float(log_probable[chosen].mean()), {name: found[name] for name in network.shapes}


def pass_through(layers: Sequence[Layer], weights: Weights, values: Array) -> list[Array]:
    """The input of each of successive layers, and last the output; images innermost."""
    passed = [values]
    for layer in layers:
        passed.append(activated(layer, apply(layer, weights, passed[-1])))
    return passed


def pixels(network: Network, weights: Weights, images: NDArray[np.uint8]) -> Array:
    """Images as the first layer's input, (H, C, W, N), in the network's range."""
    dtype = next(iter(weights.values())).dtype
    scaled = images.transpose(2, 1, 3, 0).astype(dtype, order="C")
    scaled *= network.scale / 255
    scaled += network.shift
    return scaled


def apply(layer: Layer, weights: Weights, values: Array) -> Array:
    """The output of a layer before its activation; values have the images innermost.

    Raises:
        UsageError: a kind of layer that is not in `FORWARD`.
    """
    if layer.kind not in FORWARD:
        raise UsageError(f"{layer.name}: numpy cannot compute a layer of kind {layer.kind}; use PyTorch")
    return FORWARD[layer.kind](layer, weights, values)


def activated(layer: Layer, values: Array) -> Array:
    """The values after the layer's activation, computed in place."""
    return ACTIVATIONS[layer.activation](values)


def _relu(values: Array) -> Array:
    return np.maximum(values, 0, out=values)


def _squash(values: Array) -> Array:
    values *= 2 / 3
    np.tanh(values, out=values)
    values *= 1.7159
    return values


ACTIVATIONS: Mapping[Activation | None, Callable[[Array], Array]] = {
    None: lambda values: values,
    "relu": _relu,
    "squash": _squash,
}


def _convolve(layer: Layer, weights: Weights, values: Array) -> Array:
    made = convolved(dense_kernels(layer, weights), values)
    made += weights[f"{layer.name}.bias"][:, None, None]
    return made


def convolved(kernels: Array, values: Array) -> Array:
    """Maps (height, in, width, N) convolved with kernels (out, in, k, k): (out height, out, out width, N)."""
    by_row = kernels.transpose(0, 2, 1, 3).reshape(len(kernels), -1)
    return _split_images(by_row @ _windows(values, kernels.shape[-1]), values.shape[-1])


def _windows(values: Array, kernel: int) -> Array:
    """The inputs of each row of a convolution's output; (out height, kernel × in × kernel, out width × N)."""
    columns = sliding_window_view(values, kernel, axis=2).transpose(0, 1, 4, 2, 3)  # (height, in, kernel, out width, N)
    return _overlapping(np.ascontiguousarray(columns).reshape(len(values), columns.shape[1] * kernel, -1), kernel)


def _overlapping(rows: Array, count: int) -> Array:
    """Each run of `count` successive matrices as one matrix; a view, (rows − count + 1, count × height, width)."""
    height, width = rows.shape[1:]
    return as_strided(rows, (len(rows) - count + 1, count * height, width), rows.strides, writeable=False)


def _split_images(values: Array, count: int) -> Array:
    """(…, width × N) as (…, width, N), a view."""
    return values.reshape(*values.shape[:-1], -1, count)


def _convolution_gradients(layer: Layer, values: Array, gradient: Array) -> tuple[Array, Array]:
    windows = _windows(values, layer.kernel)
    rows = gradient.reshape(*gradient.shape[:2], -1)
    product = (windows @ rows.transpose(0, 2, 1)).sum(0)  # (kernel × in × kernel, out)
    kernels = product.reshape(layer.kernel, layer.inputs, layer.kernel, layer.outputs).transpose(3, 1, 0, 2)
    return kernels, rows.sum((0, 2))


def _convolution_input(layer: Layer, weights: Weights, values: Array, gradient: Array) -> Array:
    """The gradient of the input: each input row contributes to k output rows, each window column to its own column."""
    kernels, margin = weights[f"{layer.name}.weight"], layer.kernel - 1
    (height, outputs, width, count), inputs = gradient.shape, layer.inputs
    padded = np.zeros((height + 2 * margin, outputs, width * count), gradient.dtype)
    padded[margin : margin + height] = gradient.reshape(height, outputs, -1)
    turned = kernels[:, :, ::-1].transpose(1, 3, 2, 0).reshape(inputs * layer.kernel, -1)  # rows from the last
    columns = _split_images(turned @ _overlapping(padded, layer.kernel), count)
    given = np.zeros_like(values)
    for column in range(layer.kernel):
        given[:, :, column : column + width] += columns[:, column :: layer.kernel]
    return given


def _max_pool(layer: Layer, _weights: Weights, values: Array) -> Array:
    return reduce(np.maximum, _positions(values, layer.kernel))


def _max_pool_input(layer: Layer, weights: Weights, values: Array, gradient: Array) -> Array:
    largest, given = _max_pool(layer, weights, values), np.zeros_like(values)
    free = np.ones(largest.shape, np.bool_)
    for value, into in zip(_positions(values, layer.kernel), _positions(given, layer.kernel), strict=True):
        first = (value == largest) & free
        np.multiply(gradient, first, out=into)
        free &= ~first
    return given


def _positions(values: Array, kernel: int) -> Iterator[Array]:
    """The k×k positions in all windows of a pool, row by row, each (height div k, maps, width div k, N); views."""
    rows, columns = (side // kernel * kernel for side in (values.shape[0], values.shape[2]))
    for row in range(kernel):
        for column in range(kernel):
            yield values[row:rows:kernel, :, column:columns:kernel]


def _subsample(layer: Layer, weights: Weights, values: Array) -> Array:
    made = sum(_positions(values, layer.kernel)) * weights[f"{layer.name}.weight"][:, None, None]
    return made + weights[f"{layer.name}.bias"][:, None, None]


def _dense(layer: Layer, weights: Weights, values: Array) -> Array:
    made = weights[f"{layer.name}.weight"] @ _flat(values)
    made += weights[f"{layer.name}.bias"][:, None]
    return made


def _flat(values: Array) -> Array:
    """Maps flattened map by map, as in PyTorch: (maps × height × width, N); values unchanged."""
    return values.swapaxes(0, 1).reshape(-1, values.shape[-1]) if values.ndim == 4 else values


def _dense_gradients(_layer: Layer, values: Array, gradient: Array) -> tuple[Array, Array]:
    return gradient @ _flat(values).T, gradient.sum(1)


def _dense_input(layer: Layer, weights: Weights, values: Array, gradient: Array) -> Array:
    flat = weights[f"{layer.name}.weight"].T @ gradient
    return flat if values.ndim == 2 else flat.reshape(values.swapaxes(0, 1).shape).swapaxes(0, 1)


def _rbf(layer: Layer, _weights: Weights, values: Array) -> Array:
    """The negative squared distance to the code of each class."""
    codes = class_codes(layer.outputs).astype(values.dtype)
    return -np.stack([np.square(values - code[:, None]).sum(0) for code in codes])


def _log_softmax(scores: Array) -> Array:
    """The log-softmax of scores (classes, N)."""
    shifted: Array = scores - scores.max(0)
    shifted -= np.log(np.exp(shifted).sum(0))
    return shifted


class Backward(NamedTuple):
    """The gradients of a kind of layer, from the gradient of its output before the activation.

    Attributes:
        weights: the gradients of weight and bias; empty without parameters.
        values: the gradient of the input.
    """

    weights: Callable[[Layer, Array, Array], tuple[Array, ...]]
    values: Callable[[Layer, Weights, Array, Array], Array]


FORWARD: Mapping[Kind, Callable[[Layer, Weights, Array], Array]] = {
    "conv": _convolve,
    "tableconv": _convolve,
    "maxpool": _max_pool,
    "subsample": _subsample,
    "dense": _dense,
    "rbf": _rbf,
}

BACKWARD: Mapping[Kind, Backward] = {
    "conv": Backward(_convolution_gradients, _convolution_input),
    "maxpool": Backward(lambda *_: (), _max_pool_input),
    "dense": Backward(_dense_gradients, _dense_input),
}
