"""`lenscope bench`, and the peers of benchmarks/bench_epoch.py: each trains the same network, and learns."""

from __future__ import annotations

import json
from functools import partial
from importlib.util import find_spec
from itertools import count

import bench_epoch
import numpy as np
import peers
import pytest
import torch

from lenscope.cli import bench
from lenscope.cli.bench import ENGINES, Task
from lenscope.errors import UsageError
from lenscope.pytorch import engine as torch_engine
from lenscope.pytorch.nets.build import build

needs_jax = pytest.mark.skipif(not find_spec("jax"), reason="JAX is not installed: pip install 'lenscope[bench]'")
needs_keras = pytest.mark.skipif(
    not (find_spec("keras") and find_spec("jax")), reason="Keras or JAX is not installed: pip install 'lenscope[bench]'"
)


@pytest.fixture
def task(tiny):
    return Task(tiny.train, tiny.test, threads=1, batch_size=7)


@pytest.fixture
def calls(tiny, monkeypatch):
    """Engines that note their calls; each work takes one second of a clock that they move."""
    made = []

    def make(name, task):
        def work(what):
            made.append((name, what, task.threads, task.batch_size, torch.get_num_threads()))
            return 0.5

        return {what: partial(work, what) for what in ("training", "evaluation")}

    def fail(_task):
        raise UsageError("not built")

    fakes = {"fused": partial(make, "fused"), "torch": fail, "eager": partial(make, "eager")}
    monkeypatch.setattr(bench, "ENGINES", fakes)
    monkeypatch.setattr(bench, "perf_counter", partial(next, count()))
    monkeypatch.setattr("lenscope.api.load", lambda _name: tiny)
    threads = torch.get_num_threads()
    yield made
    torch.set_num_threads(threads)


CHOICE = ("--engines", "fused,torch,eager", "--threads", "2,1", "--batch-sizes", "20,30", "--rounds", 2, "--images", 60)


def test_all_take_turns_and_the_first_round_is_not_counted(calls, cli):
    code, out, err = cli("bench", *CHOICE, "--json")
    assert (code, err) == (0, "warming up …\nround 1 of 2 …\nround 2 of 2 …\n")
    a_round = [
        ("fused", work, threads, size, threads)
        for threads in (2, 1)
        for work, size in (("training", 20), ("evaluation", 20), ("training", 30))
    ]
    assert calls == [*a_round, ("eager", "training", 2, 20, 2), ("eager", "evaluation", 2, 20, 2)] * 3
    found = json.loads(out)
    assert found["missing"] == {"torch": "not built"}
    assert {(row["work"], *row["seconds"]) for row in found["rows"]} == {
        ("training", 1000.0, 1000.0), ("evaluation", 500.0, 500.0),  # 60 images of 60,000, 20 of 10,000
    }  # fmt: skip
    assert {row["eager_takes"] for row in found["rows"]} == {1.0}
    assert {row["loss"] for row in found["rows"]} == {0.5}


def test_the_table_has_medians_their_spread_and_what_eager_takes(calls, cli, monkeypatch):
    monkeypatch.setattr(bench, "perf_counter", partial(next, (n * n for n in count())))
    code, out, _ = cli("bench", *CHOICE[2:], "--engines", "fused,torch,eager", "--threads", "1", "--batch-sizes", 20)
    assert code == 0
    machine, explanation, head, *rows, missing = out.splitlines()
    assert machine.endswith(f", torch {torch.__version__}")
    assert explanation.endswith("median of 2, minimum and maximum")
    assert " ".join(head.split()) == "engine work threads batch seconds min max images/s speed relative to eager"
    assert rows[0].split() == ["fused", "training", "1", "20", "25000.000", "17000.000", "33000.000", "2", "1.32", "×"]
    assert rows[2].split()[-2:] == ["1.00", "×"]
    assert missing == "torch did not run: not built"


