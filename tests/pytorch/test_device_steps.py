"""Steps that stay on the device: driven on the CPU, with other ways to repeat a step in place of a CUDA graph."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from engines import never
from lenscope.config import TrainConfig
from lenscope.nets.layers import Network
from lenscope.pytorch import device_steps
from lenscope.pytorch.device_steps import capture_graph, uncaptured
from lenscope.pytorch.engine import TorchEngine, choose_capture
from lenscope.pytorch.nets.build import build
from lenscope.pytorch.nets.module import TableModule
from lenscope.pytorch.objective import scaled


class FakeGraph:
    """What stands for a CUDA graph here: warm-up steps first, then the step itself, counted."""

    def __init__(self):
        self.captured, self.replayed = 0, 0

    def __call__(self, step):
        for _ in range(3):
            step()
        self.captured += 1

        def replay():
            self.replayed += 1
            step()

        return replay


def engine_of(tiny, capture=None, network=None, **settings):
    config = TrainConfig(device="cpu", **settings)
    if network is None:
        network = build("lenet", 1, 10, 0)
    return TorchEngine(network, tiny.train.resized(32), config, capture)


def orders(epochs, size):
    return [
        np.random.default_rng(epoch).permutation(60)[at : at + size]
        for epoch in range(epochs)
        for at in range(0, 60, size)
    ]


def assert_same_weights(one, other, **tolerance):
    for name, values in one.weights().items():
        np.testing.assert_allclose(values, other.weights()[name], **tolerance)


RATE = [1e-3]
RULES = [
    {"optimizer": "sgd"},
    {"optimizer": "momentum", "weight_decay": 1e-3},
    {"optimizer": "nesterov"},
    {"optimizer": "adam", "weight_decay": 1e-3},
    {"optimizer": "adamw", "weight_decay": 1e-2},
]


@pytest.mark.parametrize("settings", RULES[1::2], ids=lambda settings: settings["optimizer"])
def test_a_warm_up_changes_nothing_and_each_size_is_captured_once(tiny, settings):
    graph = FakeGraph()
    warm, cold = engine_of(tiny, graph, **settings), engine_of(tiny, uncaptured, **settings)
    batches = orders(2, 25)  # 25, 25, 10
    losses = [engine.run(1, batches, [1e-3] * 6, never) for engine in (warm, cold)]
    np.testing.assert_array_equal(*losses)
    assert_same_weights(warm, cold, rtol=0)
    assert (graph.captured, graph.replayed) == (2, 6)


def test_any_network_stays_on_the_device(tiny):
    engines = [engine_of(tiny, capture, build("lenet1998", 1, 10, 0)) for capture in (None, FakeGraph())]
    plain, other = (engine.run(1, orders(2, 20), [1e-3] * 6, never) for engine in engines)
    np.testing.assert_allclose(other, plain, rtol=1e-6)


def test_a_batch_may_be_longer_than_a_stretch_a_micro_batch_and_what_is_gathered_at_a_time(tiny, monkeypatch):
    expected = engine_of(tiny).run(1, orders(3, 13), [1e-3] * 15, never)
    monkeypatch.setattr(device_steps, "STRETCH", 12 * 1024)
    monkeypatch.setattr(device_steps, "MICRO_BATCH", 5)
    monkeypatch.setattr(device_steps, "GATHERED", 11)
    got = engine_of(tiny, FakeGraph()).run(1, orders(3, 13), [1e-3] * 15, never)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


class Planted(TableModule):
    """A network that goes wrong, in one way, at the fourth batch."""

    def __init__(self, fault):
        super().__init__(Network("lenet"))
        self.load_state_dict(build("lenet", 1, 10, 0).state_dict())
        self._fault = fault

    def forward(self, images):
        output = super().forward(images)
        wrong = (images.sum(dim=(1, 2, 3)) == FOURTH.sum()).any()
        if self._fault == "loss":
            output = output + torch.where(wrong, math.inf, 0.0)
        if output.requires_grad and self._fault == "gradient":
            output.register_hook(lambda gradient: gradient * torch.where(wrong, math.inf, 1.0))
        return output


FOURTH = torch.zeros(1, 32, 32)


@pytest.mark.parametrize(
    ("fault", "layer", "optimizer", "stretch"),
    [
        ("loss", "the loss or its gradient", "momentum", 1),
        ("gradient", "the gradient of conv1.weight", "adam", 60),
    ],
)
def test_a_step_is_refused_as_the_plain_engine_refuses_it(tiny, fault, layer, optimizer, stretch, monkeypatch):
    monkeypatch.setattr(device_steps, "STRETCH", stretch * 1024)
    batches = orders(1, 10)
    image = torch.from_numpy(tiny.train.resized(32).images[batches[3][0]])
    monkeypatch.setitem(globals(), "FOURTH", scaled(image))
    plain, other = (engine_of(tiny, how, Planted(fault), optimizer=optimizer) for how in (None, FakeGraph()))
    expected = plain.run(1, batches, [1e-3] * 6, never)
    got = other.run(1, batches, [1e-3] * 6, never)
    assert len(expected) == len(got) == 4
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert math.isnan(got[-1])
    assert other.failed_layer == plain.failed_layer == layer
    assert_same_weights(plain, other, atol=1e-6)
    after = [engine.run(1, batches[4:], [1e-3] * 2, never) for engine in (plain, other)]
    np.testing.assert_allclose(*after, rtol=1e-5)


class Looking(TorchDispatchMode):
    """Refuses what makes the host wait for the device, or the device for the host."""

    FORBIDDEN = ("_local_scalar_dense", "lift_fresh", "scalar_tensor", "nonzero", "equal.default")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert not any(name in str(func) for name in self.FORBIDDEN), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("network", "rule"), [("lenet", 1), ("lenet", 3), ("lenet1998", 0)])
def test_a_step_looks_at_no_value(tiny, network, rule):
    def looked_at(step):
        step()  # in which the optimiser makes its state

        def watched():
            with Looking():
                step()

        return watched

    engine = engine_of(tiny, looked_at, build(network, 1, 10, 0), **RULES[rule])
    assert len(engine.run(1, orders(1, 20), [1e-3] * 3, never)) == 3


def test_the_watch_over_a_step_sees_a_look():
    with pytest.raises(AssertionError, match="_local_scalar_dense"), Looking():
        torch.ones(3).sum().item()


class Cuda:
    """torch.cuda as far as a capture goes; tells what was called, in order, and which stream is the current one."""

    def __init__(self, error=None):
        self.calls, self.error, self.current = [], error, "main"

    def Stream(self):  # noqa: N802
        return self

    CUDAGraph = current_stream = Stream

    def wait_stream(self, _other):
        self.calls.append("wait")

    @contextlib.contextmanager
    def stream(self, _stream):
        before = self.current
        self.calls.append("beside")
        try:
            yield
        finally:
            self.calls.append("back")
            self.current = before

    @contextlib.contextmanager
    def graph(self, _graph):
        self.calls.append("capture")
        self.current = "capturing"
        yield
        if self.error:
            raise self.error
        self.calls.append("captured")

    def replay(self):
        self.calls.append("replay")


def test_a_capture_follows_a_warm_up_beside_the_current_stream(monkeypatch):
    cuda = Cuda()
    monkeypatch.setattr(torch, "cuda", cuda)
    replay = capture_graph(lambda: cuda.calls.append("step"))
    replay()
    warm_up = ["wait", "beside", "step", "step", "step", "back", "wait"]
    assert cuda.calls == [*warm_up, "beside", "capture", "step", "captured", "back", "replay"]


def test_what_cannot_be_captured_says_so_and_runs_as_it_is(monkeypatch):
    cuda = Cuda(RuntimeError("operation not permitted when stream is capturing\nand more"))
    monkeypatch.setattr(torch, "cuda", cuda)
    line = "captured as a CUDA graph; the host launches each kernel: operation not permitted when stream is capturing$"
    with pytest.warns(RuntimeWarning, match=line):
        assert capture_graph(never) is never
    assert cuda.current == "main"
    monkeypatch.setattr(torch, "cuda", Cuda(torch.OutOfMemoryError("no memory")))
    with pytest.raises(torch.OutOfMemoryError):
        capture_graph(never)


@pytest.mark.parametrize("settings", RULES[1::2], ids=lambda settings: settings["optimizer"])
def test_a_captured_step_goes_on_from_the_moments_that_were_loaded(tiny, settings):
    """As a graph does, the step has the addresses of the optimiser's memory from when it was captured."""
    first, other = (engine_of(tiny, FakeGraph(), **settings) for _ in range(2))
    batches = orders(2, 20)
    first.run(1, batches[:2], RATE * 2, never)
    other.run(1, batches[3:], RATE * 3, never)
    memory = dict(other._optimizer.state[other._weights])
    other.load(first.state())
    assert all(other._optimizer.state[other._weights][name] is tensor for name, tensor in memory.items())
    losses = [engine.run(1, batches[2:], RATE * 4, never) for engine in (first, other)]
    np.testing.assert_array_equal(*losses)
    assert_same_weights(first, other, rtol=0)


@pytest.mark.parametrize(("device", "capture"), [("cuda", capture_graph), ("cpu", None), ("mps", None)])
def test_cuda_has_its_steps_captured(device, capture):
    assert choose_capture(torch.device(device)) is capture
