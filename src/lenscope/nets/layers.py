"""Networks as tables of layers: what a layer is, and the networks that Lenscope trains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from lenscope.errors import RunError, SizeMismatchError, UsageError, unknown_name
from lenscope.nets.lenet1998 import CODE_LENGTH, connection_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Weights = dict[str, NDArray[np.float32]]
    Shape = tuple[int, ...]

Kind = Literal["conv", "maxpool", "dense", "deconv", "subsample", "tableconv", "rbf"]
Activation = Literal["relu", "squash"]
CONNECTIONS = 60  # kernels of C3 of LeNet1998: the ones in its connection table


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Attributes:
        name: such as `conv1`.
        kind: one of `KINDS`.
        kernel: the side of its square kernel; 0 where it has none.
        inputs: its number of input maps, or of input values where it is fully connected.
        outputs: its number of output maps or values.
        activation: what follows: `relu`, `squash` (1.7159·tanh(2x/3)), or None.
    """

    name: str
    kind: Kind
    kernel: int
    inputs: int
    outputs: int
    activation: Activation | None = None

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each parameter by its name in the network, such as `conv1.weight`."""
        weight = KINDS[self.kind].weight(self)
        return {f"{self.name}.weight": weight, f"{self.name}.bias": (self.outputs,)} if weight else {}

    def output_shape(self, given: Shape) -> Shape:
        """The shape of one image's output for an input of shape `given`: (maps, height, width) or (values,)."""
        return KINDS[self.kind].output(self, given)

    def multiply_adds(self, given: Shape, output: Shape) -> int:
        """Multiply-adds of the forward pass of one image; activations and max-pools count as none.

        Each weight is used once per position: of the output, or of the input for a transposed convolution.
        """
        factors = self.inputs * self.outputs if self.kind == "rbf" else math.prod(KINDS[self.kind].weight(self) or (0,))
        return factors * math.prod((given if self.kind == "deconv" else output)[1:])


class LayerKind(NamedTuple):
    """A kind of layer.

    Attributes:
        title: its name in PyTorch and in the summary.
        weight: the shape of a layer's weight; empty where it has no parameters. The bias is (outputs,).
        output: the shape of a layer's output as a function of the shape of its input.
    """

    title: str
    weight: Callable[[Layer], Shape]
    output: Callable[[Layer, Shape], Shape]


def _slid(layer: Layer, given: Shape) -> Shape:
    return (layer.outputs, *(side - layer.kernel + 1 for side in given[1:]))


