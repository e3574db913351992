"""A network with buffers that move with each step, such as a BatchNorm's, floats and integers alike.

A step that is interrupted or refused leaves them where they were, however steps are driven.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engines import never
from fixtures_ranks import in_ranks
from lenscope.config import TrainConfig
from lenscope.pytorch import device_steps
from lenscope.pytorch import engine as torch_engine
from lenscope.pytorch.device_steps import uncaptured
from lenscope.pytorch.engine import TorchEngine

BATCHES = [np.arange(start, start + 20) for start in (0, 20, 40)]
RATES = [1e-3] * 3
BUFFERS = {"0.running_mean", "0.running_var", "0.num_batches_tracked"}
WAYS = pytest.mark.parametrize("capture", [None, uncaptured], ids=["host", "device"])


class Normalised(torch.nn.Sequential):
    """With a mean that stays NaN once it was."""

    def __init__(self):
        torch.manual_seed(0)
        layers = (torch.nn.BatchNorm2d(1), torch.nn.Flatten(), torch.nn.Linear(1024, 10), torch.nn.LogSoftmax(1))
        super().__init__(*layers)
        self.broken = False

    def forward(self, images):
        return super().forward(images * math.nan if self.broken else images)


def engine_of(tiny, capture=None, ranks=None):
    config = TrainConfig(device="cpu", optimizer="sgd", engine="torch")
    return TorchEngine(Normalised(), tiny.train.resized(32), config, capture, ranks)


def assert_same(one, other, names=None):
    assert one.keys() > BUFFERS
    for name, values in one.items():
        if names is None or name in names:
            np.testing.assert_array_equal(values, other[name], err_msg=name)


def started(tiny, *arguments):
    engine = engine_of(tiny, *arguments)
    engine.run(1, BATCHES[:1], RATES[:1], never)
    return engine, engine.weights()


@WAYS
def test_an_interrupted_step_leaves_them(tiny, capture, monkeypatch):
    monkeypatch.setattr(torch_engine, "MICRO_BATCH", 7)
    monkeypatch.setattr(device_steps, "MICRO_BATCH", 7)
    engine, before = started(tiny, capture)
    asked = iter([False] if capture is None else [])
    assert len(engine.run(1, BATCHES[1:2], RATES[1:2], lambda: next(asked, True))) == 0
    assert_same(engine.weights(), before)


@WAYS
@pytest.mark.parametrize("fault", ["loss", "gradient", "weights"])
def test_a_refused_step_leaves_them(tiny, capture, fault):
    engine, before = started(tiny, capture)
    engine.network.broken = fault == "loss"
    if fault == "gradient":
        engine.network[2].weight.register_hook(lambda gradient: gradient * math.inf)
    rate = 1e30 if fault == "weights" else RATES[0]
    assert np.isnan(engine.run(1, BATCHES[1:2], [rate], never)).all()
    assert_same(engine.weights(), before, BUFFERS if fault == "loss" else None)  # a lost one takes back the one before


def test_on_all_ranks(tiny, monkeypatch):
    monkeypatch.setattr(torch_engine, "MICRO_BATCH", 7)

    def work(ranks):
        engine, before = started(tiny, None, ranks)
        asked = iter([False])
        engine.run(1, BATCHES[1:2], RATES[1:2], lambda: ranks.info.rank == 1 and next(asked, True))
        return engine.weights(), before

    for after, before in in_ranks(2, work):
        assert_same(after, before)


@WAYS
def test_a_run_that_resumes_has_them(tiny, capture):
    straight, first, second = (engine_of(tiny, capture) for _ in range(3))
    straight.run(1, BATCHES, RATES, never)
    first.run(1, BATCHES[:2], RATES[:2], never)
    second.load(first.state())
    second.run(1, BATCHES[2:], RATES[2:], never)
    assert_same(second.weights(), straight.weights())
    assert second.weights()["0.num_batches_tracked"] == 3