def test_where_nothing_can_run_the_reasons_are_the_error(calls, cli):
    assert cli("bench", "--engines", "torch", "--images", 60) == (
        2, "", "lenscope bench: nothing to time: torch: not built\n",
    )  # fmt: skip


def assert_learns(work, epochs=12):
    losses = [work["training"]() for _ in range(epochs)]
    assert 2.1 < losses[0] < 2.5
    assert losses[-1] < losses[0] - 0.01


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "torch-cuda"])
def test_each_engine_learns_and_evaluates_what_it_learned(name, task):
    torch.manual_seed(0)
    work = ENGINES[name](task)
    before = work["evaluation"]()
    assert_learns(work)
    assert work["evaluation"]() < before


def test_torch_cuda_trains_on_the_gpu(task, monkeypatch):
    with pytest.raises(UsageError, match="--device cuda: not available to PyTorch"):
        ENGINES["torch-cuda"](task)
    devices = []
    monkeypatch.setattr(torch_engine, "TorchEngine", lambda *given, **_: devices.append(given[2].device) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ENGINES["torch-cuda"](task)
    assert devices == ["cuda"]


def test_plain_pytorch_is_the_lecture_s_network():
    network, reference = bench.pytorch_lenet(), build("lenet", 1, 10, 0)
    network.load_state_dict(dict(zip(network.state_dict(), reference.state_dict().values(), strict=True)))
    images = torch.rand(5, 1, 32, 32)
    torch.testing.assert_close(torch.log_softmax(network(images), 1), reference(images))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_lectures_script_learns(task, workers):
    torch.manual_seed(0)
    assert_learns(peers.lecture(task, workers), 12 if workers == 0 else 6)


def test_compiled_trains_the_compiled_network(task, monkeypatch):
    compiling = []
    monkeypatch.setattr(torch, "compile", lambda network: compiling.append(network) or network)
    assert_learns(peers.compiled(task))
    assert len(compiling) == 1


@needs_jax
def test_jax_computes_what_the_lenet_computes(task):
    weights = peers.initial_weights()
    network = build("lenet", 1, 10, 0)
    with torch.no_grad():
        for name, (kernel, bias) in weights.items():
            layer = getattr(network, name)
            filters = torch.from_numpy(kernel)
            layer.weight.copy_(filters if filters.ndim == 4 else filters.T)
            layer.bias.copy_(torch.from_numpy(bias))
    images, labels = task.train.resized(32).images[:17], task.train.labels[:17].astype(np.int32)
    expected = torch.nn.functional.nll_loss(network(torch.from_numpy(images) / 255), torch.from_numpy(labels).long())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    expected.backward()
    optimizer.step()
    state, loss = peers.adam_step(peers.adam_state(weights), images, labels)
    assert float(loss) == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(np.array(state[0]["fc3"][0]).T, network.fc3.weight.detach(), atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("jax", marks=needs_jax), pytest.param("keras", marks=needs_keras)])
def test_a_peer_in_its_own_process_learns(name, task):
    assert_learns(peers.PEERS[name](task))


def test_a_peer_without_its_packages_says_how_to_install_them(task):
    with pytest.raises(UsageError, match=r"not installed: no_such; run: .*\[bench\]"):
        peers.in_own_process(task, peers.jax_epoch, ("json", "no_such"))


def test_a_row_to_save_has_the_columns_of_the_results():
    row = {
        "engine": "eager", "work": "training", "threads": 2, "batch_size": 100, "images": 60_000,
        "seconds": [0.5, 0.4, 0.9], "median_seconds": 0.5, "loss": 0.1, "eager_takes": 1.0,
    }  # fmt: skip
    saved = bench_epoch.row_to_save(row, 10_000)
    assert (saved["what"], saved["images"], saved["rounds"]) == ("PyTorch eager", 10_000, 3)
    assert (saved["median_seconds"], saved["least_seconds"], saved["most_seconds"]) == ("0.500", "0.400", "0.900")
    with bench_epoch.RESULTS.open() as file:
        assert file.readline().strip().split(",") == list(saved)
