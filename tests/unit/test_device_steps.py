"""Steps that stay on the device: driven on the CPU, with other ways to repeat a step in place of a CUDA graph."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lenscope.config import TrainConfig
from lenscope.nets.layers import Network
from lenscope.pytorch import device_steps
from lenscope.pytorch.device_steps import capture_graph, uncaptured
from lenscope.pytorch.engine import TorchEngine, choose_capture
from lenscope.pytorch.nets.build import build
from lenscope.pytorch.nets.module import TableModule


def never():
    return False


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


def both(tiny, **settings):
    return engine_of(tiny, **settings), engine_of(tiny, uncaptured, **settings)


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


@pytest.mark.parametrize("settings", RULES, ids=lambda settings: settings["optimizer"])
def test_fifty_steps_have_the_losses_of_the_plain_engine(tiny, settings):
    plain, other = both(tiny, **settings)
    batches = orders(10, 13)  # 13, 13, 13, 13, 8: two sizes in turn
    rates = np.linspace(1e-4, 2e-3, len(batches), dtype=np.float32).tolist()  # the device keeps them in float32
    expected = plain.run(1, batches, rates, never)
    got = [other.run(1, batches[at : at + 7], rates[at : at + 7], never) for at in range(0, len(batches), 7)]
    assert len(batches) == 50
    np.testing.assert_allclose(np.concatenate(got), expected, rtol=1e-6)
    assert_same_weights(plain, other, atol=1e-6)


@pytest.mark.parametrize("settings", RULES, ids=lambda settings: settings["optimizer"])
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


def test_a_warm_up_leaves_a_batch_norm_as_it_was(tiny):
    def network():
        torch.manual_seed(0)
        layers = (torch.nn.BatchNorm2d(1), torch.nn.Flatten(), torch.nn.Linear(1024, 10), torch.nn.LogSoftmax(1))
        return torch.nn.Sequential(*layers)

    engines = [engine_of(tiny, capture, network()) for capture in (None, FakeGraph())]
    for engine in engines:
        engine.run(1, orders(2, 25), [1e-3] * 6, never)
    assert_same_weights(*engines, atol=1e-6)


@pytest.mark.parametrize("stretch", [1, 13, 40])
def test_stretches_and_parts_of_any_length(tiny, monkeypatch, stretch):
    expected = engine_of(tiny).run(1, orders(3, 13), [1e-3] * 15, never)
    monkeypatch.setattr(device_steps, "STRETCH", stretch * 1024)
    monkeypatch.setattr(device_steps, "PART", 5)
    monkeypatch.setattr(device_steps, "GATHERED", 11)
    got = engine_of(tiny, FakeGraph()).run(1, orders(3, 13), [1e-3] * 15, never)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_distorted_images_are_those_of_the_plain_engine_and_of_the_epoch(tiny):
    engines = both(tiny, augment="rotation=10,shift=2,elastic=1")
    losses = {epoch: [engine.run(epoch, orders(1, 20), [1e-9] * 3, never) for engine in engines] for epoch in (1, 2)}
    for plain, other in losses.values():
        np.testing.assert_allclose(other, plain, rtol=1e-6)
    assert not np.allclose(losses[1], losses[2], rtol=1e-4)


def test_stop_between_steps_leaves_the_rest_undone(tiny):
    straight, other = engine_of(tiny, uncaptured), engine_of(tiny, uncaptured)
    batches, asked = orders(1, 10), iter([False, False, False, True])
    expected = straight.run(1, batches, [1e-3] * 6, never)
    first = other.run(1, batches, [1e-3] * 6, lambda: next(asked, True))
    assert len(first) == 3
    rest = other.run(1, batches[3:], [1e-3] * 3, never)
    np.testing.assert_array_equal(np.concatenate([first, rest]), expected)


def test_stop_before_the_first_step_takes_none(tiny):
    assert len(engine_of(tiny, uncaptured).run(1, orders(1, 20), [0.1] * 3, lambda: True)) == 0


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
    ("fault", "layer"), [("loss", "the loss or its gradient"), ("gradient", "the gradient of conv1.weight")]
)
@pytest.mark.parametrize(("optimizer", "stretch"), [("momentum", 1), ("adam", 60)])
def test_a_step_is_refused_as_the_plain_engine_refuses_it(tiny, fault, layer, optimizer, stretch, monkeypatch):
    monkeypatch.setattr(device_steps, "STRETCH", stretch * 1024)
    batches = orders(1, 10)
    image = torch.from_numpy(tiny.train.resized(32).images[batches[3][0]])
    monkeypatch.setitem(globals(), "FOURTH", device_steps.scaled(image))
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


@pytest.mark.parametrize("steps", [1, 4])
def test_an_update_that_ruins_the_weights_is_undone(tiny, steps):
    engines = both(tiny, optimizer="sgd")
    for engine in engines:
        engine.run(1, orders(1, 30), [0.1] * 2, never)
        before = engine.weights()
        losses = engine.run(1, [np.arange(60)] * steps, [1e30] * steps, never)
        assert len(losses) == 1
        assert math.isnan(losses[0])
        for name, values in engine.weights().items():
            np.testing.assert_array_equal(values, before[name])
    assert engines[0].failed_layer == engines[1].failed_layer


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_were_broken_between_calls_are_named_and_put_back(tiny, value):
    engine = engine_of(tiny, FakeGraph())
    engine.run(1, [np.arange(60)], [0.1], never)
    engine.network.conv2.weight.data.view(-1)[7] = value
    losses = engine.run(1, [np.arange(60)] * 3, [0.1] * 3, never)
    assert len(losses) == 1
    assert math.isnan(losses[0])
    assert engine.failed_layer == "conv2.weight"
    assert all(np.isfinite(values).all() for values in engine.weights().values())


def test_large_finite_weights_go_back_to_those_before(tiny):
    engines = both(tiny, optimizer="adam")
    for engine in engines:
        engine.run(1, [np.arange(60)], [0.1], never)
        with torch.no_grad():
            engine.network.fc1.weight.fill_(1e30)
            engine.network.fc2.weight.fill_(1e30)
        assert np.isnan(engine.run(1, [np.arange(60)] * 2, [0.1] * 2, never)).tolist() == [True]
        assert engine.failed_layer == "fc2"
    assert_same_weights(*engines, atol=1e-6)
    assert np.abs(engines[1].weights()["fc1.weight"]).max() < 1e3


class Looking(TorchDispatchMode):
    """Refuses what makes the host wait for the device, or the device for the host."""

    FORBIDDEN = ("_local_scalar_dense", "lift_fresh", "scalar_tensor", "nonzero", "equal.default")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert not any(name in str(func) for name in self.FORBIDDEN), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("settings", RULES, ids=lambda settings: settings["optimizer"])
@pytest.mark.parametrize("network", ["lenet", "lenet1998"])
def test_a_step_looks_at_no_value(tiny, settings, network):
    def looked_at(step):
        step()  # in which the optimiser makes its state

        def watched():
            with Looking():
                step()

        return watched

    engine = engine_of(tiny, looked_at, build(network, 1, 10, 0), **settings)
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
    line = "^no CUDA graph of this step, the host starts each kernel: operation not permitted when stream is capturing$"
    with pytest.warns(RuntimeWarning, match=line):
        assert capture_graph(never) is never
    assert cuda.current == "main"
    monkeypatch.setattr(torch, "cuda", Cuda(torch.OutOfMemoryError("no memory")))
    with pytest.raises(torch.OutOfMemoryError):
        capture_graph(never)


@pytest.mark.parametrize("settings", RULES, ids=lambda settings: settings["optimizer"])
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
