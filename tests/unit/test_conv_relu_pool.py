"""The fused block against PyTorch's own three operations: values, every gradient, ties."""

import pytest
import torch
from torch.nn import functional as F

from lenscope.nets.conv_relu_pool import conv_relu_pool

SHAPES = [
    ((100, 1, 32, 32), (6, 1, 5, 5)),
    ((7, 6, 14, 14), (16, 6, 5, 5)),
    ((1, 3, 10, 12), (2, 3, 3, 3)),
    ((2, 1, 5, 4), (1, 1, 2, 1)),
]


def plain(images, weight, bias):
    return F.max_pool2d(F.relu(F.conv2d(images, weight, bias)), 2)


def gradients(function, *tensors):
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    out = function(*tensors)
    out.backward((torch.arange(out.numel()) % 7 - 2).to(out.dtype).view(out.shape))
    return [out, *(tensor.grad for tensor in tensors)]


@pytest.mark.parametrize(("images", "weight"), SHAPES)
def test_values_and_gradients_are_those_of_the_plain_operations(images, weight):
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in (images, weight, weight[:1])]
    for got, expected in zip(gradients(conv_relu_pool, *tensors), gradients(plain, *tensors), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_first_of_equals_wins_as_in_the_plain_operations():
    generator = torch.Generator().manual_seed(2)
    shapes = ((9, 2, 8, 8), (3, 2, 3, 3), (3,))
    tensors = [torch.randint(-1, 2, shape, generator=generator).double() for shape in shapes]
    for got, expected in zip(gradients(conv_relu_pool, *tensors), gradients(plain, *tensors), strict=True):
        assert torch.equal(got, expected)


def test_two_graphs_of_one_shape_do_not_share_numbers():
    images = torch.arange(2 * 36.0).view(2, 1, 6, 6).sin()
    weight = torch.ones(1, 1, 3, 3, requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    first = conv_relu_pool(images, weight, bias)
    conv_relu_pool(-images, weight, bias)
    first.sum().backward()
    plain_weight = weight.detach().clone().requires_grad_()
    plain(images, plain_weight, bias.detach()).sum().backward()
    torch.testing.assert_close(weight.grad, plain_weight.grad)


def test_second_backward_through_one_graph_is_refused():
    weight = torch.ones(1, 1, 3, 3, requires_grad=True)
    loss = conv_relu_pool(torch.ones(1, 1, 6, 6), weight, torch.zeros(1)).sum()
    loss.backward(retain_graph=True)
    with pytest.raises((RuntimeError, AttributeError)):
        loss.backward()


@pytest.mark.parametrize(("images", "weight"), [((2, 1, 7, 7), (1, 1, 3, 3)), ((2, 1, 6, 7), (1, 1, 3, 2))])
def test_other_sizes_fall_back(images, weight):
    tensors = [torch.ones(shape) for shape in (images, weight, weight[:1])]
    assert torch.equal(conv_relu_pool(*tensors), plain(*tensors))


def test_image_smaller_than_the_kernel_is_torchs_own_error():
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        conv_relu_pool(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 5, 5), torch.zeros(1))
