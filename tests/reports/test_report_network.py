"""The network that runs in the page, in node, against PyTorch."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.nets.lenet1998 import connection_table
from lenscope.pytorch.nets.build import build_module
from lenscope.reports.program import network_program

Array = np.ndarray[Any, Any]
Trained = tuple[Network, dict[str, Array]]

NODE = shutil.which("node")
SCRIPT = Path(__file__).parents[1] / "reports" / "js" / "network.mjs"
SOURCES = str(files("lenscope.reports") / "js")
KINDS = [("lenet", 3, 47), ("lenet1998", 1, 10), ("lenet1998", 3, 47)]
IMAGES = 12

pytestmark = pytest.mark.skipif(
    NODE is None and "CI" not in os.environ, reason="no node found, which runs the page's scripts; install nodejs"
)


def a_network(kind: tuple[str, int, int], gain: float = 1.0) -> Trained:
    network = Network(*kind)
    return network, {name: array * np.float32(gain) for name, array in initial_weights(network, 3).items()}


def some_images(channels: int, seed: int = 0) -> Array:
    """Noise, strokes, black and white."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (IMAGES, channels, 32, 32))
    images[4:] *= rng.random((IMAGES - 4, 1, 32, 32)) < 0.2
    images[0], images[1] = 0, 255
    return (images / 255).astype(np.float32)


def asked(trained: Trained, images: Array, passes: list[dict[str, Any]] | None = None, explained: Any = ()) -> Any:
    """What the page's network answers, for each image where no passes are named."""
    question = {
        "spec": network_program(*trained),
        "images": base64.b64encode(images.astype("<f4").tobytes()).decode(),
        "passes": passes or [{"image": image, "off": {}} for image in range(len(images))],
        "explained": list(explained),
    }
    ran = subprocess.run(
        [str(NODE), str(SCRIPT), SOURCES], input=json.dumps(question), capture_output=True, text=True, check=True
    )
    return json.loads(ran.stdout)


def log_probabilities(answer: Any) -> Array:
    return np.array([made["logProbabilities"] for made in answer["passes"]])


