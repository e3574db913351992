"""NaN and infinity, put into every place of a step, are found in that step and never kept."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cache
from itertools import count, product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from conftest import in_full, plant_gradient
from fixtures_runs import contents, go_on
from lenscope import engines
from lenscope.config import TrainConfig
from lenscope.errors import NonFiniteError
from lenscope.pytorch.classification import nll_gradients
from lenscope.pytorch.nets.build import build
from lenscope.runs.files import checkpoint
from lenscope.runs.prepare import prepare
from lenscope.runs.record import record_run
from lenscope.runs.run import open_run
from lenscope.training import fit
from lenscope.training.events import State, StepsDone

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lenscope.data.dataset import Splits
    from lenscope.training.engine import Engine
    from lenscope.training.events import Weights

pytestmark = pytest.mark.slow

STEPS, PER_EPOCH = (1, 2, 7), 3  # the first step of all, one in the middle of an epoch, the first of another epoch
VALUES = (math.nan, math.inf, -math.inf)
LAYERS = ("conv1", "conv2", "fc1", "fc2", "fc3")
FUSED, NUMPY, TORCH, OF_1998 = ("fused", "lenet"), ("numpy", "lenet"), ("torch", "lenet"), ("torch", "lenet1998")
# Weights with a finite loss whose gradient is too large to square in one layer only; all other weights are 0.
TOO_STEEP = {
    "fc3": {"fc2.weight": 1e17, "fc1.bias": 1e3},
    "fc2": {"fc3.weight": 1e17, "fc2.bias": 1e-17, "fc1.bias": 1e5},
    "fc1": {"fc3.weight": 1e12, "fc2.weight": 1e9, "fc2.bias": 1e-12, "fc1.bias": 1e-25},
    "conv2": {"fc3.weight": 1e6, "fc2.weight": 1e3, "fc1.weight": 1e15, "conv2.bias": 1e-30},
    "conv1": {"fc3.weight": 1e3, "fc2.weight": 1e3, "fc1.weight": 1e6, "conv2.weight": 1e15, "conv1.bias": 1e-30},
}


@dataclass(frozen=True)
class Case:
    """The value that is planted, its place in a network, and the step of the run."""

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
    """All cases, or a few of each kind."""
    draw, found = random.Random(0), []
    for kind in kinds:
        every = [Case(*kind, *rest) for rest in product(places(kind[1]), values, steps)]
        every = [case for case in every if (case.place[:4], case.value) != ("pool", -math.inf)]  # never a maximum
        found += draw.sample(every, in_full(5, len(every)))
    return found


def parameters(network: str) -> list[str]:
    return [name for name, _ in build(network, 1, 10, 0).named_parameters()]


def layers(network: str) -> list[str]:
    return [name for name, layer in build(network, 1, 10, 0).named_modules() if name and not [*layer.children()]]


class Undisturbed:
    """An undisturbed run, and its weights initially and after each step."""

    def __init__(self, config: TrainConfig, splits: Splits, path: Path) -> None:
        self.losses = record_run(config, splits, path).losses
        self.contents = contents(path)
        prepared = prepare(config, splits)
        sized = prepared.sized
        engine = engines.choose_engine(prepared.network, prepared.weights, sized.train, config)
        self.weights = [engine.weights()]
        for event in fit.fit(config, sized, engine):
            if isinstance(event, StepsDone):
                self.weights.append(engine.weights())


@pytest.fixture(autouse=True, scope="module")
def _in_single_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "CALL_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def undisturbed(_in_single_steps, tiny, tmp_path_factory) -> Callable[[TrainConfig], Undisturbed]:
    return cache(lambda config: Undisturbed(config, tiny, tmp_path_factory.mktemp("undisturbed") / "run"))


def breaks_down(case: Case, plant: Callable[[Engine], None], splits: Splits, path: Path) -> NonFiniteError:
    """Train, and plant something right before a step; returns the error."""

    choose_engine = engines.choose_engine

    def choose(*arguments) -> Engine:
        engine, taken = choose_engine(*arguments), count(1)
        run = engine.run

        def planted(*arguments):
            if next(taken) == case.step:
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


def check_kept(case: Case, error: NonFiniteError, path: Path, expected: Undisturbed, final: list[Weights]) -> None:
    """The error names place and step; everything before the step is kept, and nothing else."""
    run, before = open_run(path), case.step - 1
    assert (error.epoch, error.step) == (1 + before // PER_EPOCH, case.step)
    assert (run.status.state, run.status.why) == ("failed", str(error))
    assert run.losses.tolist() == expected.losses[:before].tolist()
    assert any(same(run.weights(), weights) for weights in final)
    assert all(np.isfinite(values).all() for values in run.weights().values())
    kept, problems = checkpoint.newest_sound(path, run.committed)
    assert (kept.step if kept else 0, problems) == (before // 2 * 2, [])
    assert kept is None or same(kept.state.weights, expected.weights[kept.step])


def layer_of_failure(case, plant, splits, path, undisturbed, back=(0,), final: Weights | None = None) -> str:
    """Plant, check what is kept, and resume; returns the layer in the error. The final weights are `back` steps old."""
    expected = undisturbed(case.config)
    error = breaks_down(case, plant, splits, path)
    earlier = [expected.weights[max(0, case.step - 1 - steps)] for steps in back]
    check_kept(case, error, path, expected, [final] if final else earlier)
    go_on(splits, path)
    assert contents(path) == expected.contents
    return error.layer


def live_weights(engine) -> Weights:
    """The arrays that an engine computes with, by name."""
    if engine.name != "torch":
        return engine._weights
    return {name: parameter.detach().numpy() for name, parameter in engine.network.named_parameters()}


def spoil(values: torch.Tensor, case: Case) -> torch.Tensor:
    """A copy of the values in which one is the planted value."""
    spoilt = values.clone(memory_format=torch.contiguous_format)
    spoilt.view(-1)[case.step * 7919 % spoilt.numel()] = case.value
    return spoilt


@pytest.mark.parametrize("case", cases(parameters, TORCH, OF_1998), ids=str)
def test_a_weight(case, tiny, tmp_path, undisturbed) -> None:
    def plant(engine) -> None:
        parameter = dict(engine.network.named_parameters())[case.place]
        parameter.data.copy_(spoil(parameter.data, case))

    assert layer_of_failure(case, plant, tiny, tmp_path / "run", undisturbed) == case.place


@pytest.mark.parametrize("case", cases(parameters, FUSED, NUMPY, TORCH), ids=str)
def test_a_moment_of_the_optimiser(case, tiny, tmp_path, undisturbed) -> None:
    def plant(engine) -> None:
        state, at = engine.state(), place_of(case)
        first = state.first.copy()
        first[at] = case.value
        engine.load(State(state.weights, state.steps, first, state.second))

    assert layer_of_failure(case, plant, tiny, tmp_path / "run", undisturbed) == case.place


def place_of(case: Case) -> int:
    """The index of a parameter's first number among all."""
    sizes = {name: parameter.numel() for name, parameter in build(case.network, 1, 10, 0).named_parameters()}
    return sum(size for name, size in list(sizes.items())[: list(sizes).index(case.place)])