def _pooled(layer: Layer, given: Shape) -> Shape:
    return (layer.outputs, *(side // layer.kernel for side in given[1:]))


def _spread(layer: Layer, given: Shape) -> Shape:
    return (layer.outputs, *(2 * (side - 1) + layer.kernel for side in given[1:]))  # its stride is 2


def _flat(layer: Layer, _given: Shape) -> Shape:
    return (layer.outputs,)


KINDS: Mapping[Kind, LayerKind] = {
    "conv": LayerKind("Conv2d", lambda it: (it.outputs, it.inputs, it.kernel, it.kernel), _slid),
    "maxpool": LayerKind("MaxPool2d", lambda _: (), _pooled),
    "dense": LayerKind("Linear", lambda it: (it.outputs, it.inputs), _flat),
    "deconv": LayerKind("ConvTranspose2d", lambda it: (it.inputs, it.outputs, it.kernel, it.kernel), _spread),
    "subsample": LayerKind("Subsampling", lambda it: (it.outputs,), _pooled),
    "tableconv": LayerKind("TableConvolution", lambda it: (CONNECTIONS, it.kernel, it.kernel), _slid),
    "rbf": LayerKind("RadialBasis", lambda _: (), _flat),
}


def _lenet(channels: int, classes: int) -> tuple[Layer, ...]:
    """The LeNet of Lecture 29: two convolutions, two max-pools, three fully connected layers.

    61,706 parameters for one channel and ten classes. It differs from the network of 1998: ReLU instead of the scaled
    tanh, max-pooling instead of trainable subsampling, conv2 connected to all maps, and a log-softmax.
    """
    return (*_convolutions(channels), Layer("fc1", "dense", 0, 400, 120, "relu"), *_head(120, 84, classes))


def _convolutions(channels: int) -> tuple[Layer, ...]:
    return (
        Layer("conv1", "conv", 5, channels, 6, "relu"),
        Layer("pool1", "maxpool", 2, 6, 6),
        Layer("conv2", "conv", 5, 6, 16, "relu"),
        Layer("pool2", "maxpool", 2, 16, 16),
    )


def _head(inputs: int, hidden: int, classes: int) -> tuple[Layer, ...]:
    return Layer("fc2", "dense", 0, inputs, hidden, "relu"), Layer("fc3", "dense", 0, hidden, classes)


def _lenet1998(channels: int, classes: int) -> tuple[Layer, ...]:
    """LeNet-5 as published, with the choices that `lenscope.nets.lenet1998` names."""
    return (
        Layer("c1", "conv", 5, channels, 6, "squash"),
        Layer("s2", "subsample", 2, 6, 6, "squash"),
        Layer("c3", "tableconv", 5, 6, 16, "squash"),
        Layer("s4", "subsample", 2, 16, 16, "squash"),
        Layer("c5", "dense", 0, 400, 120, "squash"),
        Layer("f6", "dense", 0, 120, CODE_LENGTH, "squash"),
        Layer("rbf", "rbf", 0, CODE_LENGTH, classes),
    )


def _mlp(channels: int, classes: int) -> tuple[Layer, ...]:
    """Pixels, 400 units, 100 units, classes: a network without any knowledge of neighbourhoods."""
    return (Layer("fc1", "dense", 0, channels * 28 * 28, 400, "relu"), *_head(400, 100, classes))


def _autoencoder(channels: int, _classes: int) -> tuple[Layer, ...]:
    """The LeNet up to its second pool, and a decoder that mirrors it: 6,251 parameters for one channel.

    Its convolutions have the LeNet's names and sizes, so that a LeNet can start from them. Each layer of the decoder
    reverses a pool and a convolution: a transposed convolution of 6×6 with stride 2. Enlarging by 2 and then convolving
    with 5×5 is a special case of it at 2.8 times the work. The output is linear.
    """
    return (
        *_convolutions(channels),
        Layer("back2", "deconv", 6, 16, 6, "relu"),
        Layer("back1", "deconv", 6, 6, channels),
    )


def _mlp_autoencoder(channels: int, _classes: int) -> tuple[Layer, ...]:
    """The first two layers of an `mlp` as a stack of autoencoders, trained one after the other.

    Source: Bengio, Lamblin, Popovici and Larochelle, "Greedy layer-wise training of deep networks" (NIPS 2006). The
    first stage learns to reconstruct the pixels, the second to reconstruct the code of the first, which is frozen.
    Where it differs: ReLU codes, linear decoders with weights of their own, squared errors.
    """
    pixels = channels * 28 * 28
    return (
        Layer("fc1", "dense", 0, pixels, 400, "relu"),
        Layer("fc2", "dense", 0, 400, 100, "relu"),
        Layer("back2", "dense", 0, 100, 400),
        Layer("back1", "dense", 0, 400, pixels),
    )


class Stage(NamedTuple):
    """The layers that an autoencoder trains together: those that encode, and those that decode."""

    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]


class NetworkEntry(NamedTuple):
    """A network in the catalogue.

    Attributes:
        title: its class name, such as `LeNet`.
        description: its name in a sentence.
        image_size: the side of its square images, in pixels.
        layers: its table, as a function of channels and classes.
        in_page: whether a report's page runs it and its kernels are ablated: it classifies by the maps of convolutions.
        scale: the first layer gets pixels in [0, 1] times this number, plus `shift`.
        shift: the first layer's input for a black pixel.
        stages: of an autoencoder, the encoder and the decoder of each stage.
    """

    title: str
    description: str
    image_size: int
    layers: Callable[[int, int], tuple[Layer, ...]]
    in_page: bool = False
    scale: float = 1.0
    shift: float = 0.0
    stages: tuple[tuple[slice, slice], ...] = ()


NETWORKS: Mapping[str, NetworkEntry] = {
    "lenet": NetworkEntry("LeNet", "LeNet", 32, _lenet, in_page=True),
    "lenet1998": NetworkEntry("LeNet1998", "LeNet-5 of 1998", 32, _lenet1998, in_page=True, scale=1.275, shift=-0.1),
    "mlp": NetworkEntry("Mlp", "fully connected network", 28, _mlp),
    "autoencoder": NetworkEntry(
        "Autoencoder", "convolutional autoencoder", 32, _autoencoder, stages=((slice(4), slice(4, 6)),)
    ),
    "mlp-autoencoder": NetworkEntry(
        "MlpAutoencoder",
        "stack of fully connected autoencoders",
        28,
        _mlp_autoencoder,
        stages=((slice(1), slice(3, 4)), (slice(1, 2), slice(2, 3))),
    ),
}


@dataclass(frozen=True)
class Network:
    """A network of the catalogue for a number of channels and classes.

    Attributes:
        name: one of `NETWORKS`.
        channels: channels of an image: 1 for grey, 3 for colour.
        classes: the number of classes; an autoencoder does not use it.

    Raises:
        UsageError: an unknown name.
    """

    name: str
    channels: int = 1
    classes: int = 10

    def __post_init__(self) -> None:
        if self.name not in NETWORKS:
            raise unknown_name("network", self.name, NETWORKS)

    @property
    def title(self) -> str:
        """Its class name, such as `LeNet`."""
        return NETWORKS[self.name].title

    @property
    def image_size(self) -> int:
        """The side of its square images, in pixels."""
        return NETWORKS[self.name].image_size

    @property
    def scale(self) -> float:
        """The first layer gets pixels in [0, 1] times this number, plus `shift`."""
        return NETWORKS[self.name].scale

    @property
    def shift(self) -> float:
        """The first layer's input for a black pixel."""
        return NETWORKS[self.name].shift

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its layers in the order of the forward pass."""
        return NETWORKS[self.name].layers(self.channels, self.classes)

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each parameter, in the order of the layers and of PyTorch's state_dict."""
        return {name: shape for layer in self.layers for name, shape in layer.shapes.items()}

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in which an autoencoder is trained, each for a share of the epochs; else empty."""
        layers = self.layers
        return tuple(Stage(layers[encoder], layers[decoder]) for encoder, decoder in NETWORKS[self.name].stages)

    @property
    def has_classes(self) -> bool:
        """Whether it classifies; an autoencoder reconstructs its input instead."""
        return not self.stages

    @property
    def has_maps(self) -> bool:
        """Whether it classifies by the maps of convolutions: they can be ablated, and the report's page runs it."""
        return NETWORKS[self.name].in_page

    def convolutions(self, weights: Weights) -> Weights:
        """The kernels of each convolution, named conv1, conv2, … in order; float32, shape (out, in, height, width).

        The kernels of a full convolution are the weights themselves, not a copy. C3 of LeNet1998 has zeros where maps
        are not connected.
        """
        own = [layer for layer in self.layers if layer.kind in {"conv", "tableconv"}]
        return {f"conv{number}": dense_kernels(layer, weights) for number, layer in enumerate(own, start=1)}

    def order(self, weights: Weights) -> Weights:
        """The weights in the network's order; raises RunError for names or shapes of another network."""
        if {name: array.shape for name, array in weights.items()} != self.shapes:
            raise RunError(f"the weights do not match a {self.title} of this size")
        return {name: weights[name] for name in self.shapes}

    def check(self, weights: Weights) -> Weights:
        """Like `order`, and raises RunError for a weight that is not finite, too."""
        ordered = self.order(weights)
        broken = first_broken(weights)
        if broken:
            raise RunError(f"{broken} is not finite")
        return ordered


def dense_kernels(layer: Layer, weights: Weights) -> NDArray[np.float32]:
    """The kernels of a convolution, (out, in, height, width), zero where maps are not connected."""
    kernels = weights[f"{layer.name}.weight"]
    if layer.kind != "tableconv":
        return kernels
    dense = np.zeros((layer.outputs, layer.inputs, layer.kernel, layer.kernel), np.float32)
    dense[connection_table()] = kernels
    return dense


def first_broken(weights: Weights) -> str | None:
    """The name of the first array with a value that is not finite; None where all are finite."""
    return next((name for name, array in weights.items() if not np.isfinite(array).all()), None)


def flatten(network: Network, weights: Weights) -> NDArray[np.float32]:
    """A copy of all weights in one array, in the network's order; float32, (parameters,)."""
    return np.concatenate([array.ravel() for array in network.order(weights).values()], dtype=np.float32)


def views(network: Network, flat: NDArray[np.float32]) -> Weights:
    """The weights of a network as views into one flat array."""
    sizes = [math.prod(shape) for shape in network.shapes.values()]
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for part, (name, shape) in zip(parts, network.shapes.items(), strict=True)}


