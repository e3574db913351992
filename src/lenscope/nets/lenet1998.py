"""The LeNet-5 of 1998, layer by layer as the paper describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lenscope.randomness import Purpose, random_words

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# Table I of the paper: a row is a map of S2, a column a map of C3, X a 5×5 kernel between the two.
CONNECTIONS = """
X...XXX..XXXX.XX
XX...XXX..XXXX.X
XXX...XXX..X.XXX
.XXX..XXXX..X.XX
..XXX..XXXX.XX.X
...XXX..XXXX.XXX
"""

# The codes of the ten digits, each 7 pixels wide and 12 high; # is +1 and . is −1.
DIGITS = """
..###.. ...##.. .#####. .#####. .....## ####### ..####. ####### .#####. .#####.
.#####. ..###.. ####### ####### ....### ####### .#####. ####### ####### #######
##...## .####.. ##...## ##...## ...#### ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## ..##.## ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##..## ######. ######. ....##. ##...## ##...##
##...## ...##.. ....##. ..####. ##...## ####### ####### ....##. .#####. ##...##
##...## ...##.. ...##.. ..####. ##...## .....## ##...## ...##.. .#####. #######
##...## ...##.. ..##... .....## ####### .....## ##...## ...##.. ##...## .######
##...## ...##.. .##.... .....## ####### .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... ##...## .....## ##...## ##...## ..##... ##...## .....##
.#####. .###### ####### ####### .....## ####### ####### .##.... ####### .#####.
..###.. .###### ####### .#####. .....## .#####. .#####. .##.... .#####. .####..
"""
CODE_LENGTH = 7 * 12


class LeNet1998(nn.Module):
    """LeNet-5 as published; 60,000 trainable parameters for one channel and ten classes.

    Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", Proceedings
    of the IEEE 86 (11), 1998. From section II.B: the layers C1, S2, C3, S4, C5, F6 and their sizes, the connections of
    C3 (Table I), the range of the input (background −0.1, ink 1.175), the squashing function A·tanh(S·a) with
    A = 1.7159, and the radial basis functions of the output with fixed codes of ±1. From appendix A: S = 2/3 and the
    initial weights, uniform in ±2.4/F, where F is the fan-in of the unit.

    Where it differs from the paper, or the paper leaves room:
        loss: the negative log of softmax(−penalty). That is the MAP criterion (equation 9 of section II.C) without its
            constant e⁻ʲ, the penalty of a rubbish class; the simplest criterion there (equation 8) has no such
            competition between the classes.
        optimiser: any of ours; the paper uses stochastic diagonal Levenberg-Marquardt with one image an update
            (appendix C).
        input: 28×28 digits are resized to 32×32; the paper puts them into a 32×32 field, with background around.
        squashing in S2 and S4: the paper says "sigmoidal" there and gives one function for all layers up to F6;
            we use that one.
        C5: held as a full connection of 400 inputs, which the paper says it amounts to at this image size.
        codes: our own drawings of the ten digits. For other numbers of classes, random codes of ±1, which section II.B
            discusses as an alternative.
        initial biases, and the coefficients of S2 and S4: drawn as the weights of the same unit (fan-in 4 there).

    Args:
        channels: channels of an image: 1 for grey, 3 for colour.
        classes: how many classes to tell apart.
    """

    image_size: ClassVar[int] = 32

    def __init__(self, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(channels, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = TableConvolution(connection_table(), 5)
        self.s4 = Subsampling(16)
        self.c5 = nn.Linear(16 * 5 * 5, 120)
        self.f6 = nn.Linear(120, CODE_LENGTH)
        self.rbf = RadialBasis(class_codes(classes))

    def penalties(self, images: Tensor) -> Tensor:
        """The penalty of each class, float of shape (N, classes), the smallest for the class that fits best.

        Args:
            images: float in [0, 1], shape (N, C, 32, 32).
        """
        x = images * 1.275 - 0.1  # (N, C, 32, 32) in −0.1 … 1.175
        x = squash(self.c1(x))  # (N, 6, 28, 28)
        x = squash(self.s2(x))  # (N, 6, 14, 14)
        x = squash(self.c3(x))  # (N, 16, 10, 10)
        x = squash(self.s4(x))  # (N, 16, 5, 5)
        x = squash(self.c5(x.flatten(1)))  # (N, 120)
        x = squash(self.f6(x))  # (N, 84)
        penalties: Tensor = self.rbf(x)  # (N, classes)
        return penalties

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities, log_softmax(−penalties), float of shape (N, classes), of images as `penalties` takes."""
        return F.log_softmax(-self.penalties(images), dim=1)

    def initial_bounds(self) -> dict[str, float | NDArray[np.float64]]:
        """The bound of each parameter's initial distribution: 2.4/F, F the fan-in of its unit (appendix A)."""
        table = connection_table()
        unit_fan_in = 25.0 * table.sum(axis=1)  # (16,): C3's maps see three, four or six maps
        kernel_fan_in = unit_fan_in[table.nonzero()[0], None, None]  # (60, 1, 1)
        fan_in = {"c1": 25.0 * self.c1.in_channels, "s2": 4.0, "s4": 4.0, "c5": 400.0, "f6": 120.0}
        bounds: dict[str, float | NDArray[np.float64]] = {
            name: 2.4 / fan_in[name.split(".")[0]] for name in self.state_dict() if not name.startswith("c3.")
        }
        return bounds | {"c3.weight": 2.4 / kernel_fan_in, "c3.bias": 2.4 / unit_fan_in}


