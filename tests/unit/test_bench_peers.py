"""Each peer trains the same network, and learns."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from multiprocessing import Pipe

import numpy as np
import pytest
import torch

from lenscope.bench import own_process, torch_peers
from lenscope.bench.own_process import in_own_process
from lenscope.bench.task import Contestant, Task
from lenscope.bench.torch_peers import LectureNet, PooledFirstNet, compiled, eager, eager_epoch, lecture
from lenscope.errors import LenscopeError
from lenscope.pytorch.nets.build import build

needs_jax = pytest.mark.skipif(not find_spec("jax"), reason="JAX is not installed: pip install 'lenscope[bench]'")
needs_keras = pytest.mark.skipif(
    not (find_spec("keras") and find_spec("jax")), reason="Keras or JAX is not installed: pip install 'lenscope[bench]'"
)


@pytest.fixture
def task(tiny):
    return Task(tiny.train, tiny.test, batch_size=7, threads=1)


def assert_learns(contestant, epochs=12):
    losses = [contestant.train() for _ in range(epochs)]
    assert 2.1 < losses[0] < 2.5
    assert losses[-1] < losses[0] - 0.01


def test_eager_learns_and_evaluates_what_it_learned(task):
    torch.manual_seed(0)
    contestant = eager(task)
    before = contestant.evaluate()
    assert_learns(contestant)
    assert contestant.evaluate() < before
    assert contestant.note in {
        f"channels {place}, {order}"
        for place in ("first", "last")
        for order in ("ReLU before pool", "pool before ReLU")
    }


@pytest.mark.parametrize("quickest", torch_peers._WAYS)
def test_eager_takes_the_quickest_way(task, monkeypatch, quickest):
    monkeypatch.setattr(torch_peers, "_trial", lambda _task, *way: float(way != quickest))
    place = "last" if quickest[1] else "first"
    assert eager(task).note == f"channels {place}, {torch_peers._WAYS[quickest]}"


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("network", [LectureNet, PooledFirstNet])
def test_every_way_is_the_same_network(task, network, channels_last):
    torch.manual_seed(1)
    reference = build("lenet", 1, 10, 0)
    losses = []
    for net in (LectureNet(), network()):
        net.load_state_dict(reference.state_dict())
        torch.manual_seed(2)  # the same order
        epoch = eager_epoch(task.train, net, 17, channels_last=net.__class__ is network and channels_last)
        losses.append([epoch() for _ in range(3)])
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_lectures_script_learns(task, workers):
    torch.manual_seed(0)
    assert_learns(lecture(task, workers), 12 if workers == 0 else 6)


def test_the_lectures_images_are_those_of_the_data_set(task):
    pictures = torch_peers.PicturesOneByOne(task.train)
    resized = task.train.resized(32)
    assert len(pictures) == 60
    for index in (0, 59):
        image, label = pictures[index]
        np.testing.assert_array_equal(image, resized.images[index] / np.float32(255))
        assert label == resized.labels[index]


def test_compiled_trains_the_compiled_network(task, monkeypatch):
    compiling = []
    monkeypatch.setattr(torch, "compile", lambda network: compiling.append(network) or network)
    assert_learns(compiled(task))
    assert len(compiling) == 1


@needs_jax
def test_jax_learns(task):
    from lenscope.bench import jax_peer

    assert_learns(jax_peer.contestant(task))


@needs_jax
def test_jax_computes_what_the_lenet_computes(task):
    from lenscope.bench import jax_peer

    weights = jax_peer._initial()
    network = build("lenet", 1, 10, 0)
    with torch.no_grad():
        for name, (kernel, bias) in weights.items():
            layer = getattr(network, name)
            filters = torch.from_numpy(np.array(kernel))
            layer.weight.copy_(filters if filters.ndim == 4 else filters.T)
            layer.bias.copy_(torch.from_numpy(np.array(bias)))
    images = task.train.resized(32).images[:17]
    labels = task.train.labels[:17].astype(np.int32)
    expected = torch.nn.functional.nll_loss(network(torch.from_numpy(images) / 255), torch.from_numpy(labels).long())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    expected.backward()
    optimizer.step()
    state, loss = jax_peer._update(jax_peer._adam(weights), np.arange(17), images, labels)
    assert float(loss) == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(np.array(state[0]["fc3"][0]).T, network.fc3.weight.detach(), atol=2e-6)


@needs_keras
@pytest.mark.slow
def test_keras_learns_in_its_own_process(task):
    contestant = in_own_process("keras_peer", task)
    try:
        assert_learns(contestant)
    finally:
        contestant.close()


@pytest.mark.slow
def test_a_contestant_that_cannot_be_made_in_its_process_says_why(task):
    with pytest.raises(
        LenscopeError, match=r"no_such: ModuleNotFoundError: No module named 'lenscope\.bench\.no_such'"
    ):
        in_own_process("no_such", task)


class Module:
    """A peer's module, of which each epoch has half the loss of the one before, until it fails."""

    @staticmethod
    def contestant(_task):
        losses = iter([1.0, 0.5])
        return Contestant(lambda: next(losses))


@pytest.fixture
def served(task, monkeypatch):
    """The answers to so many questions, of a process that serves `Module`."""
    monkeypatch.setattr(own_process, "import_module", lambda _name: Module)
    pinned = []
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _pid, cpus: pinned.append(len(cpus)), raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2}, raising=False)

    def serve(questions):
        ours, theirs = Pipe()
        for _ in range(questions):
            ours.send(True)
        ours.send(False)
        own_process._serve(theirs, "peer", task)
        theirs.close()
        assert pinned == [task.threads]
        return ours

    return serve


def test_a_process_answers_each_question_with_a_loss(served):
    connection = served(2)
    assert [own_process._answer(connection, "peer") for _ in range(3)] == [0.0, 1.0, 0.5]
    with pytest.raises(LenscopeError, match="peer: its process ended"):
        own_process._answer(connection, "peer")


def test_an_error_in_a_process_is_told(served):
    connection = served(3)
    for _ in range(3):
        own_process._answer(connection, "peer")
    with pytest.raises(LenscopeError, match="peer: StopIteration: "):
        own_process._answer(connection, "peer")
