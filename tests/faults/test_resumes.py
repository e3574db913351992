"""Runs of random settings, interrupted at random steps, end with the bytes of uninterrupted runs."""

from __future__ import annotations

import random
import signal
from dataclasses import replace
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from conftest import in_full
from fixtures_runs import Act, Stop, contents, die
from lenscope.config import TrainConfig
from lenscope.errors import Interrupted
from lenscope.runs.files import checkpoint
from lenscope.runs.record import record_run, resume_run
from lenscope.runs.resume import settings_to_resume
from lenscope.runs.run import open_run
from lenscope.training import fit
from lenscope.training.events import Checkpoint, Snapshot, StepsDone

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lenscope.data.dataset import Splits

    Train = Callable[[TrainConfig, Act], object]

pytestmark = pytest.mark.slow

RUNS = in_full(40, 200)
RATES = {"gd": 0.1, "sgd": 0.05, "momentum": 0.01, "nesterov": 0.01, "adam": 2e-3, "adamw": 2e-3}
DISTORTIONS = ("none", "shift=2", "rotation=10,scale=0.2", "shift=1.5,shear=8,elastic=0.6", "elastic=2,smoothness=3")
CHECKPOINTS = (None, "1", "2", "1s", "1steps", "2steps", "5steps")
ENDS = ((Checkpoint, die), (StepsDone, die), (Snapshot, die), (StepsDone, lambda: signal.raise_signal(signal.SIGINT)))


def random_config(draw: random.Random) -> TrainConfig:
    """Random settings; LeNet1998, whose loss is steeper, has a tenth of the learning rate."""
    engine, network = draw.choice([("fused", "lenet"), ("fused", "lenet"), ("torch", "lenet"), ("torch", "lenet1998")])
    optimizer = draw.choice(list(RATES))
    validation: Any = draw.choice([0, 12, 0.25])
    return TrainConfig(
        engine=engine,
        network=network,
        optimizer=optimizer,
        learning_rate=RATES[optimizer] / (10 if network == "lenet1998" else 1),
        momentum=draw.choice([0.0, 0.5, 0.9]),
        weight_decay=draw.choice([0.0, 0.0, 1e-2]),
        schedule=draw.choice(["constant", "cosine", "onecycle"]),
        augment=draw.choice(DISTORTIONS) if draw.random() < 0.5 else "none",
        threads=draw.randint(1, 3),
        batch_size=draw.choice([5, 7, 16, 30, 45]),
        validation=validation,
        patience=draw.choice([None, 1, 2]) if validation else None,
        train_accuracy=draw.random() < 0.3,
        epochs=draw.randint(2, 3),
        checkpoint_every=draw.choice(CHECKPOINTS),
        seed=draw.randrange(2**63),
    )


def other_threads(config: TrainConfig, draw: random.Random) -> TrainConfig:
    """Another number of threads, for the fused engine, whose bytes do not depend on it."""
    return config.with_settings(threads=draw.randint(1, 3)) if config.engine == "fused" else config


def last_kept(path: Path) -> int:
    """The step of the newest checkpoint."""
    kept, _ = checkpoint.newest_sound(path, open_run(path).committed)
    return kept.step if kept else 0


def interrupt(train: Train, config: TrainConfig, steps: int, draw: random.Random) -> None:
    """Train and end the run at a random step."""
    kind, act = draw.choice(ENDS)
    with pytest.raises((Stop, Interrupted)):
        train(other_threads(config, draw), Act(draw.randrange(1, steps), act, kind))


def comes_out_the_same(number: int, splits: Splits, folder: Path) -> bool:
    """Whether run `number`, interrupted one to three times, ends with the bytes of an uninterrupted run."""
    draw, lived, died = random.Random(number), folder / "lived", folder / "died"
    config = random_config(draw)
    splits = replace(splits, test=draw.choice([splits.test, None]))
    steps = len(record_run(config, splits, lived).losses)
    interrupt(lambda config, act: record_run(config, splits, died, act), config, steps, draw)
    for _ in range(draw.randrange(3)):
        if last_kept(died) < steps - 1:
            interrupt(lambda config, act: resume_run(died, splits, config, act), config, steps, draw)
    assert settings_to_resume(died).with_settings(threads=config.threads) == config
    resume_run(died, splits, config)
    same = contents(died) == contents(lived)
    rmtree(folder)
    return same


@pytest.fixture
def small(mnist) -> Splits:
    """90 training and 30 test images."""
    return replace(mnist, train=mnist.train.take(np.arange(90)), test=mnist.test.take(np.arange(30)))


def test_a_run_interrupted_at_random_steps_ends_with_the_bytes_of_the_uninterrupted_one(
    small, tmp_path, monkeypatch, tally
) -> None:
    monkeypatch.setattr(fit, "CALL_SECONDS", 0.0)  # a call a step, so that each can be the last
    others = [number for number in range(RUNS) if not comes_out_the_same(number, small, tmp_path / str(number))]
    tally(f"resumes at random steps: {RUNS - len(others)} of {RUNS} with the same bytes")
    assert not others
