"""Numbers that are not finite, put into every place of a step: found in that step, and never kept."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from conftest import TALLY, in_full, plant_gradient
from fixtures_runs import contents, go_on
from lenscope import engines
from lenscope.config import TrainConfig
from lenscope.errors import NonFiniteError
from lenscope.pytorch.device_steps import add_gradients
from lenscope.pytorch.nets.build import build
from lenscope.runs import checkpoint
from lenscope.runs.prepare import prepare
from lenscope.runs.record import record_run
from lenscope.runs.run import open_run
from lenscope.training import fit
from lenscope.training.events import State, StepsDone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lenscope.data.dataset import Splits
    from lenscope.training.engine import Engine
    from lenscope.training.events import Weights

pytestmark = pytest.mark.slow

STEPS, PER_EPOCH = (1, 2, 7), 3  # the first step of all, one in the middle of an epoch, the first of another epoch
VALUES = (math.nan, math.inf, -math.inf)
LAYERS = ("conv1", "conv2", "fc1", "fc2", "fc3")
FUSED, NUMPY, TORCH, OF_1998 = ("fused", "lenet"), ("numpy", "lenet"), ("torch", "lenet"), ("torch", "lenet1998")
# Weights with a finite loss whose gradient is too large to square in one layer alone; all others are 0.
TOO_STEEP = {
    "fc3": {"fc2.weight": 1e17, "fc1.bias": 1e3},
    "fc2": {"fc3.weight": 1e17, "fc2.bias": 1e-17, "fc1.bias": 1e5},
    "fc1": {"fc3.weight": 1e12, "fc2.weight": 1e9, "fc2.bias": 1e-12, "fc1.bias": 1e-25},
    "conv2": {"fc3.weight": 1e6, "fc2.weight": 1e3, "fc1.weight": 1e15, "conv2.bias": 1e-30},
    "conv1": {"fc3.weight": 1e3, "fc2.weight": 1e3, "fc1.weight": 1e6, "conv2.weight": 1e15, "conv1.bias": 1e-30},
}


@dataclass(frozen=True)
class Case:
    """What is planted where in a network, and before which step of the run."""

    engine: str
    network: str
    place: str
    value: float
    step: int

    @property
    def config(self) -> TrainConfig:
        return TrainConfig(
            engine=self.engine, network=self.network, epochs=3, batch_size=20, learning_rate=1e-3, threads=1,
            checkpoint_every="2steps",
        )  # fmt: skip


def cases(places: Callable[[str], list[str]], *kinds: tuple[str, str], steps=STEPS, values=VALUES) -> list[Case]:
    """All there are, or a few of each kind."""
    draw, found = random.Random(0), []
    for kind in kinds:
        every = [Case(*kind, *rest) for rest in product(places(kind[1]), values, steps)]
        every = [case for case in every if (case.place[:4], case.value) != ("pool", -math.inf)]  # not a maximum, ever
        found += draw.sample(every, in_full(5, len(every)))
    return found


def parameters(network: str) -> list[str]:
    return [name for name, _ in build(network, 1, 10, 0).named_parameters()]


def layers(network: str) -> list[str]:
    return [name for name, layer in build(network, 1, 10, 0).named_modules() if name and not [*layer.children()]]


class Honest:
    """A run in which nothing is planted, and the weights after each of its steps, the initial ones first."""

    def __init__(self, config: TrainConfig, splits: Splits, path: Path) -> None:
        self.contents, self.losses = contents_of(config, splits, path), open_run(path).losses
        prepared = prepare(config, splits)
        sized = prepared.sized
        engine = engines.choose_engine(prepared.network, prepared.weights, sized.train, config)
        self.weights = [engine.weights()]
        for event in fit.fit(config, sized, engine):
            if isinstance(event, StepsDone):
                self.weights.append(engine.weights())


def contents_of(config: TrainConfig, splits: Splits, path: Path) -> dict[str, object]:
    record_run(config, splits, path)
    return contents(path)


@pytest.fixture(autouse=True)
def _in_single_steps(monkeypatch):
    monkeypatch.setattr(fit, "CALL_SECONDS", 0.0)


@pytest.fixture(scope="module")
def honest(tiny, tmp_path_factory) -> Callable[[TrainConfig], Honest]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "CALL_SECONDS", 0.0)
        yield cache(lambda config: Honest(config, tiny, tmp_path_factory.mktemp("honest") / "run"))


@pytest.fixture(scope="module")
def counted(request) -> Iterator[Counter[str]]:
    """How many cases of each kind went well."""
    counter = Counter[str]()
    yield counter
    told = ", ".join(f"{count} {kind}" for kind, count in counter.items())
    request.config.stash[TALLY].append(f"numbers that are not finite, found in the very step and never kept: {told}")


def breaks_down(case: Case, plant: Callable[[Engine], None], splits: Splits, path: Path) -> NonFiniteError:
    """Train with something planted right before a step."""

    honest = engines.choose_engine

    def choose(*arguments) -> Engine:
        engine, taken = honest(*arguments), Counter[str]()
        run = engine.run

        def planted(*arguments):
            taken["steps"] += 1
            if taken["steps"] == case.step:
                plant(engine)
            return run(*arguments)

        engine.run = planted
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "choose_engine", choose)
        with pytest.raises(NonFiniteError) as caught:
            record_run(case.config, splits, path)
    return caught.value


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(values, other[name]) for name, values in one.items())


def is_as_it_was(case: Case, error: NonFiniteError, path: Path, expected: Honest, final: list[Weights]) -> None:
    """The error names place and step; all that was good is kept, and nothing else."""
    run, before = open_run(path), case.step - 1
    assert (error.epoch, error.step) == (1 + before // PER_EPOCH, case.step)
    assert (run.status.state, run.status.why) == ("failed", str(error))
    assert run.losses.tolist() == expected.losses[:before].tolist()
    assert any(same(run.weights(), weights) for weights in final)
    assert all(np.isfinite(values).all() for values in run.weights().values())
    kept, problems = checkpoint.newest_sound(path, run.committed)
    assert (kept.step if kept else 0, problems) == (before // 2 * 2, [])
    assert kept is None or same(kept.state.weights, expected.weights[kept.step])


def holds(case, plant, splits, path, honest, back=(0,), final: Weights | None = None) -> str:
    """Plant, and look at what is left, the final weights being of so many steps back; returns what the error names."""
    expected = honest(case.config)
    error = breaks_down(case, plant, splits, path)
    earlier = [expected.weights[max(0, case.step - 1 - steps)] for steps in back]
    is_as_it_was(case, error, path, expected, [final] if final else earlier)
    go_on(splits, path)
    assert contents(path) == expected.contents
    return error.layer


def live_weights(engine) -> Weights:
    """The arrays that an engine computes with."""
    if engine.name != "torch":
        return engine._weights
    return {name: parameter.detach().numpy() for name, parameter in engine.network.named_parameters()}


def spoil(values: torch.Tensor, case: Case) -> torch.Tensor:
    """The same values but for one of them."""
    spoilt = values.clone(memory_format=torch.contiguous_format)
    spoilt.view(-1)[case.step * 7919 % spoilt.numel()] = case.value
    return spoilt


@pytest.mark.parametrize("case", cases(parameters, TORCH, OF_1998), ids=str)
def test_a_weight(case, tiny, tmp_path, honest, counted) -> None:
    def plant(engine) -> None:
        parameter = dict(engine.network.named_parameters())[case.place]
        parameter.data.copy_(spoil(parameter.data, case))

    assert holds(case, plant, tiny, tmp_path / "run", honest) == case.place
    counted["weights"] += 1


@pytest.mark.parametrize("case", cases(parameters, FUSED, NUMPY, TORCH), ids=str)
def test_a_moment_of_the_optimiser(case, tiny, tmp_path, honest, counted) -> None:
    def plant(engine) -> None:
        state, at = engine.state(), place_of(case)
        first = state.first.copy()
        first[at] = case.value
        engine.load(State(state.weights, state.updates, first, state.second))

    assert holds(case, plant, tiny, tmp_path / "run", honest) == case.place
    counted["moments"] += 1


def place_of(case: Case) -> int:
    """Where a parameter's first number is among all."""
    sizes = {name: parameter.numel() for name, parameter in build(case.network, 1, 10, 0).named_parameters()}
    return sum(size for name, size in list(sizes.items())[: list(sizes).index(case.place)])


