"""The recap: the lecture's numbers, any network, and what is said where sizes do not fit."""

import pytest
import torch
from torch import nn

from lenscope.errors import SizeMismatchError, UsageError
from lenscope.nets.layers import Network
from lenscope.nets.summary import summarise as summarise_table
from lenscope.pytorch.nets.build import build
from lenscope.pytorch.nets.summary import summarise


@pytest.mark.parametrize(
    ("file", "name", "channels", "classes", "batch_size"),
    [
        ("summary-lenet-colour.txt", "lenet", 3, 47, 100),
        ("summary-lenet1998.txt", "lenet1998", 1, 10, None),
        ("summary-mlp.txt", "mlp", 1, 10, None),
        ("summary-autoencoder.txt", "autoencoder", 1, 10, 100),
    ],
)
def test_the_summary_reads_as_the_golden_file(
    golden, file: str, name: str, channels: int, classes: int, batch_size: int | None
) -> None:
    network = build(name, channels, classes, 0)
    summary = summarise(network, (channels, network.image_size, network.image_size), batch_size)
    golden(file, summary.text() + "\n")
    assert str(summary) == summary.text()


def test_lenet_has_the_lectures_totals() -> None:
    summary = summarise(build("lenet", 1, 10, 0), (1, 32, 32))
    assert (summary.parameters, summary.multiply_adds, summary.parameter_bytes) == (61_706, 416_520, 246_824)
    assert summary.activation_bytes == 4 * (6 * 28**2 + 6 * 14**2 + 16 * 10**2 + 16 * 5**2 + 120 + 84 + 10)
    assert [(layer.name, layer.output) for layer in summary.layers] == [
        ("conv1", (6, 28, 28)),
        ("pool1", (6, 14, 14)),
        ("conv2", (16, 10, 10)),
        ("pool2", (16, 5, 5)),
        ("fc1", (120,)),
        ("fc2", (84,)),
        ("fc3", (10,)),
    ]


def test_batch_size_changes_the_first_index_of_each_output_and_nothing_else() -> None:
    network = build("lenet", 1, 10, 0)
    small, large = (summarise(network, (1, 32, 32), batch_size) for batch_size in (1, 100))
    assert small.layers == large.layers
    for one, hundred in zip(small.text().splitlines()[4:-4], large.text().splitlines()[4:-4], strict=True):
        assert one.split() == hundred.replace("100×", "1×").split() or set(one + hundred) == {"─"}
    assert "100×6×28×28" in large.text()
    assert "here 100." in large.text()
    assert "  1×6×28×28" in small.text()


def rows(network: nn.Module, shape: tuple[int, ...]) -> list[tuple[str, str, int, int | None]]:
    return [(row.name, row.kernel, row.parameters, row.multiply_adds) for row in summarise(network, shape).layers]


def test_any_layers_are_counted() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, groups=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AvgPool2d(3, stride=1),
        nn.ConvTranspose2d(8, 2, 2),
        nn.Flatten(),
        nn.Linear(2 * 6 * 6, 5, bias=False),
        nn.PReLU(),
    )
    assert rows(network, (4, 15, 15)) == [
        ("0", "3×3/2×2", 8 * 2 * 9, 8 * 7 * 7 * 2 * 9),
        ("1", "", 16, 8 * 7 * 7),
        ("2", "", 0, 0),
        ("3", "3×3/1×1", 0, 0),
        ("4", "2×2", 8 * 2 * 4 + 2, 8 * 5 * 5 * 2 * 4),
        ("5", "", 0, 0),
        ("6", "", 360, 360),
        ("7", "", 1, None),
    ]


