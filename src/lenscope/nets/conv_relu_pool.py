"""Convolution, ReLU and 2×2 max-pooling as one differentiable function, made for small networks on a CPU.

PyTorch's own three operations spend most of a LeNet's step outside the arithmetic: oneDNN's convolutions are made for
many channels, and the max-pool looks at one value at a time. Here the images of a batch are the innermost index, so
that every pool, mask and sum is a vectorised pass over contiguous runs, and a row of the output is one matrix product:

    columns  (height, in, kernel width + 1, width / 2, N)   each input column once for each place in a window
    filters  (2 × out, kernel height × in × (kernel width + 1))   for the left and the right column of each pool
    values   (out height, 2 × out, out width / 2 × N)   = filters @ rows of columns, overlapping and never copied

A training step of the LeNet takes 0.61 of the time (6.1 against 9.9 ms for 100 images, two cores of a Xeon at 2.5 GHz,
PyTorch 2.13, 2026-11-22; `benchmarks/bench_epoch.py`). Tried and left: all four places of a pool as filters (more
arithmetic than it saves), oneDNN with channels last, torch's max-pool on batch-last memory, other allocator settings.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

MANY = 100  # from this inner size on, MKL multiplies the columns by the gradients faster than the other way round


def conv_relu_pool(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`max_pool2d(relu(conv2d(images, weight, bias)), 2)`, with the same gradients: the first of equals wins.

    Args:
        images: (N, in, H, W).
        weight: (out, in, kernel height, kernel width).
        bias: (out,); None takes PyTorch's own operations.

    Returns:
        (N, out, (H − kernel height + 1) / 2, (W − kernel width + 1) / 2). Off the CPU, for odd output sizes, even
        kernel widths and mixed types PyTorch's own operations compute it.
    """
    height, width = images.shape[2] - weight.shape[2] + 1, images.shape[3] - weight.shape[3] + 1
    fits = height > 0 and width > 0 and height % 2 == width % 2 == 0 and weight.shape[3] % 2 == 1 and len(images)
    if images.device.type == "cpu" and images.dtype == weight.dtype and bias is not None and fits:
        return cast("Tensor", _ConvReluPool.apply(images, weight, bias))  # type: ignore[no-untyped-call]
    return F.max_pool2d(F.relu(F.conv2d(images, weight, bias)), 2)


class _Shape(NamedTuple):
    """What a plan depends on."""

    images: tuple[int, ...]
    weight: tuple[int, ...]
    dtype: torch.dtype
    input_gradient: bool