@pytest.mark.parametrize("case", cases(parameters, TORCH, OF_1998), ids=str)
def test_a_gradient(case, tiny, tmp_path, honest, counted) -> None:
    def plant(engine) -> None:
        plant_gradient(engine, case.place, lambda gradient: spoil(gradient, case))

    assert holds(case, plant, tiny, tmp_path / "run", honest) == f"the gradient of {case.place}"
    counted["gradients"] += 1


@pytest.mark.parametrize("case", cases(lambda _: list(LAYERS), FUSED, NUMPY, TORCH, values=(math.inf,)), ids=str)
def test_a_gradient_that_overflows_in_one_layer(case, tiny, tmp_path, honest, counted) -> None:
    final = {}

    def plant(engine) -> None:
        for name, values in live_weights(engine).items():
            values[:] = 0
            rows = values[:1] if name == "fc3.weight" else values  # equal rows would cancel
            rows[:] = TOO_STEEP[case.place].get(name, 0.0)
        final.update(engine.weights())

    named = holds(case, plant, tiny, tmp_path / "run", honest, final=final)
    assert named.startswith(f"the square of the gradient of {case.place}.")
    counted["gradients that overflow"] += 1


@pytest.mark.parametrize(
    "case", cases(lambda _: list(LAYERS), FUSED, NUMPY, TORCH, values=(math.inf,), steps=STEPS[1:]), ids=str
)
def test_an_output_that_overflows_and_is_the_next_layers_input(case, tiny, tmp_path, honest, counted) -> None:
    def plant(engine) -> None:
        live_weights(engine)[f"{case.place}.weight"][:] = 3e38

    assert holds(case, plant, tiny, tmp_path / "run", honest, back=(1,)) == case.place
    counted["outputs that overflow into the next layer"] += 1


@pytest.mark.parametrize("case", cases(layers, TORCH, OF_1998), ids=str)
def test_an_input(case, tiny, tmp_path, honest, counted, monkeypatch) -> None:
    def hook(_layer, inputs):
        return spoil(inputs[0], case)

    def plant(engine) -> None:
        engine._objective.add_gradients = lambda batch, share: add_gradients(  # with autograd, for hooks
            engine.network, batch.images, batch.labels, share
        ).item()
        dict(engine.network.named_modules())[case.place].register_forward_pre_hook(hook)

    holds(case, plant, tiny, tmp_path / "run", honest, back=(0, 1))  # tanh hides an infinity, but not its gradient
    counted["inputs"] += 1
