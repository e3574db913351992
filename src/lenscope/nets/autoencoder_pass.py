"""The convolutional autoencoder's forward and backward pass written out by hand, made for a CPU.

The encoder is the LeNet's own two blocks (`lenet_pass`), with the images of a batch as the innermost index. A
transposed convolution of 6×6 with stride 2 is a plain convolution of 3×3 for each of the four places (even or odd row,
even or odd column) of its output, on its input with two zeros around. In this order no input is copied into columns: a
row of an output is the sum of three matrix products, one for each column of the filters,

    padded   (height + 4, in, (width + 4) × N)
    filters  (3, 4 × out, 3 × in)
    values   (height + 2, 4 × out, (width + 2) × N)  = Σₖ filters[k] @ rows of `padded`, overlapping, k × N further

and the gradients are products of the same kinds. Tests hold it to autograd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lenscope.nets.lenet_pass import ConvReluPool, mask_into

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.nets.autoencoder import Autoencoder

    Penalty = Callable[[Tensor], Tensor | float]

TAPS = 3  # of the plain convolutions
MARGIN = TAPS - 1


class AutoencoderPass:
    """Errors and gradients of an `Autoencoder` for batches of one size; equal to autograd's up to rounding.

    Args:
        network: on the CPU; its weights are read anew each time, its gradients must be there to be added to.
        count: images of a batch.
        gradients: whether `add_gradients` will be called.
    """

    def __init__(self, network: Autoencoder, count: int, *, gradients: bool) -> None:
        weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
        channels, size = weights["conv1.weight"].shape[1], network.image_size
        self._given = weights["conv1.weight"].new_zeros(size, channels, size, count)
        self._seen = torch.zeros_like(self._given)
        pad = weights["conv2.weight"].shape[2] - 1 if gradients else 0
        self._block1 = ConvReluPool(self._seen, weights["conv1.weight"], weights["conv1.bias"])
        self._block2 = ConvReluPool(self._block1.out, weights["conv2.weight"], weights["conv2.bias"], pad)
        self._back2 = _Enlarge(weights["back2.weight"], weights["back2.bias"], self._block2.out.shape)
        self._back1 = _Enlarge(weights["back1.weight"], weights["back1.bias"], self._back2.out_shape)
        self._wanted = self._back1.by_place(self._given)
        self._between = self._back2.by_place(self._back1.inner)
        self._pixels = self._given[..., 0].numel()
        if gradients:
            self._prepare_gradients(network)

    @torch.no_grad()
    def errors(self, images: Tensor) -> Tensor:
        """The mean squared error of a pixel of each image as bytes, uint8 (N, C, 32, 32): (N,)."""
        self._forward(images, None)
        return self._back1.places.square().flatten(0, -2).sum(0) / self._pixels

    @torch.no_grad()
    def add_gradients(self, images: Tensor, seen: Tensor | None, penalty: Penalty, share: float) -> float:
        """Add `share` of the summed loss's gradients; returns that share of the loss.

        Args:
            images: uint8 (N, C, 32, 32), what is to be given back.
            seen: float (N, C, 32, 32), what the encoder gets instead; None for the same.
            penalty: of the code, (N, 16, 5, 5), what it adds to the loss of each image.
            share: such as one over the size of the whole batch.
        """
        self._forward(images, seen)
        difference = self._back1.values.view(-1)
        loss = share / self._pixels * float(torch.dot(difference, difference))
        difference.mul_(2 * share / self._pixels)
        self._back1.backward()
        mask_into(self._between_gradient, self._back2.places, 0, grad_input=self._back2.places)
        self._back2.backward()
        loss += self._penalise(penalty, share * len(images))
        self._block2.backward()
        self._block1.backward()
        return loss

    def _forward(self, images: Tensor, seen: Tensor | None) -> None:
        """Leave what came back less what was given in the last layer's values."""
        self._given.copy_(images.permute(2, 1, 3, 0)).mul_(1 / 255)
        self._seen.copy_(self._given if seen is None else seen.permute(2, 1, 3, 0))
        self._block1.forward()
        self._block2.forward()
        self._back2.inner.copy_(self._block2.out)
        self._back2.forward()
        self._back2.values.relu_()
        self._between.copy_(self._back2.places)
        self._back1.forward()
        self._back1.places.sub_(self._wanted)

    def _penalise(self, penalty: Penalty, share: float) -> float:
        """Add the gradient of the code's penalty to the code's."""
        with torch.enable_grad():
            code = self._block2.out.permute(3, 1, 0, 2).clone().requires_grad_()
            added = penalty(code)
            if not isinstance(added, Tensor):
                return 0.0
            [gradient] = torch.autograd.grad(added, code)
        self._block2.out_gradient.add_(gradient.permute(2, 1, 3, 0), alpha=share)
        return share * float(added.detach())

    def _prepare_gradients(self, network: Autoencoder) -> None:
        into: dict[str, Any] = {name: parameter.grad for name, parameter in network.named_parameters()}
        self._block1.prepare_backward(into["conv1.weight"], into["conv1.bias"])
        self._block2.prepare_backward(into["conv2.weight"], into["conv2.bias"], self._block1.out_gradient)
        self._back2.prepare_backward(into["back2.weight"], into["back2.bias"], self._block2.out_gradient)
        between = torch.zeros_like(self._back1.inner, memory_format=torch.contiguous_format)
        self._back1.prepare_backward(into["back1.weight"], into["back1.bias"], between)
        self._between_gradient = self._back2.by_place(between)


