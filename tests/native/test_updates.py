"""Native steps: the same bytes however the work is shared or split, also after a stop or a refusal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import never
from native_reference import SETS, Case, random_network, solve, trainer

RULES = ("sgd", "momentum", "nesterov", "adam", "adamw")
MILD = (2, 10, 0.1, 5, 1, 4)
ORDER = np.random.default_rng(5).permutation(np.tile(np.arange(300), 8))


@pytest.fixture(scope="module")
def case() -> Case:
    network = random_network(1, 10)
    images = np.random.default_rng(0).integers(0, 256, (300, 1, 32, 32), dtype=np.uint8)
    return solve(network, images, np.arange(300) % 10, 10)


def run(case: Case, isa: str, threads: int, calls: list[list[int]], fresh: bool = False, **options: object) -> bytes:
    """The bytes of all losses, final weights and state; calls are lists of batch sizes, each by a `fresh` trainer."""
    own = trainer(case, isa, threads=threads, **options)
    weights, losses, done = case.weights.copy(), [], 0
    for sizes in calls:
        if fresh:
            state, own = own.state(), trainer(case, isa, threads=threads, **options)
            own.set_state(*state)
        ends = np.cumsum(sizes)
        losses.append(own.run(weights, ORDER[done : done + ends[-1]], ends, np.full(len(sizes), 1e-3), 1, never))
        done += int(ends[-1])
    steps, first, second = own.state()
    assert steps == sum(map(len, losses)) == sum(map(len, calls))
    return np.concatenate([*losses, weights, first, second]).tobytes()


@settings(max_examples=40, deadline=None)
@given(
    isa=st.sampled_from(SETS),
    optimizer=st.sampled_from(RULES),
    sizes=st.lists(st.integers(1, 60) | st.just(290), min_size=1, max_size=6),  # 290 are two micro-batches
    cut=st.integers(0, 5),
    threads=st.integers(2, 13),
    distorted=st.booleans(),
    fresh=st.booleans(),
)
def test_threads_and_splits_never_show(
    case: Case, isa: str, optimizer: str, sizes: list[int], cut: int, threads: int, distorted: bool, fresh: bool
) -> None:
    options = {"optimizer": optimizer, "augmentation": MILD if distorted else (0, 0, 0, 0, 0, 4)}
    calls = [part for part in (sizes[:cut], sizes[cut:]) if part]
    assert run(case, isa, threads, calls, fresh, **options) == run(case, isa, 1, [sizes], **options)


@pytest.mark.parametrize("sizes", [[100, 1_200_000], [100] * 12_000], ids=["in a step", "between steps"])
def test_a_stopped_call_is_as_if_its_later_steps_had_not_begun(case: Case, sizes: list[int]) -> None:
    asked = iter([False])
    own, weights = trainer(case, SETS[0]), case.weights.copy()
    many, ends, rates = np.tile(np.arange(300), 4001), np.cumsum(sizes), np.full(len(sizes), 1e-3)
    losses = own.run(weights, many[: ends[-1]], ends, rates, 1, lambda: next(asked, True))
    taken = len(losses)
    assert 0 < taken < len(sizes)
    once, expected = trainer(case, SETS[0]), case.weights.copy()
    again = once.run(expected, many[: ends[taken - 1]], ends[:taken], rates[:taken], 1, never)
    assert losses.tobytes() == again.tobytes()
    assert weights.tobytes() == expected.tobytes()
    assert all(np.array_equal(*pair) for pair in zip(own.state(), once.state(), strict=True))


@pytest.mark.parametrize("isa", SETS)
def test_outputs_that_overflow_are_not_hidden_by_the_pool(case: Case, isa: str) -> None:
    own = trainer(case, isa, optimizer="sgd")
    weights = case.weights.copy()
    weights[156 : 156 + 2400] *= np.float32(3e38)  # conv2: sums of both signs beyond float32's range
    weights[:156] *= np.float32(1e3)
    before = weights.copy()
    assert np.isnan(own.run(weights, np.arange(10), np.array([10]), np.array([1e-3]), 1, never)).all()
    assert weights.tobytes() == before.tobytes()