@pytest.mark.parametrize("case", cases(parameters, TORCH, OF_1998), ids=str)
def test_a_gradient(case, tiny, tmp_path, undisturbed) -> None:
    def plant(engine) -> None:
        plant_gradient(engine, case.place, lambda gradient: spoil(gradient, case))

    assert layer_of_failure(case, plant, tiny, tmp_path / "run", undisturbed) == f"the gradient of {case.place}"


@pytest.mark.parametrize("case", cases(lambda _: list(LAYERS), FUSED, NUMPY, TORCH, values=(math.inf,)), ids=str)
def test_a_gradient_that_overflows_in_one_layer(case, tiny, tmp_path, undisturbed) -> None:
    final = {}

    def plant(engine) -> None:
        for name, values in live_weights(engine).items():
            values[:] = 0
            rows = values[:1] if name == "fc3.weight" else values  # equal rows would cancel
            rows[:] = TOO_STEEP[case.place].get(name, 0.0)
        final.update(engine.weights())

    named = layer_of_failure(case, plant, tiny, tmp_path / "run", undisturbed, final=final)
    assert named.startswith(f"the square of the gradient of {case.place}.")


@pytest.mark.parametrize(
    "case", cases(lambda _: list(LAYERS), FUSED, NUMPY, TORCH, values=(math.inf,), steps=STEPS[1:]), ids=str
)
def test_an_output_that_overflows_and_is_the_next_layers_input(case, tiny, tmp_path, undisturbed) -> None:
    def plant(engine) -> None:
        live_weights(engine)[f"{case.place}.weight"][:] = 3e38

    assert layer_of_failure(case, plant, tiny, tmp_path / "run", undisturbed, back=(1,)) == case.place


@pytest.mark.parametrize("case", cases(layers, TORCH, OF_1998), ids=str)
def test_an_input(case, tiny, tmp_path, undisturbed) -> None:
    def hook(_layer, inputs):
        return spoil(inputs[0], case)

    def plant(engine) -> None:
        engine._objective.add_gradients = lambda batch, share: nll_gradients(  # with autograd, for hooks
            engine.network, batch.images, batch.labels, share
        ).item()
        dict(engine.network.named_modules())[case.place].register_forward_pre_hook(hook)

    # tanh hides an infinity, but not its gradient
    layer_of_failure(case, plant, tiny, tmp_path / "run", undisturbed, back=(0, 1))