class _Enlarge:
    """A transposed convolution of 6×6 with stride 2 on (height, in, width, images), and the gradients of it.

    Attributes:
        inner: where its input is written to.
        values: what `forward` writes, (height + 2, 4 × out, (width + 2) × images), and what `backward` reads: the
            gradient of it.
        places: the same as (height + 2, 2, 2, out, width + 2, images), two rows and two columns of the output each.
        out_shape: the output's size as an input of another.
    """

    def __init__(self, weight: Tensor, bias: Tensor, source: torch.Size) -> None:
        (height, channels, width, count), maps, zeros = source, weight.shape[1], weight.new_zeros
        self.weight, self.bias = weight.view(channels, maps, TAPS, 2, TAPS, 2), bias
        self.biases = zeros(4, maps)
        padded = zeros(height + 2 * MARGIN, channels, width + 2 * MARGIN, count)
        self.inner = padded[MARGIN : MARGIN + height, :, MARGIN : MARGIN + width]
        rows, columns, line = height + MARGIN, width + MARGIN, (width + 2 * MARGIN) * count
        self.out_shape = torch.Size((2 * rows, maps, 2 * columns, count))
        sizes = (rows, TAPS * channels, columns * count)
        self.windows = [padded.as_strided(sizes, (channels * line, line, 1), tap * count) for tap in range(TAPS)]
        self.filters = zeros(TAPS, 2, 2, maps, TAPS, channels)
        self.factors = [one.expand(rows, -1, -1) for one in self.filters.view(TAPS, 4 * maps, TAPS * channels)]
        self.values = zeros(rows, 4 * maps, columns * count)
        self.places = self.values.view(rows, 2, 2, maps, columns, count)

    def by_place(self, output: Tensor) -> Tensor:
        """A view of an output, (2 × rows, out, 2 × columns, images), in the order of `places`."""
        rows, maps, columns, count = output.shape
        return output.view(rows // 2, 2, maps, columns // 2, 2, count).permute(0, 1, 4, 2, 3, 5)

    def forward(self) -> None:
        """Make the values of what is in `inner`."""
        # A filter is turned round: the first row of a window meets the last of its rows.
        self.filters.copy_(self.weight.flip(2, 4).permute(4, 3, 5, 1, 2, 0))
        self.biases.copy_(self.bias)
        torch.baddbmm(self.biases.view(1, -1, 1), self.factors[0], self.windows[0], out=self.values)
        for factor, window in zip(self.factors[1:], self.windows[1:], strict=True):
            self.values.baddbmm_(factor, window)

    def prepare_backward(self, into_weight: Tensor, into_bias: Tensor, into_source: Tensor) -> None:
        """Make the buffers of `backward`, which adds to the first two and overwrites the third."""
        channels, maps, zeros = self.weight.shape[0], self.weight.shape[1], self.weight.new_zeros
        height, _, width, count = into_source.shape
        rows, _, span = self.values.shape
        self.into_weight, self.into_bias = into_weight.view(self.weight.shape), into_bias
        self.products = zeros(rows, 4 * maps, TAPS * channels)
        self.product = zeros(TAPS, 2, 2, maps, TAPS, channels)
        self.sums = self.product.view(TAPS, 4 * maps, TAPS * channels)
        self.turned = zeros(TAPS, channels, TAPS, 2, 2, maps)
        turned = self.turned.view(TAPS, channels, TAPS * 4 * maps)
        self.turned_factors = [one.expand(height, -1, -1) for one in turned]
        sizes, strides = (height, TAPS * 4 * maps, width * count), (4 * maps * span, span, 1)
        self.gradient_windows = [self.values.as_strided(sizes, strides, tap * count) for tap in range(TAPS)]
        self.into_source = into_source.view(height, channels, width * count)

    def backward(self) -> None:
        """Once after each `forward`, with the values' gradient in their place."""
        self.into_bias.add_(self.places.sum((0, 1, 2, 4, 5)))
        for tap, window in enumerate(self.windows):
            torch.bmm(self.values, window.transpose(1, 2), out=self.products)
            torch.sum(self.products, 0, out=self.sums[tap])
        self.into_weight.add_(self.product.permute(5, 3, 4, 1, 0, 2).flip(2, 4))
        self.turned.copy_(self.weight.permute(4, 0, 2, 3, 5, 1))
        torch.bmm(self.turned_factors[0], self.gradient_windows[0], out=self.into_source)
        for factor, window in zip(self.turned_factors[1:], self.gradient_windows[1:], strict=True):
            self.into_source.baddbmm_(factor, window)
