"""What an autoencoder is trained for: errors, noise, penalties and stages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engines import make_engine, never
from lenscope.config import Autoencoding, TrainConfig
from lenscope.pytorch.corruption import corrupted
from lenscope.pytorch.engine import TorchEngine
from lenscope.pytorch.nets.build import build
from lenscope.pytorch.objective import Batch
from lenscope.pytorch.reconstruction import Reconstruction, penalty, stage_of

NOISY = Autoencoding(masking=0.25, gaussian=0.3)


def engine_of(tiny, name, **settings) -> TorchEngine:
    config = TrainConfig(**{"network": name, "device": "cpu", "learning_rate": 1e-3, "epochs": 4, **settings})
    return make_engine(TorchEngine, tiny.train, config)


def batches(size: int = 20) -> list[np.ndarray]:
    return [np.arange(start, start + size) for start in range(0, 60, size)]


def test_the_encoder_has_the_names_and_sizes_of_the_network_that_it_is_for() -> None:
    for name, other, layers in (("autoencoder", "lenet", "conv"), ("mlp-autoencoder", "mlp", "fc")):
        own, theirs = (build(one, 1, 10, 0).state_dict() for one in (name, other))
        shared = [key for key in own if key in theirs]
        assert [key.split(".")[0][:-1] for key in shared] == [layers] * 4
        assert all(own[key].shape == theirs[key].shape for key in shared)


@pytest.mark.parametrize("name", ["autoencoder", "mlp-autoencoder"])
def test_the_score_is_the_mean_squared_error_of_a_pixel_and_no_accuracy(tiny, name) -> None:
    engine, test = engine_of(tiny, name), tiny.test
    network = build(name, 1, 10, 0)
    given = torch.from_numpy(test.resized(network.image_size).images).float() / 255
    score = engine.evaluate(test.resized(network.image_size))
    assert score.loss == pytest.approx((network(given) - given).square().mean().item(), rel=1e-5)
    assert score.accuracy is None


def test_an_evaluation_looks_up_after_each_part(tiny, monkeypatch) -> None:
    from lenscope.pytorch import reconstruction

    monkeypatch.setattr(reconstruction, "MICRO_BATCH", 7)
    for name in ("autoencoder", "mlp-autoencoder"):
        engine, seen = engine_of(tiny, name), []
        score = engine.evaluate(tiny.test.resized(engine.network.image_size), lambda seen=seen: seen.append("part"))
        assert len(seen) == 3
        assert score.loss == pytest.approx(engine.evaluate(tiny.test.resized(engine.network.image_size)).loss, rel=1e-6)


@pytest.mark.parametrize("name", ["autoencoder", "mlp-autoencoder"])
def test_it_learns_without_labels(tiny, name) -> None:
    engine, other = (engine_of(tiny, name, epochs=20) for _ in range(2))
    other._labels.copy_(engine._labels.flip(0))
    test = tiny.test.resized(engine.network.image_size)
    before = engine.evaluate(test).loss
    for epoch in range(1, 21):
        for one in (engine, other):
            one.run(epoch, batches(), [6e-3] * 3, never)
    assert engine.evaluate(test).loss < 0.7 * before
    assert all(np.array_equal(a, b) for a, b in zip(engine.weights().values(), other.weights().values(), strict=True))


def test_the_same_seed_gives_the_same_bytes_and_noise_is_new_each_epoch(tiny) -> None:
    runs = {}
    for seed in (1, 1, 2):
        engine = engine_of(tiny, "autoencoder", autoencode="gaussian=0.5", seed=seed)
        runs.setdefault(seed, []).append(engine.run(1, batches(), [1e-9] * 3, never).tobytes())
    assert runs[1][0] == runs[1][1] != runs[2][0]
    engine = engine_of(tiny, "autoencoder", autoencode="gaussian=0.5")
    first, second = (engine.run(epoch, batches(), [1e-12] * 3, never) for epoch in (1, 2))
    assert not np.allclose(first, second, rtol=1e-5)


def test_noise_is_masking_and_normal_and_a_function_of_seed_epoch_and_first_image() -> None:
    ones = torch.ones(100, 1, 32, 32)
    masked = corrupted(ones, Autoencoding(masking=0.25), 0, 1, 7)
    assert set(masked.unique().tolist()) == {0.0, 1.0}
    assert 1 - masked.mean().item() == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / masked.numel()))
    noise = corrupted(torch.zeros(100, 1, 32, 32), Autoencoding(gaussian=0.3), 0, 1, 7)
    assert noise.mean().item() == pytest.approx(0, abs=4 * 0.3 / math.sqrt(noise.numel()))
    assert noise.std().item() == pytest.approx(0.3, rel=4 / math.sqrt(2 * noise.numel()))
    assert (noise.abs() < 1.96 * 0.3).float().mean().item() == pytest.approx(0.95, abs=0.003)
    both = corrupted(ones, NOISY, 0, 1, 7)
    assert torch.equal(both, corrupted(ones, NOISY, 0, 1, 7))
    for seed, epoch, first in ((1, 1, 7), (0, 2, 7), (0, 1, 8)):
        assert not torch.equal(both, corrupted(ones, NOISY, seed, epoch, first))
    assert corrupted(ones, Autoencoding(kl=1.0), 0, 1, 7) is ones


def test_adam_begins_anew_with_each_layer_of_a_stack_also_where_a_run_goes_on(tiny) -> None:
    """Adam's first step is the rate, along the gradient's sign; with the old count of steps 1.6 times as much."""
    engine, again = (engine_of(tiny, "mlp-autoencoder", epochs=2) for _ in range(2))
    for _ in range(30):
        engine.run(1, batches(), [1e-3] * 3, never)
    before = engine.state()
    again.load(before)
    for one in (engine, again):
        one.run(2, batches()[:1], [1e-3], never)
    moved = np.abs(engine.weights()["fc2.weight"] - before.weights["fc2.weight"])
    assert moved.max() == pytest.approx(1e-3, rel=0.02)
    for name, values in engine.weights().items():
        np.testing.assert_array_equal(values, again.weights()[name])
        assert name.startswith(("fc2", "back2")) or np.array_equal(values, before.weights[name])


def test_the_noise_is_this_for_ever() -> None:
    noise = corrupted(torch.zeros(2, 3), Autoencoding(gaussian=1.0), 0, 1, 0).flatten()
    kept = corrupted(torch.ones(2, 8), Autoencoding(masking=0.5), 0, 1, 0).flatten()
    assert noise.tolist() == pytest.approx(NOISE, abs=1e-6)
    assert "".join(str(int(value)) for value in kept) == MASK


NOISE = [-0.449564, -0.427064, -0.464292, 1.472895, 0.760534, 0.643144]
MASK = "1000101010110101"


def test_the_noise_is_on_the_input_and_what_is_to_come_back_is_clean(tiny) -> None:
    network = build("autoencoder", 1, 10, 0)
    config = TrainConfig(network="autoencoder", autoencode="masking=0.5")
    images = torch.from_numpy(tiny.train.resized(32).images[:9])
    got = Reconstruction(network, config).losses(Batch(images, torch.zeros(9), 4, 2))
    clean = images.float() / 255
    seen = corrupted(clean, config.autoencode, config.seed, 2, 4)
    assert torch.allclose(got, (network(seen) - clean).square().flatten(1).mean(1), rtol=1e-5)


def test_the_penalties_are_what_their_formulas_say() -> None:
    code = torch.tensor([[[[0.0, 1.0]], [[0.5, 0.0]]], [[[2.0, 0.0]], [[0.0, 0.0]]]])  # 2 images, 2 maps of 1×2
    assert penalty(code, Autoencoding(l1=2.0)) == pytest.approx(2 * 3.5 / 8)
    activities = [(math.tanh(1) + math.tanh(2)) / 4, math.tanh(0.5) / 4]
    divergence = [0.1 * math.log(0.1 / a) + 0.9 * math.log(0.9 / (1 - a)) for a in activities]
    assert float(penalty(code, Autoencoding(kl=3.0, target=0.1))) == pytest.approx(3 * sum(divergence) / 2, rel=1e-5)
    assert penalty(code, Autoencoding(masking=0.5)) == 0.0
    silent = torch.zeros(4, 3, requires_grad=True)
    dead = penalty(silent, Autoencoding(kl=1.0))
    dead.backward()
    assert math.isfinite(dead.item())
    assert silent.grad.isfinite().all()


@pytest.mark.parametrize(("epochs", "stages"), [(2, [0, 1]), (3, [0, 0, 1]), (6, [0, 0, 0, 1, 1, 1])])
def test_each_layer_of_a_stack_has_half_of_the_epochs(epochs, stages) -> None:
    network, config = build("mlp-autoencoder", 1, 10, 0), TrainConfig(network="mlp-autoencoder", epochs=epochs)
    assert [stage_of(network.table, config, epoch) for epoch in range(1, epochs + 1)] == stages
    plain = build("autoencoder", 1, 10, 0)
    assert {stage_of(plain.table, config, epoch) for epoch in range(1, epochs + 1)} == {0}


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "momentum"])
def test_a_stack_trains_one_layer_at_a_time_and_leaves_the_others_as_they_are(tiny, optimizer) -> None:
    engine = engine_of(tiny, "mlp-autoencoder", epochs=4, optimizer=optimizer, weight_decay=0.1)
    moved = []
    for epoch in range(1, 5):
        before = engine.weights()
        engine.run(epoch, batches(), [1e-2] * 3, never)
        after = engine.weights()
        moved.append({name.split(".")[0] for name in before if not np.array_equal(before[name], after[name])})
    assert moved == [{"fc1", "back1"}] * 2 + [{"fc2", "back2"}] * 2


def test_the_second_layer_learns_to_give_back_the_first_ones_code(tiny) -> None:
    network = build("mlp-autoencoder", 1, 10, 0)
    config = TrainConfig(network="mlp-autoencoder", epochs=2)
    images = torch.from_numpy(tiny.train.images[:5])
    code = torch.relu(network.fc1(images.float().flatten(1) / 255))
    back = network.back2(torch.relu(network.fc2(code)))
    got = Reconstruction(network, config).losses(Batch(images, torch.zeros(5), 0, 2))
    assert torch.allclose(got, (back - code).square().mean(1), rtol=1e-5)