def by_torch(trained: Trained, images: Array) -> Array:
    with torch.no_grad():
        return build_module(*trained)(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_are_those_of_pytorch(kind: tuple[str, int, int]) -> None:
    trained, images = a_network(kind), some_images(kind[1])
    answer = asked(trained, images)
    expected = by_torch(trained, images)
    assert np.abs(log_probabilities(answer) - expected).max() < 1e-4
    assert (log_probabilities(answer).argmax(1) == expected.argmax(1)).all()
    sums = np.array([made["probabilities"] for made in answer["passes"]]).sum(1)
    assert np.abs(sums - 1).max() < 1e-6


@pytest.mark.parametrize(("name", "gain"), [("lenet", 0.0), ("lenet", 10.0), ("lenet1998", 3.0)])
def test_small_and_large_weights(name: str, gain: float) -> None:
    """Large ones against double precision: the float32 of PyTorch is no closer to it than ours."""
    trained, images = a_network((name, 1, 10), gain), some_images(1)
    answer = log_probabilities(asked(trained, images))
    exact = build_module(*trained).double()(torch.from_numpy(images).double()).detach().numpy()
    assert np.isfinite(answer).all()
    assert (np.abs(answer - exact) <= 1e-4 + 1e-5 * np.abs(exact)).all()


@pytest.mark.parametrize("kind", [("lenet", 1, 10), ("lenet1998", 1, 10)])
def test_kernels_that_are_off_are_exactly_zero(kind: tuple[str, int, int]) -> None:
    trained, images = a_network(kind), some_images(1)[5:8]
    first, second = ("conv1", "conv2") if kind[0] == "lenet" else ("c1", "c3")
    off = {first: [1, 4], second: [0, 15]}
    answer = asked(trained, images, [{"image": image, "off": off} for image in range(3)])
    maps = np.array(answer["passes"][0]["stages"][0]["values"]).reshape(6, 28, 28)
    assert not maps[[1, 4]].any()
    assert maps[[0, 2, 3, 5]].any()
    _, weights = trained
    for name, kernels in off.items():
        table = connection_table().nonzero()[0]  # C3 holds only its connections
        weights[f"{name}.weight"][np.isin(table, kernels) if name == "c3" else kernels] = 0
        weights[f"{name}.bias"][kernels] = 0
    assert np.abs(log_probabilities(answer) - by_torch(trained, images)).max() < 1e-4


@pytest.mark.parametrize("kind", [("lenet", 1, 10), ("lenet1998", 3, 47)])
def test_what_made_a_value_adds_up_to_it(kind: tuple[str, int, int]) -> None:
    trained, images = a_network(kind, 1.5), some_images(kind[1])[3:4]
    sizes = [4704, 1176, 1600, 400, 120, 84, kind[2]]
    rng = np.random.default_rng(1)
    places = [
        (stage, int(place)) for stage, size in enumerate(sizes) for place in (0, size - 1, *rng.integers(size, size=6))
    ]
    answer = asked(trained, images, explained=places)
    stages = answer["passes"][0]["stages"]
    inputs = [answer["passes"][0]["input"], *stages]
    for (stage, position), made in zip(places, answer["explained"], strict=True):
        assert made["value"] == stages[stage]["values"][position]
        assert activated(made["activation"], made["total"]) == pytest.approx(made["value"], abs=1e-5)
        before = np.array(inputs[stage]["values"]).reshape(inputs[stage]["shape"])
        CHECKS[made["op"]](made, before)
        check_field(made, stage)


def activated(name: str | None, total: float) -> float:
    return {"relu": max(total, 0.0), "squash": 1.7159 * np.tanh(2 / 3 * total), None: total}[name]


def check_conv(made: Any, before: Array) -> None:
    window = made["window"]
    rows, columns = (slice(window[side], window[side] + window["size"]) for side in ("row", "column"))
    for source in made["sources"]:
        assert np.array_equal(source["patch"], before[source["channel"], rows, columns].ravel())
        assert np.allclose(source["products"], np.multiply(source["patch"], source["kernel"]))
        assert source["sum"] == pytest.approx(sum(source["products"]), abs=1e-9)
    assert made["bias"] + sum(map(sum, (source["products"] for source in made["sources"]))) == pytest.approx(
        made["total"]
    )


def check_four(made: Any, before: Array) -> None:
    window, (source,) = made["window"], made["sources"]
    four = before[source["channel"], window["row"] : window["row"] + 2, window["column"] : window["column"] + 2]
    assert np.array_equal(source["patch"], four.ravel())
    if made["op"] == "maxpool":
        assert made["total"] == max(source["patch"]) == source["patch"][made["winner"]]
    else:
        assert made["total"] == pytest.approx(four.sum() * made["coefficient"] + made["bias"], abs=1e-6)


def check_dense(made: Any, before: Array) -> None:
    assert np.array_equal(made["inputs"], before.ravel())
    assert np.allclose(made["products"], np.multiply(made["inputs"], made["weights"]))
    assert made["total"] == pytest.approx(sum(made["products"]) + made["bias"], abs=1e-9)


def check_rbf(made: Any, before: Array) -> None:
    assert np.allclose(made["products"], (np.array(made["inputs"]) - made["weights"]) ** 2)
    assert made["total"] == pytest.approx(-sum(made["products"]))


def check_field(made: Any, stage: int) -> None:
    """The window of the first convolution, and what later maps see through it."""
    if stage == 0:
        assert made["field"] == {**{side: made["window"][side] for side in ("row", "column")}, "height": 5, "width": 5}
    sides = [5, 6, 14, 16]
    assert (made["field"] and made["field"]["height"]) == (sides[stage] if stage < 4 else None)


CHECKS = {"conv": check_conv, "maxpool": check_four, "subsample": check_four, "dense": check_dense, "rbf": check_rbf}


def test_an_explained_value_of_a_kernel_that_is_off_is_nothing() -> None:
    trained, images = a_network(("lenet", 1, 10)), some_images(1)[2:3]
    answer = asked(trained, images, [{"image": 0, "off": {"conv1": [0]}}], [(0, 400)])
    (made,) = answer["explained"]
    assert (made["off"], made["total"], made["value"], made["bias"]) == (True, 0, 0, 0)
    assert not any(made["sources"][0]["kernel"])