def trace(network: Network, input_shape: Sequence[int]) -> list[tuple[Layer, Shape, Shape]]:
    """Each layer with the shapes of one image's input and output.

    Args:
        network: one of ours.
        input_shape: channels, height and width of an image.

    Raises:
        SizeMismatchError: an input of the wrong size for a layer; names layer, size, expected size and what fits.
        UsageError: a size below 1.
    """
    shape: Shape = tuple(input_shape)
    require_sizes(shape)
    side = network.image_size
    takes = f"{network.title} takes images of {by((network.channels, side, side))}, got {by(shape)}"
    if len(shape) != 3 or shape[0] != network.channels:
        raise SizeMismatchError(takes)
    steps: list[tuple[Layer, Shape, Shape]] = []
    for layer in network.layers:
        problem = _misfit(layer, shape)
        if problem:
            raise SizeMismatchError(f"{layer.name} {problem}; {takes}")
        given, shape = shape, layer.output_shape(shape)
        steps.append((layer, given, shape))
    return steps


def require_sizes(shape: Shape) -> None:
    """Raise UsageError for an empty shape of an image, or a size below 1."""
    if not shape or min(shape) < 1:
        raise UsageError(f"image size: got {by(shape) or 'none'}, expected sizes of at least 1, such as 1×32×32")


def _misfit(layer: Layer, given: Shape) -> str:
    """The problem with an input of this shape; empty where there is none."""
    if layer.kernel:
        side = layer.kernel if layer.kind != "deconv" else 1
        return "" if min(given[1:]) >= side else f"got {by(given[1:])}, expected at least {side}×{side}"
    values = math.prod(given)
    return "" if values == layer.inputs else f"got {values} values per image, expected {layer.inputs}"


def by(sizes: Sequence[object]) -> str:
    """Sizes joined by ×: 6×28×28."""
    return "×".join(str(size) for size in sizes)
