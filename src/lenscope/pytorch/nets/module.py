"""Our networks as PyTorch modules, each made of its table of layers."""

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
    """A network that names classes; each layer is a submodule of its name.

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
        """The side of the square images that it takes, pixels."""
        return self.table.image_size

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities, float of shape (N, classes), of images in [0, 1], float of shape (N, C, side, side)."""
        return F.log_softmax(self.scores(images), dim=1)

    def scores(self, images: Tensor) -> Tensor:
        """The output of the last layer, float of shape (N, classes); of a LeNet1998 minus the penalties."""
        table = self.table
        scaled = images if (table.scale, table.shift) == (1, 0) else images * table.scale + table.shift
        return self.run(scaled, table.layers)

    def run(self, values: Tensor, layers: Iterable[Layer]) -> Tensor:
        """The output of some layers, each followed by its activation."""
        for layer in layers:
            given = values.flatten(1) if layer.kind == "dense" else values
            values = ACTIVATIONS[layer.activation](self.get_submodule(layer.name)(given))
        return values

    def _get_name(self) -> str:
        """What print(module) calls it."""
        return self.table.title


class AutoencoderModule(TableModule):
    """A network that learns without labels to give back what it gets, in one stage or several."""

    @property
    def stages(self) -> int:
        """In how many stages it learns, each a share of the epochs."""
        return len(self.table.stages)

    def forward(self, images: Tensor) -> Tensor:
        """What comes back through all stages, of the shape of the images, which are in [0, 1]."""
        values = images
        for stage in range(self.stages):
            values = self.encode(values, stage)
        for stage in reversed(range(self.stages)):
            values = self.decode(values, stage)
        return values.view_as(images)

    def given(self, images: Tensor, stage: int) -> Tensor:
        """What a stage learns to give back, of images in [0, 1]: the pixels, or the code of the stage before."""
        values = images.flatten(1) if self.table.layers[0].kind == "dense" else images
        for earlier in range(stage):
            values = self.encode(values, earlier)
        return values

    def encode(self, values: Tensor, stage: int) -> Tensor:
        """A stage's code of what it is given, (N, units or maps, …)."""
        return self.run(values, self.table.stages[stage].encoder)

    def decode(self, code: Tensor, stage: int) -> Tensor:
        """What a stage was given, as far as its code tells."""
        return self.run(code, self.table.stages[stage].decoder)

    def learners(self, stage: int) -> list[nn.Module]:
        """The layers that a stage trains; the others stay as they are."""
        return [self.get_submodule(layer.name) for part in self.table.stages[stage] for layer in part]


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
    """A convolution in which an output map sees only the input maps that the table of C3 connects it to.

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
        """The kernels as a full convolution has them, (outputs, inputs, k, k), zero where there is no connection."""
        k = self.kernel_size
        full = self.weight.new_zeros(self.out_channels * self.in_channels, k, k)
        return full.index_copy(0, self.positions, self.weight).view(-1, self.in_channels, k, k)

    def forward(self, maps: Tensor) -> Tensor:
        """The convolved maps, not yet squashed."""
        return F.conv2d(maps, self.dense_weight(), self.bias)

    def extra_repr(self) -> str:
        """What print(module) shows."""
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, kernels={len(self.weight)}"


class RadialBasis(nn.Module):
    """Minus the squared distance to the fixed code of each class (LeCun et al. 1998, section II.B, equation 7).

    Takes float of shape (N, 84) to (N, classes); the codes, float of shape (classes, 84), are no parameters.
    """

    codes: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.from_numpy(class_codes(classes)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Minus the penalties, −Σ (x_j − w_ij)² over j."""
        return -(x[:, None, :] - self.codes).square().sum(dim=2)


def is_as_its_table(module: TableModule) -> bool:
    """Whether nobody has put other layers or another dtype into it."""
    found = {name: (tuple(value.shape), value.dtype) for name, value in module.state_dict().items()}
    return found == {name: (shape, torch.float32) for name, shape in module.table.shapes.items()}


def title_of(network: nn.Module) -> str:
    """What a network is called: its class, of one of ours its title."""
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
