"""LeNet-5 of 1998 against the paper's counts, a plain loop, and numerical gradients."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.func import functional_call

from lenscope.nets.lenet1998 import class_codes, connection_table, initial_bounds
from lenscope.pytorch.nets.build import build, convolutions
from lenscope.pytorch.nets.module import RadialBasis, Subsampling, TableConvolution, squash


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On a busy machine two threads wait for each other: 145 ms a step against 5 (two shared cores, 2026)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def uniforms(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# The paper's numbers.


def test_has_the_papers_trainable_parameters_layer_by_layer() -> None:
    counts = {
        name: sum(p.numel() for p in layer.parameters())
        for name, layer in build("lenet1998", 1, 10, 0).named_children()
    }
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164, "rbf": 0}
    assert sum(counts.values()) == 60_000


def test_the_state_holds_the_trainable_parameters_alone() -> None:
    network = build("lenet1998", 1, 10, 0)
    assert list(network.state_dict()) == [name for name, _ in network.named_parameters()]


def test_the_connection_table_is_built_as_the_paper_explains() -> None:
    inputs = [set(np.flatnonzero(row).tolist()) for row in connection_table()]
    assert inputs[:6] == [{(i + j) % 6 for j in range(3)} for i in range(6)]
    assert inputs[6:12] == [{(i + j) % 6 for j in range(4)} for i in range(6)]
    assert inputs[12:15] == [{0, 1, 3, 4}, {1, 2, 4, 5}, {0, 2, 3, 5}]
    assert inputs[15] == set(range(6))


def test_squashing_passes_through_plus_and_minus_one() -> None:
    ends = squash(torch.tensor([-1.0, 0.0, 1.0, 1e3], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([-1.0, 0.0, 1.0, 1.7159], dtype=torch.float64), atol=1e-4, rtol=0)


def test_images_are_mapped_to_the_papers_range() -> None:
    network, seen = build("lenet1998", 1, 10, 0), []
    network.c1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.stack([torch.zeros(1, 32, 32), torch.ones(1, 32, 32)]))
    np.testing.assert_allclose(seen[0][:, 0, 0, 0], [-0.1, 1.175], rtol=1e-6)


def test_codes_of_ten_classes_are_the_drawn_digits() -> None:
    codes = class_codes(10).reshape(10, 12, 7)
    assert set(np.unique(codes)) == {-1, 1}
    seven = ["".join("#" if value > 0 else "." for value in row) for row in codes[7]]
    assert seven[0] == seven[1] == "#######"
    assert seven[-1] == ".##...."
    assert len(np.unique(codes.reshape(10, 84), axis=0)) == 10
    assert codes.dtype == np.float32


def test_codes_of_other_counts_are_random_distinct_and_fixed() -> None:
    codes = class_codes(47)
    assert codes.shape == (47, 84)
    assert set(np.unique(codes)) == {-1, 1}
    assert len(np.unique(codes, axis=0)) == 47
    assert abs(codes.mean()) < 0.06
    np.testing.assert_array_equal(codes[:26], class_codes(26))
    assert "".join("#" if value > 0 else "." for value in codes[0, :12]) == "##...#.#.###"


def test_initial_bounds_follow_each_units_fan_in() -> None:
    bounds = initial_bounds(channels=3)
    assert list(bounds["c1.weight"] * np.ones(1)) == [2.4 / 75]
    assert bounds["s2.weight"] == bounds["s4.bias"] == 0.6
    assert bounds["c5.weight"] == 2.4 / 400
    assert bounds["f6.bias"] == 2.4 / 120
    np.testing.assert_allclose(bounds["c3.bias"][[0, 6, 15]], [2.4 / 75, 2.4 / 100, 2.4 / 150])
    np.testing.assert_allclose(bounds["c3.weight"][[0, 18, 59]].ravel(), [2.4 / 75, 2.4 / 100, 2.4 / 150])
    assert set(bounds) == set(build("lenet1998", 1, 10, 0).state_dict())


def test_the_dense_view_of_c3_holds_each_kernel_where_the_table_says() -> None:
    network = build("lenet1998", 1, 10, 3)
    kernels = convolutions(network)
    assert {name: tuple(kernel.shape) for name, kernel in kernels.items()} == {
        "conv1": (6, 1, 5, 5),
        "conv2": (16, 6, 5, 5),
    }
    connected = connection_table()
    assert np.array_equal(kernels["conv2"][connected], network.c3.weight.detach().numpy())
    assert not kernels["conv2"][~connected].any()


# Values against plain loops.


def loop_convolution(maps: np.ndarray, kernels: np.ndarray, bias: np.ndarray, connected: np.ndarray) -> np.ndarray:
    """A convolution of one image, output by output."""
    outputs, side, k = len(kernels), maps.shape[1], kernels.shape[-1]
    result = np.zeros((outputs, side - k + 1, side - k + 1))
    for o, y, x in np.ndindex(result.shape):
        result[o, y, x] = bias[o] + sum(
            np.sum(maps[i, y : y + k, x : x + k] * kernels[o, i]) for i in np.flatnonzero(connected[o])
        )
    return result


def loop_subsampling(maps: np.ndarray, coefficient: np.ndarray, bias: np.ndarray) -> np.ndarray:
    result = np.zeros((len(maps), maps.shape[1] // 2, maps.shape[2] // 2))
    for m, y, x in np.ndindex(result.shape):
        total = maps[m, 2 * y, 2 * x] + maps[m, 2 * y, 2 * x + 1] + maps[m, 2 * y + 1, 2 * x]
        result[m, y, x] = coefficient[m] * (total + maps[m, 2 * y + 1, 2 * x + 1]) + bias[m]
    return result


def test_every_layer_computes_what_a_plain_loop_computes() -> None:
    network = build("lenet1998", 1, 10, 0).double()
    image = uniforms(1, 1, 32, 32)
    outputs = {}
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda _, __, output, name=name: outputs.update({name: output.detach()[0]}))
    scores = network.scores(image)

    w = {name: parameter.detach().numpy() for name, parameter in network.named_parameters()}
    f = {}
    squashed = lambda a: 1.7159 * np.tanh(2 / 3 * a)  # noqa: E731
    dense = network.c3.dense_weight().detach().numpy()
    f["c1"] = loop_convolution(image[0].numpy() * 1.275 - 0.1, w["c1.weight"], w["c1.bias"], np.ones((6, 1)))
    f["s2"] = loop_subsampling(squashed(f["c1"]), w["s2.weight"], w["s2.bias"])
    f["c3"] = loop_convolution(squashed(f["s2"]), dense, w["c3.bias"], connection_table())
    f["s4"] = loop_subsampling(squashed(f["c3"]), w["s4.weight"], w["s4.bias"])
    f["c5"] = w["c5.weight"] @ squashed(f["s4"]).ravel() + w["c5.bias"]
    f["f6"] = w["f6.weight"] @ squashed(f["c5"]) + w["f6.bias"]
    f["rbf"] = -np.array(
        [sum((x - c) ** 2 for x, c in zip(squashed(f["f6"]), code, strict=True)) for code in class_codes(10)]
    )
    assert list(f) == list(outputs)
    for name, expected in f.items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-9, atol=1e-11, err_msg=name)
    np.testing.assert_allclose(scores[0].detach(), f["rbf"], rtol=1e-9)


def test_the_smallest_penalty_is_the_most_probable_class() -> None:
    network = build("lenet1998", 1, 10, 0).double()
    images = uniforms(4, 1, 32, 32)
    penalties, log_probabilities = -network.scores(images), network(images)
    torch.testing.assert_close(log_probabilities, -penalties - torch.logsumexp(-penalties, dim=1, keepdim=True))
    assert torch.equal(log_probabilities.argmax(dim=1), penalties.argmin(dim=1))


# Gradients against finite differences, in float64.


def test_gradient_of_subsampling() -> None:
    layer = Subsampling(2).double()
    check = lambda x, w, b: functional_call(layer, {"weight": w, "bias": b}, x)  # noqa: E731
    arguments = [uniforms(2, 2, 4, 6), uniforms(2, seed=1), uniforms(2, seed=2)]
    assert gradcheck(check, [argument.requires_grad_() for argument in arguments])


def test_gradient_of_c3() -> None:
    layer = TableConvolution(5).double()
    check = lambda x, w, b: functional_call(layer, {"weight": w, "bias": b}, x)  # noqa: E731
    arguments = [uniforms(1, 6, 5, 6), uniforms(60, 5, 5, seed=1), uniforms(16, seed=2)]
    assert gradcheck(check, [argument.requires_grad_() for argument in arguments])


def test_gradient_of_the_radial_basis() -> None:
    layer = RadialBasis(10).double()
    assert gradcheck(layer, [uniforms(2, 84).requires_grad_()])


@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_of_the_whole_network(channels: int) -> None:
    network = build("lenet1998", channels, 10, 0).double()
    names = [name for name, _ in network.named_parameters()]
    check = lambda x, *weights: functional_call(network, dict(zip(names, weights, strict=True)), x)  # noqa: E731
    weights = [parameter.detach().clone().requires_grad_() for parameter in network.parameters()]
    assert gradcheck(check, [uniforms(2, channels, 32, 32).requires_grad_(), *weights], fast_mode=True)


def test_learns_to_tell_two_images_apart() -> None:
    network = build("lenet1998", 1, 10, 0)
    images, labels = uniforms(2, 1, 32, 32).float(), torch.tensor([3, 8])
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(120):
        optimiser.zero_grad()
        loss = torch.nn.functional.nll_loss(network(images), labels)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05


def test_print_shows_how_many_kernels_c3_has() -> None:
    assert "(c3): TableConvolution(6, 16, kernel_size=5, kernels=60)" in str(build("lenet1998", 1, 10, 0))