class Subsampling(nn.Module):
    """The sum of each 2×2 field, times the map's coefficient, plus its bias: two parameters a map (section II.B).

    Takes float of shape (N, maps, H, W) to (N, maps, H div 2, W div 2). The squashing is the caller's.
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

    def multiply_adds(self, output: Tensor) -> int:
        """One an output value: the coefficient times the sum, plus the bias."""
        return output.numel()


class TableConvolution(nn.Module):
    """A convolution in which an output map sees only the input maps that a table connects it to (C3, Table I).

    Only the connected kernels are parameters. Takes float of shape (N, inputs, H, W) to (N, outputs, H−k+1, W−k+1).

    Args:
        table: bool, shape (outputs, inputs), true where connected.
        kernel_size: the side k of the square kernels.
    """

    positions: Tensor  # int64, shape (connections,): output × inputs + input of each kernel, ascending

    def __init__(self, table: NDArray[np.bool_], kernel_size: int) -> None:
        super().__init__()
        self.out_channels, self.in_channels = table.shape
        self.kernel_size = kernel_size
        positions = torch.from_numpy(np.flatnonzero(table))
        self.register_buffer("positions", positions, persistent=False)
        self.weight = nn.Parameter(torch.zeros(len(positions), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(self.out_channels))

    def dense_weight(self) -> Tensor:
        """The kernels as a full convolution has them, (outputs, inputs, k, k), zero where there is no connection."""
        k = self.kernel_size
        full = self.weight.new_zeros(self.out_channels * self.in_channels, k, k)
        return full.index_copy(0, self.positions, self.weight).view(-1, self.in_channels, k, k)

    def forward(self, maps: Tensor) -> Tensor:
        """The convolved maps, not yet squashed."""
        return F.conv2d(maps, self.dense_weight(), self.bias)

    def multiply_adds(self, output: Tensor) -> int:
        """Those of the connected kernels alone, though the product is computed as a dense one."""
        return output[0, 0].numel() * self.weight.numel()

    def extra_repr(self) -> str:
        """What print(network) shows."""
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, kernels={len(self.weight)}"


class RadialBasis(nn.Module):
    """The squared distance between F6's output and the fixed code of each class (section II.B, equation 7).

    Takes float of shape (N, 84) to (N, classes); the codes, float of shape (classes, 84), are no parameters.
    """

    codes: Tensor

    def __init__(self, codes: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("codes", torch.from_numpy(codes), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The penalties, Σ (x_j − w_ij)² over j."""
        return (x[:, None, :] - self.codes).square().sum(dim=2)

    def multiply_adds(self, output: Tensor) -> int:
        """One for each component of each code: a difference squared and added."""
        return output.numel() * self.codes.shape[1]


def squash(x: Tensor) -> Tensor:
    """The scaled hyperbolic tangent, 1.7159·tanh(2x/3), through (1, 1) and (−1, −1) (appendix A)."""
    return 1.7159 * torch.tanh(x * (2 / 3))


def connection_table() -> NDArray[np.bool_]:
    """Table I as bool of shape (16, 6), true where a map of C3 sees a map of S2; 60 connections."""
    return np.array([[mark == "X" for mark in row] for row in CONNECTIONS.split()]).T


def class_codes(classes: int) -> NDArray[np.float32]:
    """The code of each class, ±1, float32 of shape (classes, 84): drawn digits for ten classes, else random bits."""
    if classes == 10:
        drawing = np.array([[list(cell) for cell in row.split()] for row in DIGITS.strip().splitlines()])  # (12, 10, 7)
        ink = drawing.transpose(1, 0, 2).reshape(10, CODE_LENGTH) == "#"
    else:
        words = random_words(0, Purpose.CODES, 0, classes * CODE_LENGTH)
        ink = (words >> np.uint64(63)).reshape(classes, CODE_LENGTH) == 1
    return np.where(ink, 1, -1).astype(np.float32)
