"""LeNet-5 of 1998 against the paper's numbers; `test_numpy_pass.py` compares its values with another implementation."""

import numpy as np
import torch

from lenscope.nets.initialisation import bounds_of_1998
from lenscope.nets.layers import Network
from lenscope.nets.lenet1998 import class_codes, connection_table
from lenscope.pytorch.nets.build import build, convolutions
from lenscope.pytorch.nets.module import squash


def uniforms(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_has_the_papers_trainable_parameters_layer_by_layer() -> None:
    counts = {
        name: sum(p.numel() for p in layer.parameters())
        for name, layer in build("lenet1998", 1, 10, 0).named_children()
    }
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164, "rbf": 0}
    assert sum(counts.values()) == 60_000


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
    bounds = {layer.name: bounds_of_1998(layer) for layer in Network("lenet1998", channels=3).layers if layer.shapes}
    fan_in = {"c1": 75, "s2": 4, "s4": 4, "c5": 400, "f6": 120}
    assert {name: [2.4 / fan, 2.4 / fan] for name, fan in fan_in.items()} == {name: [*bounds[name]] for name in fan_in}
    weight, bias = bounds["c3"]
    np.testing.assert_allclose(bias[[0, 6, 15]], [2.4 / 75, 2.4 / 100, 2.4 / 150])
    np.testing.assert_allclose(weight[[0, 18, 59]].ravel(), [2.4 / 75, 2.4 / 100, 2.4 / 150])


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


def test_the_smallest_penalty_is_the_most_probable_class() -> None:
    network = build("lenet1998", 1, 10, 0).double()
    images = uniforms(4, 1, 32, 32)
    penalties, log_probabilities = -network.scores(images), network(images)
    torch.testing.assert_close(log_probabilities, -penalties - torch.logsumexp(-penalties, dim=1, keepdim=True))
    assert torch.equal(log_probabilities.argmax(dim=1), penalties.argmin(dim=1))


def test_print_shows_how_many_kernels_c3_has() -> None:
    assert "(c3): TableConvolution(6, 16, kernel_size=5, kernels=60)" in str(build("lenet1998", 1, 10, 0))