class Odd(nn.Module):
    """Parameters of its own, a layer called twice, one never called, one that gives no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.twice = nn.Linear(3, 3)
        self.never = nn.Linear(3, 3, bias=False)
        self.memory = nn.GRU(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.twice(self.twice(x * self.scale)) @ self.never.weight
        return self.memory(x)[0]


def test_every_parameter_is_counted_once_wherever_it_lives() -> None:
    summary = summarise(Odd(), (3,))
    assert [(row.name, row.parameters, row.multiply_adds) for row in summary.layers] == [
        ("twice", 12, 9),
        ("twice", 0, 9),
        ("memory", 42, None),
        ("(other)", 12, None),
    ]
    assert summary.parameters == sum(parameter.numel() for parameter in Odd().parameters())
    assert "≥ 18" in summary.text()


def test_a_single_layer_is_a_network() -> None:
    assert rows(nn.Linear(3, 2), (3,)) == [("Linear", "", 8, 6)]


def test_bytes_follow_the_type_of_the_weights() -> None:
    assert summarise(nn.Linear(3, 2).double(), (3,)).parameter_bytes == 8 * 8


def test_a_module_of_ours_that_was_changed_is_summarised_as_it_is() -> None:
    module = build("lenet", 1, 10, 0)
    assert summarise(module, (1, 32, 32)) == summarise_table(Network("lenet"), (1, 32, 32))
    module.fc3 = nn.Linear(84, 47)
    assert summarise(module, (1, 32, 32)).parameters == 61_706 + 37 * 85
    assert summarise(module.double(), (1, 32, 32)).parameter_bytes == 8 * (61_706 + 37 * 85)


def traces(network: nn.Module) -> tuple[list[bool], int, dict[str, torch.Tensor]]:
    flags = [layer.training for layer in network.modules()]
    hooks = sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in network.modules())
    return flags, hooks, {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 8, 8), (1, 9, 9)], ids=["fits", "refused", "fails"])
def test_the_network_is_left_as_it_was(shape: tuple[int, ...]) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Unflatten(2, (2, 3)), nn.Flatten())
    network[1].eval()
    flags, hooks, state = traces(network)
    try:
        summarise(network, shape)
        failed = False
    except SizeMismatchError:
        failed = True
    assert failed == (shape != (1, 8, 8))
    assert traces(network)[:2] == (flags, hooks) == ([True, True, False, True, True, True], 0)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


# What does not fit.

FITS = "takes images of 1×32×32, got"


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("lenet", (1, 28, 28), f"fc1 got 256 values per image, expected 400; LeNet {FITS} 1×28×28"),
        ("lenet", (3, 32, 32), f"LeNet {FITS} 3×32×32"),
        ("lenet", (1, 4, 4), f"conv1 got 4×4, expected at least 5×5; LeNet {FITS} 1×4×4"),
        ("lenet", (1, 5, 5), f"pool1 got 1×1, expected at least 2×2; LeNet {FITS} 1×5×5"),
        ("lenet", (784,), f"LeNet {FITS} 784"),
        ("lenet1998", (1, 28, 28), f"c5 got 256 values per image, expected 400; LeNet1998 {FITS} 1×28×28"),
        ("lenet1998", (1, 12, 12), f"c3 got 4×4, expected at least 5×5; LeNet1998 {FITS} 1×12×12"),
    ],
)
def test_a_mismatch_of_sizes_names_the_layer_and_what_would_fit(
    name: str, shape: tuple[int, ...], message: str
) -> None:
    for summarise_it, network in ((summarise, build(name, 1, 10, 0)), (summarise_table, Network(name))):
        with pytest.raises(SizeMismatchError) as caught:
            summarise_it(network, shape)
        assert str(caught.value) == message


class Flattening(nn.Module):
    """A network whose own code, and no layer, stumbles over the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).view(-1, 72)


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (nn.Sequential(nn.Linear(4, 2)), (5,), "images of 5: in 0: mat1 and mat2 shapes"),
        (nn.Conv2d(3, 1, 1), (1, 2, 2), "images of 1×2×2: in Conv2d: "),
        (Flattening(), (1, 9, 9), "images of 1×9×9: after conv, which gave 2×7×7: shape '[-1, 72]' is invalid"),
        (nn.Unflatten(1, (2, 2)), (5,), "images of 5: in Unflatten: "),
    ],
)
def test_a_mismatch_in_any_network_is_explained_in_one_line(
    network: nn.Module, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(SizeMismatchError) as caught:
        summarise(network, shape)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_failure_before_any_layer_is_said_so() -> None:
    class Cutting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(7, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x.view(7))

    with pytest.raises(SizeMismatchError, match="images of 3: before any layer: shape"):
        summarise(Cutting(), (3,))


def test_a_failure_that_is_not_about_sizes_is_passed_on() -> None:
    class Full(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("no memory left")

    with pytest.raises(torch.OutOfMemoryError):
        summarise(Full(), (3,))


@pytest.mark.parametrize("shape", [(), (1, 0, 32), (1, -3, 3)])
def test_sizes_below_one_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="expected sizes of at least 1"):
        summarise(build("lenet", 1, 10, 0), shape)


def test_a_batch_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="batch size: got 0, expected at least 1"):
        summarise(build("lenet", 1, 10, 0), (1, 32, 32), 0)
