"""The LeNet's forward and backward pass written out by hand in PyTorch operations, made for a CPU.

PyTorch's own operations spend most of a LeNet's step outside the arithmetic: oneDNN's convolutions are made for many
channels, the max-pool looks at one value at a time, and autograd allocates anew each step. Here every buffer is made
once, and the images of a batch are the innermost index, so that every pool, mask and sum is a vectorised pass over
contiguous runs, and a row of a convolution's output is one matrix product:

    columns  (height, in, kernel width + 1, width / 2, N)      each input column once for each place in a window
    filters  (2 × out, kernel height × in × (kernel width + 1))   for the left and the right column of each pool
    values   (out height, 2 × out, out width / 2 × N)             = filters @ rows of columns, overlapping, never copied

`benchmarks/results/epoch.csv` tells what that saves. Tried and left: the same block as an autograd function (which
allocates anew each step), all four places of a pool as filters (more arithmetic than it saves), oneDNN with channels
last, torch's max-pool on batch-last memory, other allocator settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lenscope.nets.lenet import LeNet

MANY = 100  # from this inner size on, MKL multiplies columns by gradients faster than gradients by columns
mask_into = torch.ops.aten.threshold_backward.grad_input  # the gradient where the ReLU let something through, else 0


class LeNetPass:
    """Log-probabilities and gradients of a LeNet for batches of one size; equal to autograd's up to rounding.

    Args:
        network: on the CPU; its weights are read anew each time, its gradients must be there to be added to.
        count: images of a batch.
        gradients: whether `add_gradients` will be called.
    """

    def __init__(self, network: LeNet, count: int, *, gradients: bool) -> None:
        self.count = count
        weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
        self._zeros = next(iter(weights.values())).new_zeros
        channels, size = weights["conv1.weight"].shape[1], network.image_size
        self._pixels = self._zeros(size, channels, size, count)
        self._block1 = ConvReluPool(self._pixels, weights["conv1.weight"], weights["conv1.bias"])
        pad = weights["conv2.weight"].shape[2] - 1 if gradients else 0
        self._block2 = ConvReluPool(self._block1.out, weights["conv2.weight"], weights["conv2.bias"], pad)
        self._features = self._block2.out.permute(3, 1, 0, 2)  # (N, 16, 5, 5), batch last in memory
        self._dense = [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in ("fc1", "fc2", "fc3")]
        self._inputs = self._zeros(self._features.shape)
        self._values = [self._inputs.view(count, -1), *(self._zeros(count, len(bias)) for _, bias in self._dense)]
        self._log_probabilities = torch.zeros_like(self._values[-1])
        if gradients:
            self._prepare_gradients(network)

    @torch.no_grad()
    def log_probabilities(self, images: Tensor) -> Tensor:
        """Of images as bytes, uint8 (N, C, 32, 32): (N, classes), overwritten by the next call."""
        self._pixels.copy_(images.permute(2, 1, 3, 0)).mul_(1 / 255)
        self._block1.forward()
        self._block2.forward()
        self._inputs.copy_(self._features)
        for place, (weight, bias) in enumerate(self._dense):
            torch.addmm(bias, self._values[place], weight.t(), out=self._values[place + 1])
            if place < len(self._dense) - 1:
                self._values[place + 1].relu_()
        return torch.log_softmax(self._values[-1], 1, out=self._log_probabilities)

    @torch.no_grad()
    def add_gradients(self, labels: Tensor, share: float) -> float:
        """Add `share` of the summed loss's gradients, of the last images; returns that share of the loss.

        Args:
            labels: int64 (N,).
            share: such as one over the size of the whole batch.
        """
        chosen = labels[:, None]
        loss = -share * float(self._log_probabilities.gather(1, chosen).sum())
        gradient = torch.exp(self._log_probabilities, out=self._value_gradients[-1])
        gradient.scatter_add_(1, chosen, self._minus_one).mul_(share)
        self._backward_dense()
        self._block2.out_gradient.copy_(self._input_gradients)
        self._block2.backward()
        self._block1.backward()
        return loss

    def _prepare_gradients(self, network: LeNet) -> None:
        into: dict[str, Any] = {name: parameter.grad for name, parameter in network.named_parameters()}
        self._block1.prepare_backward(into["conv1.weight"], into["conv1.bias"])
        self._block2.prepare_backward(into["conv2.weight"], into["conv2.bias"], self._block1.out_gradient)
        self._into = [(into[f"{name}.weight"], into[f"{name}.bias"]) for name in ("fc1", "fc2", "fc3")]
        self._value_gradients = [torch.zeros_like(values) for values in self._values]
        self._input_gradients = self._value_gradients[0].view_as(self._inputs).permute(2, 1, 3, 0)
        self._minus_one = self._zeros(self.count, 1) - 1

    def _backward_dense(self) -> None:
        for place in reversed(range(len(self._dense))):
            gradient, weight = self._value_gradients[place + 1], self._dense[place][0]
            into_weight, into_bias = self._into[place]
            into_weight.addmm_(gradient.t(), self._values[place])
            into_bias.add_(gradient.sum(0))
            torch.mm(gradient, weight, out=self._value_gradients[place])
            if place:
                below = self._value_gradients[place]
                mask_into(below, self._values[place], 0, grad_input=below)


class ConvReluPool:
    """Convolution, ReLU and 2×2 max-pool on (height, channels, width, images), and the gradients of it.

    Needs even output sizes and an odd kernel width.

    Attributes:
        out: what `forward` writes, (out height / 2, out, out width / 2, images).
        out_gradient: what `backward` reads, of the same shape; overwritten.
    """

    def __init__(self, source: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> None:
        (height, channels, width, count), (maps, _, rows, taps) = source.shape, weight.shape
        self.weight, self.bias, self.source = weight, bias[:, None], source
        self.wide, self.half = taps + 1, (width - taps + 1) // 2  # a window of the pool sees one column more
        out_height, span, inner = height - rows + 1, self.half * count, rows * channels * self.wide
        zeros = weight.new_zeros
        self.columns = zeros(height, channels, self.wide, self.half, count)
        self.unfolded = source.unfold(2, self.wide, 2).permute(0, 1, 4, 2, 3)
        step = channels * self.wide * span
        self.windows = self.columns.as_strided((out_height, inner, span), (step, span, 1))
        filters = zeros(2, maps, rows, channels, self.wide)  # the gap of each stays zero
        self.filters_left, self.filters_right = filters[0, ..., :taps], filters[1, ..., 1:]
        self.filters = filters.view(2 * maps, inner).expand(out_height, -1, -1)
        self.padded = zeros(out_height + 2 * pad, 2 * maps, span)  # what stays zero is around the values
        self.values = self.padded[pad : pad + out_height]
        self.left, self.right = self.values[:, :maps], self.values[:, maps:]
        self.rows = zeros(out_height, maps, span)
        self.top, self.bottom = self.rows[0::2], self.rows[1::2]
        self.pooled = zeros(out_height // 2, maps, span)
        self.out = self.pooled.view(out_height // 2, maps, self.half, count)
        self.out_gradient = torch.zeros_like(self.out)

    def forward(self) -> None:
        """Make what comes out of what is in `source`."""
        self.columns.copy_(self.unfolded)
        by_row = self.weight.permute(0, 2, 1, 3)
        self.filters_left.copy_(by_row)
        self.filters_right.copy_(by_row)
        torch.bmm(self.filters, self.windows, out=self.values)
        torch.maximum(self.left, self.right, out=self.rows)
        torch.maximum(self.top, self.bottom, out=self.pooled)
        self.pooled.add_(self.bias).relu_()

    def prepare_backward(self, into_weight: Tensor, into_bias: Tensor, into_source: Tensor | None = None) -> None:
        """Make the buffers of `backward`, which adds to the first two and overwrites the third."""
        (maps, channels, rows, taps), zeros = self.weight.shape, self.weight.new_zeros
        self.into_weight, self.into_bias, self.into_source = into_weight.permute(0, 2, 1, 3), into_bias, into_source
        gradient = self.values  # in place: a pass is as fast as its memory
        many = self.windows.shape[1] > MANY
        self.factors = (self.windows, gradient.transpose(1, 2)) if many else (gradient, self.windows.transpose(1, 2))
        self.products = zeros(len(self.values), self.factors[0].shape[1], self.factors[1].shape[2])
        self.product = zeros(self.products.shape[1:])
        by_filter: Any = self.product.t() if many else self.product
        sides = by_filter.unflatten(0, (2, maps)).unflatten(2, (rows, channels, self.wide))
        self.side_left, self.side_right = sides[0, ..., :taps], sides[1, ..., 1:]
        if into_source is not None:
            self._prepare_source_gradient(into_source)

    def _prepare_source_gradient(self, into_source: Tensor) -> None:
        (maps, channels, rows, taps), zeros = self.weight.shape, self.weight.new_zeros
        (height, _, width, count), (_, both, span) = into_source.shape, self.padded.shape
        turned = zeros(channels, self.wide, rows, 2, maps)
        self.turned_left, self.turned_right = turned[:, :taps, :, 0], turned[:, 1:, :, 1]
        self.turned = turned.view(channels * self.wide, rows * both).expand(height, -1, -1)
        self.gradient_windows = self.padded.as_strided((height, rows * both, span), (both * span, span, 1))
        self.column_gradient = zeros(height, channels * self.wide, span)
        parts = self.column_gradient.view(height, channels, self.wide // 2, 2, self.half, count)
        pairs = into_source.view(height, channels, width // 2, 2, count)
        self.folds = [
            (pairs[:, :, place : place + self.half], parts[:, :, place].transpose(2, 3))
            for place in range(self.wide // 2)
        ]

    def backward(self) -> None:
        """Once after each `forward`: what that left becomes its own gradient, in place."""
        alive = self.out_gradient.view_as(self.pooled)
        mask_into(alive, self.pooled, 0, grad_input=alive)
        self.into_bias.add_(alive.sum((0, 2)))
        # Strictly greater: the first of equals wins, as in torch's max-pool.
        torch.gt(self.bottom, self.top, out=self.bottom).mul_(alive)
        torch.sub(alive, self.bottom, out=self.top)
        torch.gt(self.right, self.left, out=self.right).mul_(self.rows)
        torch.sub(self.rows, self.right, out=self.left)
        torch.bmm(*self.factors, out=self.products)
        torch.sum(self.products, 0, out=self.product)
        self.into_weight.add_(self.side_left).add_(self.side_right)
        if self.into_source is not None:
            self._backward_source(self.into_source)

    def _backward_source(self, into_source: Tensor) -> None:
        """The transposed convolution: a product a row, and a sum over the windows that share a pair of columns."""
        turned = self.weight.permute(1, 3, 2, 0).flip(2)
        self.turned_left.copy_(turned)
        self.turned_right.copy_(turned)
        torch.bmm(self.turned, self.gradient_windows, out=self.column_gradient)
        into_source.zero_()
        for into, part in self.folds:
            into.add_(part)
