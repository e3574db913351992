"""A run that begins with what an autoencoder has learned."""

from __future__ import annotations

import numpy as np
import pytest

from lenscope.config import TrainConfig
from lenscope.errors import UsageError
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.runs.init_from import start_from
from lenscope.runs.record import record_run
from lenscope.runs.replay import replay_run

QUICK = {"epochs": 2, "batch_size": 20, "learning_rate": 1e-3, "device": "cpu"}
PAIRS = [("autoencoder", "lenet", {"conv1", "conv2"}), ("mlp-autoencoder", "mlp", {"fc1", "fc2"})]


@pytest.fixture(scope="module")
def sources(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return {
        name: record_run(TrainConfig(**QUICK, network=name), tiny, folder / name)
        for name in ("autoencoder", "mlp-autoencoder", "lenet")
    }


@pytest.mark.parametrize(("name", "target", "layers"), PAIRS)
def test_the_layers_that_both_have_are_taken_and_the_rest_keeps_its_own(sources, name, target, layers) -> None:
    network = Network(target)
    fresh, theirs = initial_weights(network, 5, "he"), sources[name].weights()
    weights, _ = start_from(str(sources[name].path), network, fresh)
    for key, values in weights.items():
        taken = key.split(".")[0] in layers
        assert np.array_equal(values, theirs[key] if taken else fresh[key])


@pytest.mark.parametrize(("name", "target", "layers"), PAIRS)
def test_a_run_from_there_is_an_ordinary_run(sources, tiny, tmp_path, name, target, layers) -> None:
    source = sources[name]
    config = TrainConfig(**QUICK, network=target, init_from=str(source.path), train_images=40)
    run = record_run(config, tiny, tmp_path / "run")
    initial = run.weights("initial")
    assert all(np.array_equal(initial[f"{layer}.weight"], source.weights()[f"{layer}.weight"]) for layer in layers)
    assert all(finding.sound for finding in replay_run(run, tiny))
    assert np.isfinite(run.metrics.test_accuracy).all()


def test_between_networks_of_one_kind_all_tensors_must_agree(sources) -> None:
    network = Network("autoencoder")
    weights, _ = start_from(str(sources["autoencoder"].path), network, initial_weights(network, 0))
    assert np.array_equal(weights["back1.weight"], sources["autoencoder"].weights()["back1.weight"])


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        (
            "autoencoder",
            ("mlp", 1),
            "autoencoder and mlp have no layer in common; choose a run of autoencoder for lenet",
        ),
        ("autoencoder", ("lenet1998", 1), "autoencoder and lenet1998 have no layer in common"),
        (
            "autoencoder",
            ("lenet", 3),
            r"conv1\.weight is \(6, 1, 5, 5\), expected \(6, 3, 5, 5\); choose a run",
        ),
        ("mlp-autoencoder", ("lenet", 1), r"fc1\.bias is \(400,\), expected \(120,\)"),
        ("autoencoder", ("mlp-autoencoder", 1), r"expected"),
        ("lenet", ("autoencoder", 1), r"expected"),
        ("lenet", ("lenet", 1, 3), r"fc3\.bias is \(10,\), expected \(3,\)"),
    ],
)
def test_what_cannot_be_a_start_is_said(sources, source, target, says) -> None:
    network = Network(*target)
    with pytest.raises(UsageError, match=says) as error:
        start_from(str(sources[source].path), network, initial_weights(network, 0))
    assert "\n" not in str(error.value)
