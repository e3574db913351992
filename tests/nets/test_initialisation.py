"""Initial weights: PyTorch's distribution, our own numbers, no library's generator."""

import hashlib
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from lenscope.config import InitName, TrainConfig
from lenscope.errors import ConfigError, UsageError
from lenscope.nets.initialisation import bounds_of_1998, fans, initial_weights, normals
from lenscope.nets.layers import Layer, Network
from lenscope.pytorch.nets.build import build
from lenscope.pytorch.nets.module import TableModule
from lenscope.randomness import Purpose, random_uniforms
from lenscope.runs.files.tensors import decode_tensors


def digest(network: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance between two empirical distributions."""
    values = np.sort(np.concatenate([a, b]))
    below = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (a, b)]
    return np.abs(below[0] - below[1]).max()


def test_a_parameters_values_are_the_documented_function_of_the_seed() -> None:
    network = build("lenet", 1, 10, 7)
    for index, parameter in enumerate(network.parameters()):
        layer = list(network.children())[[0, 0, 2, 2, 4, 4, 5, 5, 6, 6][index]]
        uniforms = random_uniforms(7, Purpose.WEIGHTS, index, parameter.numel())
        expected = ((2 * uniforms - 1) / np.sqrt(layer.weight[0].numel())).astype(np.float32)
        np.testing.assert_allclose(parameter.detach().numpy().ravel(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lenet", "c78452f20bf7f9de104d80a541104032e4b43107030c7f05497987e1a1daf070"),
        ("lenet1998", "d220bcb2d6a3a8298f3ec826b2a5d2f2ac9474e6fc094a6b426e42ac5a41bdee"),
    ],
)
def test_all_weights_of_seed_0_are_these_for_ever(name: str, expected: str) -> None:
    assert digest(build(name, 1, 10, 0)) == expected


def test_lenet1998_is_uniform_within_its_own_bounds() -> None:
    layers = {layer.name: layer for layer in Network("lenet1998").layers}
    for name, array in initial_weights(Network("lenet1998"), 0).items():
        layer, parameter = name.split(".")
        relative = (array.astype(np.float64) / bounds_of_1998(layers[layer])[parameter == "bias"]).ravel()
        assert np.abs(relative).max() <= 1 + 1e-6
        assert abs(relative.mean()) < 4 / np.sqrt(3 * relative.size)
        if relative.size > 100:
            assert kolmogorov_smirnov(relative, np.linspace(-1, 1, relative.size)) < 1.95 * np.sqrt(2 / relative.size)


DRAWN = {
    "glorot": torch.nn.init.xavier_uniform_,
    "he": lambda weight: torch.nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "orthogonal": lambda weight: torch.nn.init.orthogonal_(weight, gain=2**0.5),
}


@pytest.mark.parametrize(("init", "layer"), [("glorot", "conv2"), ("he", "fc2"), ("orthogonal", "conv1")])
def test_the_other_initial_weights_have_the_distribution_that_torch_gives_them(init: str, layer: str) -> None:
    ours = [getattr(build("lenet", 1, 10, seed, init), layer) for seed in range(40)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        theirs = [
            DRAWN[init](torch.empty_like(getattr(TableModule(Network("lenet")), layer).weight)) for _ in range(40)
        ]
    assert all(not net.bias.any() for net in ours)
    a, b = (
        torch.cat([weight.detach().ravel() for weight in weights]).double().numpy()
        for weights in ([net.weight for net in ours], theirs)
    )
    assert abs(a.mean()) < 4 * b.std() / np.sqrt(a.size)
    assert a.std() == pytest.approx(b.std(), rel=6 / np.sqrt(2 * a.size))
    assert kolmogorov_smirnov(a, b) < 1.95 * np.sqrt(2 / a.size)


def test_orthogonal_weights_are_orthogonal_and_only_the_last_layer_lacks_the_gain() -> None:
    for name, layer in build("lenet", 1, 10, 3, "orthogonal").named_children():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            matrix = layer.weight.detach().double().flatten(1)
            square = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
            gain = 1 if name == "fc3" else 2
            assert torch.allclose(square, gain * torch.eye(len(square), dtype=torch.float64), atol=1e-6)


def test_orthogonal_weights_are_the_q_whose_r_has_a_positive_diagonal() -> None:
    weight = initial_weights(Network("lenet"), 0, "orthogonal")["conv1.weight"].reshape(6, 25) / 2**0.5
    r = weight @ normals(0, 0, weight.size).reshape(weight.shape).T
    assert np.diag(r).min() > 0
    np.testing.assert_allclose(np.tril(r, -1), 0, atol=1e-5)


def test_a_tall_orthogonal_matrix_has_orthonormal_columns() -> None:
    weight = initial_weights(Network("mlp-autoencoder"), 0, "orthogonal")["back2.weight"].astype(np.float64)
    assert weight.shape == (400, 100)
    np.testing.assert_allclose(weight.T @ weight, 2 * np.eye(100), atol=1e-5)


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ("glorot", [0.116044, 0.0930751, 0.0635665, -0.00624966]),
        ("he", [-0.499467, 0.117635, 0.342464, 0.178558]),
        ("orthogonal", [-0.521427, 0.122807, 0.357521, 0.186408]),
    ],
)
def test_the_first_weights_of_each_are_these_for_ever(init: str, expected: list[float]) -> None:
    first = build("lenet", 1, 10, 0, init).conv1.weight.detach().ravel()[:4].tolist()
    assert first == pytest.approx(expected, rel=1e-5)
    assert digest(build("lenet", 1, 10, 0, init)) == digest(build("lenet", 1, 10, 0, init))
    assert digest(build("lenet", 1, 10, 0, init)) != digest(build("lenet", 1, 10, 1, init))


def test_normal_numbers_are_normal_and_as_many_as_were_asked_for() -> None:
    assert [len(normals(0, 0, count)) for count in (1, 2, 7)] == [1, 2, 7]
    values = normals(1, 2, 100_001)
    assert abs(values.mean()) < 4 / np.sqrt(len(values))
    assert values.var() == pytest.approx(1, abs=4 * np.sqrt(2 / len(values)))
    assert np.mean(np.abs(values) < 1.959964) == pytest.approx(0.95, abs=0.003)


def test_a_transposed_convolution_counts_the_inputs_of_an_output() -> None:
    layer = torch.nn.ConvTranspose2d(16, 6, 6, stride=2)
    assert fans(Layer("back2", "deconv", 6, 16, 6)) == (16 * 9, 6 * 36)
    output = torch.nn.functional.conv_transpose2d(torch.ones(1, 16, 9, 9), torch.ones_like(layer.weight), stride=2)
    assert output[0, 0, 10, 10] == 16 * 9


def test_the_network_of_1998_keeps_its_own_initial_weights() -> None:
    with pytest.raises(UsageError, match="init he: a LeNet1998 has initial weights of its own"):
        build("lenet1998", 1, 10, 0, "he")
    with pytest.raises(ConfigError, match="init: got 'glorot', but lenet1998 has initial weights of its own"):
        TrainConfig(network="lenet1998", init="glorot")


@pytest.mark.parametrize("init", get_args(InitName))
def test_weights_are_contiguous_so_that_a_file_holds_them_as_they_are(init: InitName) -> None:
    weights = initial_weights(Network("mlp-autoencoder"), 0, init)
    assert all(array.flags.c_contiguous for array in weights.values())
    kept, _ = decode_tensors(save(weights))
    assert all(np.array_equal(kept[name], array) for name, array in weights.items())
