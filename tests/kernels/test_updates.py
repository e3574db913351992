"""Native updates: each rule against torch.optim, and the same bytes however the work is shared or cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lenscope.config import TrainConfig
from lenscope.pytorch.optimizers import build_optimizer
from native_reference import SETS, Case, clear_images, random_network, solve, trainer

RULES = ("gd", "sgd", "momentum", "nesterov", "adam", "adamw")


@pytest.fixture(scope="module")
def case() -> Case:
    network = random_network(1, 10)
    images = np.random.default_rng(0).integers(0, 256, (300, 1, 32, 32), dtype=np.uint8)
    return solve(network, images, np.arange(300) % 10, 10)


def run(case: Case, isa: str, threads: int, calls: list[list[int]], **options: object) -> tuple[bytes, bytes]:
    """The bytes of all losses and of the final weights; calls are lists of batch sizes."""
    own = trainer(case, isa, threads=threads, **options)
    weights, losses, done = case.weights.copy(), [], 0
    order = np.random.default_rng(5).permutation(np.tile(np.arange(300), 8))
    for sizes in calls:
        ends = np.cumsum(sizes)
        rates = np.full(len(sizes), 1e-3)
        losses.append(own.run(weights, order[done : done + ends[-1]], ends, rates, 1, lambda: False))
        done += int(ends[-1])
    assert all(map(len, losses))
    return np.concatenate(losses).tobytes(), weights.tobytes()


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("optimizer", RULES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_each_rule_is_that_of_torch_optim(case: Case, isa: str, optimizer: str, weight_decay: float) -> None:
    config = TrainConfig(optimizer=optimizer, weight_decay=weight_decay, momentum=0.8)
    expected = torch.nn.Parameter(torch.from_numpy(case.weights.copy()).double())
    theirs = build_optimizer(config, [expected])
    own = trainer(case, isa, optimizer=optimizer, weight_decay=weight_decay, momentum=0.8)
    weights, rng = case.weights.copy(), np.random.default_rng(4)
    for step in range(30):
        gradient = (rng.standard_normal(len(weights)) * 10.0 ** rng.integers(-6, 1)).astype(np.float32)
        gradient[step::7] = 0
        rate = 10.0 ** -rng.integers(2, 5)
        theirs.param_groups[0]["lr"] = rate
        expected.grad = torch.from_numpy(gradient).double()
        theirs.step()
        own.update(weights, gradient, rate)
    got, want = weights.astype(np.float64), expected.detach().numpy()
    assert np.abs(got - want).max() <= 1e-6 * np.abs(want).max()
    moved = np.abs(want - case.weights)
    assert np.abs(got - want).max() < 1e-3 * moved.max()


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("size", [1, 5, 100, 290])
def test_any_number_of_threads_gives_the_same_bytes(case: Case, isa: str, size: int) -> None:
    alone = run(case, isa, 1, [[size, size, 3]])
    for threads in (2, 3, 4, 13):
        assert run(case, isa, threads, [[size, size, 3]]) == alone


@pytest.mark.parametrize("optimizer", RULES)
def test_any_split_of_the_steps_gives_the_same_bytes(case: Case, optimizer: str) -> None:
    sizes = [40, 40, 40, 7, 40, 300, 40]
    whole = run(case, SETS[0], 2, [sizes], optimizer=optimizer)
    assert run(case, SETS[0], 2, [[size] for size in sizes], optimizer=optimizer) == whole
    assert run(case, SETS[0], 3, [sizes[:3], sizes[3:]], optimizer=optimizer) == whole


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    cut=st.integers(0, 5),
    threads=st.integers(1, 5),
    distorted=st.booleans(),
)
def test_threads_and_splits_never_show(case: Case, sizes: list[int], cut: int, threads: int, distorted: bool) -> None:
    augmentation = (2, 10, 0.1, 5, 1, 4) if distorted else (0, 0, 0, 0, 0, 4)
    calls = [part for part in (sizes[:cut], sizes[cut:]) if part]
    whole = run(case, SETS[0], 1, [sizes], augmentation=augmentation)
    assert run(case, SETS[0], threads, calls, augmentation=augmentation) == whole


@pytest.mark.parametrize("isa", SETS)
def test_a_large_batch_in_parts_has_the_gradient_of_the_whole(isa: str) -> None:
    network = random_network(1, 10)
    images = clear_images(network, 700)
    case = solve(network, images, np.arange(700) % 10, 10)
    own = trainer(case, isa, optimizer="sgd")
    weights = case.weights.copy()
    losses = own.run(weights, np.arange(700), np.array([700]), np.array([1e-2]), 1, lambda: False)
    assert losses[0] == pytest.approx(case.loss, rel=1e-6)
    step = (case.weights - weights) / 1e-2
    expected = np.concatenate([gradient.ravel() for gradient in case.gradient.values()])
    assert np.abs(step - expected).max() < 1e-3 * np.abs(expected).max()  # float32 weights hold no finer step


def test_a_step_that_was_interrupted_is_as_if_it_had_not_begun(case: Case) -> None:
    answers = iter([False] + [True] * 100)
    own = trainer(case, SETS[0])
    weights = case.weights.copy()
    many = np.tile(np.arange(300), 4000)
    losses = own.run(weights, many, np.array([100, len(many)]), np.full(2, 1e-3), 1, lambda: next(answers))
    assert len(losses) == 1
    once = trainer(case, SETS[0])
    expected = case.weights.copy()
    once.run(expected, many[:100], np.array([100]), np.array([1e-3]), 1, lambda: False)
    assert weights.tobytes() == expected.tobytes()


def test_a_loss_that_is_not_finite_takes_back_the_last_update(case: Case) -> None:
    own = trainer(case, SETS[0], optimizer="sgd")
    first = case.weights.copy()
    own.run(first, np.arange(100), np.array([100]), np.array([1e-2]), 1, lambda: False)
    weights = first.copy()
    losses = own.run(weights, np.arange(300), np.array([100, 200, 300]), np.array([1e-2, 1e18, 1e-2]), 1, lambda: False)
    assert np.isnan(losses[-1])
    assert np.isfinite(losses[:-1]).all()
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("isa", SETS)
def test_outputs_that_overflow_are_not_hidden_by_the_pool(case: Case, isa: str) -> None:
    own = trainer(case, isa, optimizer="sgd")
    weights = case.weights.copy()
    weights[156 : 156 + 2400] *= np.float32(3e38)  # conv2: sums of both signs beyond float32's range
    weights[:156] *= np.float32(1e3)
    before = weights.copy()
    losses = own.run(weights, np.arange(10), np.array([10]), np.array([1e-3]), 1, lambda: False)
    assert np.isnan(losses).all()
    assert weights.tobytes() == before.tobytes()


@pytest.mark.parametrize("optimizer", RULES)
def test_a_trainer_goes_on_from_its_state(case: Case, optimizer: str) -> None:
    sizes = [50, 50, 50, 50]
    whole = run(case, SETS[0], 2, [sizes], optimizer=optimizer)
    order = np.random.default_rng(5).permutation(np.tile(np.arange(300), 8))
    weights, losses, state = case.weights.copy(), [], None
    for step in range(4):
        own = trainer(case, SETS[0], optimizer=optimizer)
        if state:
            own.set_state(*state)
        part = order[50 * step : 50 * step + 50]
        losses.append(own.run(weights, part, np.array([50]), np.array([1e-3]), 1, lambda: False))
        state = own.state()
    assert (np.concatenate(losses).tobytes(), weights.tobytes()) == whole