class _Plan:
    """Buffers and views for one shape: to make them anew each step costs about as much as the arithmetic."""

    idle: dict[_Shape, list[_Plan]] = {}  # noqa: RUF012 - kept for the life of the process

    @classmethod
    def take(cls, shape: _Shape) -> _Plan:
        waiting = cls.idle.setdefault(shape, [])
        return waiting.pop() if waiting else cls(shape)

    def give_back(self) -> None:
        self.idle[self.shape].append(self)

    def __init__(self, shape: _Shape) -> None:
        self.shape = shape
        (count, channels, height, width), (maps, _, rows, columns), dtype, _ = shape
        self.wide = columns + 1  # a window of the pool sees this many columns
        out_height, half = height - rows + 1, (width - columns + 1) // 2
        span, inner = half * count, rows * channels * self.wide
        self.out_shape = (out_height // 2, maps, half, count)
        self.columns = torch.zeros(height, channels, self.wide, half, count, dtype=dtype)
        step = channels * self.wide * span
        self.windows = self.columns.as_strided((out_height, inner, span), (step, span, 1))

        filters = torch.zeros(2, maps, rows, channels, self.wide, dtype=dtype)  # what stays zero is their gap
        self.filters_left, self.filters_right = filters[0, ..., :columns], filters[1, ..., 1:]
        self.filters = filters.view(2 * maps, inner).expand(out_height, 2 * maps, inner)

        self.values = torch.zeros(out_height, 2 * maps, span, dtype=dtype)
        self.left, self.right = self.values[:, :maps], self.values[:, maps:]
        self.pooled_rows = torch.zeros(out_height, maps, span, dtype=dtype)
        self.top, self.bottom = self.pooled_rows[0::2], self.pooled_rows[1::2]
        self._prepare_backward()

    def _prepare_backward(self) -> None:
        (_, channels, _, _), (maps, _, rows, columns), dtype, wanted = self.shape
        out_height, both, span = self.values.shape
        self.row_gradient = torch.zeros(out_height, maps, span, dtype=dtype)
        self.top_gradient, self.bottom_gradient = self.row_gradient[0::2], self.row_gradient[1::2]
        pad = rows - 1 if wanted else 0
        padded = torch.zeros(out_height + 2 * pad, both, span, dtype=dtype)
        gradient = padded[pad : pad + out_height]
        self.left_gradient, self.right_gradient = gradient[:, :maps], gradient[:, maps:]

        many = self.windows.shape[1] > MANY
        self.product = (self.windows, gradient.transpose(1, 2)) if many else (gradient, self.windows.transpose(1, 2))
        self.filter_gradients = torch.zeros(out_height, *(self.product[i].shape[i + 1] for i in (0, 1)), dtype=dtype)
        self.filter_gradient = torch.zeros(self.filter_gradients.shape[1:], dtype=dtype)
        by_filter = self.filter_gradient.t() if many else self.filter_gradient
        split = by_filter.unflatten(0, (2, maps)).unflatten(2, (rows, channels, self.wide))
        self.weight_gradient_left, self.weight_gradient_right = split[0, ..., :columns], split[1, ..., 1:]
        if wanted:
            self._prepare_input_gradient(padded)

    def _prepare_input_gradient(self, padded: Tensor) -> None:
        (count, channels, height, _), (maps, _, rows, columns), dtype, _ = self.shape
        _, both, span = padded.shape
        turned = torch.zeros(channels, self.wide, rows, 2, maps, dtype=dtype)
        self.turned_left, self.turned_right = turned[:, :columns, :, 0], turned[:, 1:, :, 1]
        self.turned = turned.view(channels * self.wide, rows * both).expand(height, -1, -1)
        self.gradient_windows = padded.as_strided((height, rows * both, span), (both * span, span, 1))
        self.column_gradient = torch.zeros(height, channels * self.wide, span, dtype=dtype)
        pairs = self.column_gradient.view(height, channels, self.wide // 2, 2, span // count, count)
        self.column_gradient_pairs = [pairs[:, :, pair].transpose(2, 3) for pair in range(self.wide // 2)]


class _ConvReluPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        plan = _Plan.take(_Shape(tuple(images.shape), tuple(weight.shape), weight.dtype, ctx.needs_input_grad[0]))
        batch_last = images.permute(2, 1, 3, 0).contiguous()  # free where the images came from this function
        plan.columns.copy_(batch_last.unfold(2, plan.wide, 2).permute(0, 1, 4, 2, 3))
        by_row = weight.permute(0, 2, 1, 3)
        plan.filters_left.copy_(by_row)
        plan.filters_right.copy_(by_row)
        torch.bmm(plan.filters, plan.windows, out=plan.values)
        torch.maximum(plan.left, plan.right, out=plan.pooled_rows)
        pooled = torch.maximum(plan.top, plan.bottom).add_(bias[:, None]).relu_()
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(weight, pooled)
            ctx.plan = plan
        else:
            plan.give_back()
        return pooled.view(plan.out_shape).permute(3, 1, 0, 2)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        weight, pooled = ctx.saved_tensors
        plan: _Plan = ctx.plan
        ctx.plan = None  # a second backward through the same graph fails here instead of reading another's numbers
        alive = gradient.permute(2, 1, 3, 0).reshape(pooled.shape) * (pooled > 0)
        # Strictly greater: the first of equals wins, as in torch's max-pool.
        torch.gt(plan.bottom, plan.top, out=plan.bottom_gradient).mul_(alive)
        torch.sub(alive, plan.bottom_gradient, out=plan.top_gradient)
        torch.gt(plan.right, plan.left, out=plan.right_gradient).mul_(plan.row_gradient)
        torch.sub(plan.row_gradient, plan.right_gradient, out=plan.left_gradient)
        torch.bmm(*plan.product, out=plan.filter_gradients)
        torch.sum(plan.filter_gradients, 0, out=plan.filter_gradient)
        weight_gradient = (plan.weight_gradient_left + plan.weight_gradient_right).permute(0, 2, 1, 3)
        image_gradient = _image_gradient(plan, weight) if plan.shape.input_gradient else None
        plan.give_back()
        return image_gradient, weight_gradient, alive.sum((0, 2))


def _image_gradient(plan: _Plan, weight: Tensor) -> Tensor:
    """The transposed convolution: a product a row, and a sum over the windows that share a pair of columns."""
    count, channels, height, width = plan.shape.images
    turned = weight.permute(1, 3, 2, 0).flip(2)
    plan.turned_left.copy_(turned)
    plan.turned_right.copy_(turned)
    torch.bmm(plan.turned, plan.gradient_windows, out=plan.column_gradient)
    gradient = weight.new_zeros(height, channels, width // 2, 2, count)
    for pair, part in enumerate(plan.column_gradient_pairs):
        gradient[:, :, pair : pair + part.shape[2]].add_(part)
    return gradient.view(height, channels, width, count).permute(3, 1, 0, 2)
