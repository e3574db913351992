"""Our networks as PyTorch modules, each built from its table of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from lenscope.nets.lenet1998 import class_codes, connection_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor

    from lenscope.nets.layers import Activation, Kind, Layer, Network


class TableModule(nn.Module):
    """A network that classifies; each layer is a submodule of the layer's name.

    Attributes:
        table: the network.
    """

    def __init__(self, table: Network) -> None:
        super().__init__()
        self.table = table
        for layer in table.layers:
            self.add_module(layer.name, LAYERS[layer.kind](layer))

    @property
    def image_size(self) -> int:
        """The side of its square images, in pixels."""
        return self.table.image_size

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities, float of shape (N, classes), of images in [0, 1], float of shape (N, C, side, side)."""
        return F.log_softmax(self.scores(images), dim=1)

    def scores(self, images: Tensor) -> Tensor:
        """The output of the last layer, float of shape (N, classes); for a LeNet1998 minus the penalties."""
        table = self.table
        scaled = images if (table.scale, table.shift) == (1, 0) else images * table.scale + table.shift
        return self.run(scaled, table.layers)

    def run(self, values: Tensor, layers: Iterable[Layer]) -> Tensor:
        """The output of successive layers, each followed by its activation."""
        for layer in layers:
            given = values.flatten(1) if layer.kind == "dense" else values
            values = ACTIVATIONS[layer.activation](self.get_submodule(layer.name)(given))
        return values

    def _get_name(self) -> str:
        """The name in print(module)."""
        return self.table.title


class AutoencoderModule(TableModule):
    """A network that learns without labels to reconstruct its input."""

    def forward(self, images: Tensor) -> Tensor:
        """The reconstructions of images in [0, 1], of their shape."""
        return self.run(images, self.table.layers).view_as(images)


class Subsampling(nn.Module):
    """The sum of each 2×2 field, times the map's coefficient, plus its bias (LeCun et al. 1998, section II.B).

    Takes float of shape (N, maps, H, W) to (N, maps, H div 2, W div 2).
    """

    kernel_size = 2

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((maps,), 0.25))
        self.bias = nn.Parameter(torch.zeros(maps))

    def forward(self, maps: Tensor) -> Tensor:
        """The subsampled maps, not yet squashed."""
        sums = F.avg_pool2d(maps, 2, divisor_override=1)
        return sums * self.weight[:, None, None] + self.bias[:, None, None]


class TableConvolution(nn.Module):
    """A convolution in which each output map is connected to some input maps only, by the table of C3.

    Only the connected kernels are parameters. Takes float of shape (N, inputs, H, W) to (N, outputs, H−k+1, W−k+1).
    """

    positions: Tensor  # int64, shape (connections,): output × inputs + input of each kernel, ascending

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        table = torch.from_numpy(connection_table())
        self.out_channels, self.in_channels = table.shape
        self.kernel_size = kernel_size
        self.register_buffer("positions", table.flatten().nonzero().flatten(), persistent=False)
        self.weight = nn.Parameter(torch.zeros(len(self.positions), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(self.out_channels))

    def dense_weight(self) -> Tensor:
        """The kernels of the equivalent full convolution, (outputs, inputs, k, k), zero for unconnected maps."""
        k = self.kernel_size
        full = self.weight.new_zeros(self.out_channels * self.in_channels, k, k)
        return full.index_copy(0, self.positions, self.weight).view(-1, self.in_channels, k, k)

    def forward(self, maps: Tensor) -> Tensor:
        """The convolved maps, not yet squashed."""
        return F.conv2d(maps, self.dense_weight(), self.bias)

    def extra_repr(self) -> str:
        """The sizes in print(module)."""
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, kernels={len(self.weight)}"


class RadialBasis(nn.Module):
    """Minus the squared distance to the fixed code of each class (LeCun et al. 1998, section II.B, equation 7).

    Takes float of shape (N, 84) to (N, classes); the codes, float of shape (classes, 84), are not parameters.
    """

    codes: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.from_numpy(class_codes(classes)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Minus the penalties, −Σ (x_j − w_ij)² over j."""
        return -(x[:, None, :] - self.codes).square().sum(dim=2)


def is_as_its_table(module: TableModule) -> bool:
    """Whether its layers and dtype are still those of its table."""
    found = {name: (tuple(value.shape), value.dtype) for name, value in module.state_dict().items()}
    return found == {name: (shape, torch.float32) for name, shape in module.table.shapes.items()}


def title_of(network: nn.Module) -> str:
    """A network's name in messages: our title, or the class of a user's module."""
    return network.table.title if isinstance(network, TableModule) else type(network).__name__


def squash(x: Tensor) -> Tensor:
    """The scaled hyperbolic tangent, 1.7159·tanh(2x/3), through (1, 1) and (−1, −1) (appendix A)."""
    return 1.7159 * torch.tanh(x * (2 / 3))


LAYERS: Mapping[Kind, Callable[[Layer], nn.Module]] = {
    "conv": lambda layer: nn.Conv2d(layer.inputs, layer.outputs, layer.kernel),
    "maxpool": lambda layer: nn.MaxPool2d(layer.kernel),
    "dense": lambda layer: nn.Linear(layer.inputs, layer.outputs),
    "deconv": lambda layer: nn.ConvTranspose2d(layer.inputs, layer.outputs, layer.kernel, stride=2),
    "subsample": lambda layer: Subsampling(layer.outputs),
    "tableconv": lambda layer: TableConvolution(layer.kernel),
    "rbf": lambda layer: RadialBasis(layer.outputs),
}
ACTIVATIONS: Mapping[Activation | None, Callable[[Tensor], Tensor]] = {
    None: lambda values: values,
    "relu": F.relu,
    "squash": squash,
}
