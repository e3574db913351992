"""`lenscope bench`: what is timed, what follows from the times, and what is printed."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from functools import partial
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from lenscope import native
from lenscope.bench import engines, measure, peers, results
from lenscope.bench.measure import Plan
from lenscope.bench.results import Benchmark, Row
from lenscope.bench.task import Contestant, Task, multiply_adds
from lenscope.cli import main
from lenscope.errors import ConfigError, LenscopeError, UsageError
from lenscope.pytorch import engine as torch_engine
from lenscope.pytorch.device_steps import uncaptured

HERE = Plan(engines=("torch",), peers=("eager",), threads=(1,), batch_sizes=(20, 30), rounds=2, images=60)


@pytest.fixture
def fakes(monkeypatch):
    """Two engines and a peer that note when they are called; time goes on by a second with each look at the clock."""
    called = []

    def make(name, task):
        def do(what):
            called.append((name, what, task.threads, task.batch_size, torch.get_num_threads()))
            return 0.5

        return Contestant(partial(do, "train"), partial(do, "evaluate"), "cpu", "a way", partial(do, "close"))

    def fail(_task):
        raise LenscopeError("no memory")

    ours = {name: (partial(make, name), lambda: None) for name in ("swift", "slow")}
    ours["absent"] = (fail, lambda: "not built")
    monkeypatch.setattr(measure, "ENGINES", ours)
    monkeypatch.setattr(measure, "PEERS", {"other": {"Other": partial(make, "Other")}, "broken": {"Broken": fail}})
    monkeypatch.setattr(measure, "perf_counter", partial(next, count()))
    monkeypatch.setattr(native, "reason", lambda: "not built")
    return called


def row(name, seconds, **changes):
    return replace(Row(name, "engine", "training", "cpu", 2, 100, seconds, 0.1), **changes)


def benchmark(*rows, peaks=None, missing=None):
    machine = {"processors": 2, "processor": "a chip", "packages": {"torch": "2.13"}}
    return Benchmark(machine, "avx2" if peaks else None, peaks or {}, 10_000, rows, missing or {})


def test_a_lenets_multiply_adds_are_those_of_the_issue():
    assert multiply_adds() == (1_131_960, 416_520)


def test_all_are_timed_in_turn_and_the_first_round_is_not_counted(tiny, fakes):
    plan = Plan(engines=("swift", "slow"), peers=("other",), threads=(2, 1), batch_sizes=(20, 30), rounds=2, images=60)
    before = torch.get_num_threads()
    got = measure.measure(plan, tiny)
    timed = [call[:4] for call in fakes if call[1] != "close"]
    a_round = [
        (name, work, threads, size)
        for name in ("swift", "slow")
        for threads in (2, 1)
        for work, size in (("train", 20), ("evaluate", 20), ("train", 30))
    ]
    a_round += [("Other", "train", 2, 20), ("Other", "evaluate", 2, 20)]
    assert timed == a_round * 3
    assert all(set_to == threads for _, what, threads, _, set_to in fakes if what != "close")
    assert {call[0] for call in fakes if call[1] == "close"} == {"swift", "slow", "Other"}
    assert torch.get_num_threads() == before
    assert [len(row.seconds) for row in got.rows] == [2] * 14
    assert {row.seconds for row in got.of("training")} == {(1000.0, 1000.0)}  # 60 images of 60,000 in a second
    assert {row.seconds for row in got.of("evaluation")} == {(500.0, 500.0)}  # 20 of 10,000
    assert {row.kind for row in got.rows if row.name == "Other"} == {"peer"}
    assert {(row.loss, row.note) for row in got.rows} == {(0.5, "a way")}


def test_what_cannot_run_is_told_with_the_reason(tiny, fakes):
    plan = Plan(("absent", "swift"), ("broken", "other"), threads=(1,), batch_sizes=(20,), rounds=1, images=60)
    got = measure.measure(plan, tiny)
    assert got.missing == {"absent": "not built", "broken": "no memory"}
    assert {row.name for row in got.rows} == {"swift", "Other"}
    with pytest.raises(UsageError, match="nothing to time: absent: not built; broken: no memory"):
        measure.measure(replace(plan, engines=("absent",), peers=("broken",)), tiny)


def test_contestants_are_closed_after_an_error(tiny, fakes):
    def fail(_what, done, _of):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure.measure(Plan(("swift",), (), threads=(1,), batch_sizes=(20,), images=60), tiny, fail)
    assert ("swift", "close") in [call[:2] for call in fakes]


def test_the_peak_is_measured_in_every_round_with_each_number_of_threads(tiny, fakes, monkeypatch):
    measured = []

    def measure_peak(isa, threads, _seconds):
        measured.append((isa, threads))
        return 1e9 * len(measured)

    monkeypatch.setattr(native, "reason", lambda: None)
    monkeypatch.setattr(native, "load", lambda: SimpleNamespace(measure_peak=measure_peak))
    monkeypatch.setattr(native, "instruction_set", lambda: "avx2")
    got = measure.measure(Plan(("swift",), (), threads=(2, 1), batch_sizes=(20,), rounds=2, images=60), tiny)
    assert measured == [("avx2", 2), ("avx2", 1)] * 3
    assert got.peaks == {2: (3e9, 5e9), 1: (4e9, 6e9)}
    assert got.instruction_set == "avx2"


def test_progress_is_told(tiny):
    told = []
    got = measure.measure(HERE, tiny, lambda *what: told.append(what))
    assert told[0] == ("torch is ready", 0, 1)
    assert [done for _, done, of in told if of > 1] == list(range(15))
    assert {of for _, _, of in told} == {1, 15}
    assert {(row.name, row.work, row.batch_size) for row in got.rows} == {
        ("torch", "training", 20),
        ("torch", "evaluation", 20),
        ("torch", "training", 30),
        ("PyTorch eager", "training", 20),
        ("PyTorch eager", "evaluation", 20),
    }
    assert all(seconds > 0 for row in got.rows for seconds in row.seconds)
    assert all(1.5 < row.loss < 3 for row in got.rows)


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"engines": ("fussed",)}, "unknown engine 'fussed'; did you mean 'fused'?"),
        ({"peers": ("kera",)}, "unknown peer 'kera'; did you mean 'keras'?"),
        (
            {"engines": (), "peers": ()},
            "nothing to time: got no engines and no peers, expected some of fused, numpy, torch",
        ),
        ({"threads": (2, 0)}, "threads: got 2,0, expected 1 to 1,024"),
        ({"threads": ()}, "threads: got none, expected 1 to 1,024"),
        ({"batch_sizes": (61,)}, "batch_sizes: got 61, expected 1 to 60"),
        ({"rounds": 0}, "rounds: got 0, expected 1 to 1,000"),
        ({"images": 60_001}, "images: got 60001, expected 1 to 60,000"),
    ],
)
def test_a_wrong_plan_is_refused(choice, says):
    with pytest.raises(UsageError) as caught:
        replace(HERE, **choice)
    assert says in str(caught.value)


def test_data_that_do_not_fit_are_refused(tiny):
    with pytest.raises(ConfigError, match="images: got 61, expected at most the 60 training images"):
        measure.measure(replace(HERE, images=61), tiny)
    with pytest.raises(UsageError, match="mnist: has no test images"):
        measure.measure(HERE, replace(tiny, test=None))


def test_a_share_of_the_peak_is_the_floor_over_the_median():
    trained, evaluated = row("fused", (0.5, 0.4, 0.9)), row("fused", (0.1,), work="evaluation", threads=1)
    got = benchmark(trained, evaluated, peaks={2: (200e9, 100e9, 900e9), 1: (50e9,)})
    assert trained.median == 0.5
    assert got.floor(trained) == pytest.approx(1_131_960 * 60_000 / 200e9)
    assert got.share_of_peak(trained) == pytest.approx(1_131_960 * 60_000 / 200e9 / 0.5)
    assert got.share_of_peak(evaluated) == pytest.approx(416_520 * 10_000 / 50e9 / 0.1)
    assert benchmark(trained).share_of_peak(trained) is None
    assert got.share_of_peak(replace(trained, device="cuda")) is None


def test_the_baseline_is_plain_pytorch_at_the_same_work():
    own = row("fused", (0.25,)), row("fused", (0.1,), work="evaluation")
    eager = row("PyTorch eager", (2.0,), kind="peer"), row("PyTorch eager", (0.3,), kind="peer", work="evaluation")
    got = benchmark(*own, *eager)
    assert [got.times_baseline(row) for row in got.rows] == pytest.approx([8, 3, 1, 1])
    assert benchmark(*own).times_baseline(own[0]) is None


def test_gains_compare_the_most_threads_with_one():
    rows = [
        row("fused", (1.9,), threads=1),
        row("fused", (3.0,), threads=3),
        row("fused", (0.5,), threads=3, batch_size=10),
        row("torch", (6.0,), threads=3),
        row("torch", (9.0,), threads=1),
        row("fused", (1.0,)),  # on two of three
    ]
    assert benchmark(*rows).gains() == pytest.approx({"fused, batch 100": 1.9 / 3, "torch, batch 100": 1.5})
    assert benchmark(row("fused", (1.0,), threads=1)).gains() == {}


def test_json_holds_the_rows_and_what_follows_from_them():
    got = json.loads(json.dumps(benchmark(row("fused", (0.5, 0.4)), peaks={2: (100e9,)}).as_dict()))
    assert got["rows"] == [
        {
            "name": "fused", "kind": "engine", "work": "training", "device": "cpu", "threads": 2, "batch_size": 100,
            "seconds": [0.5, 0.4], "loss": 0.1, "note": "", "images": 60_000, "median_seconds": 0.45,
            "least_seconds": 0.4, "most_seconds": 0.5, "share_of_peak": pytest.approx(0.679176 / 0.45),
            "times_baseline": None,
        }
    ]  # fmt: skip
    assert set(got) == {"machine", "instruction_set", "peaks", "images", "rows", "missing", "gains"}


def test_engines_on_a_gpu_are_left_out_without_one(tiny, monkeypatch):
    assert engines.default_engines() == ("fused", "torch")
    assert engines.why_no_cuda().startswith(f"PyTorch {torch.__version__} finds no CUDA device")
    assert measure.measure(replace(HERE, engines=("torch", "torch-cuda"), rounds=1), tiny).missing == {
        "torch-cuda": engines.why_no_cuda()
    }
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert engines.default_engines() == tuple(name for name in engines.ENGINES if name != "numpy")


@pytest.mark.parametrize(
    ("name", "device", "capture"), [("torch", "cpu", ()), ("torch-cuda", "cuda", ()),
                                    ("torch-cuda-uncaptured", "cuda", (uncaptured,))],
)  # fmt: skip
def test_an_engine_is_made_for_its_device_and_driven_by_fit(tiny, monkeypatch, name, device, capture):
    made, honest = [], torch_engine.TorchEngine

    def make(network, train, config, *rest, **_ranks):
        made.append((config.device, rest))
        return honest(network, train, config.with_settings(device="cpu"), *rest)

    monkeypatch.setattr(torch_engine, "TorchEngine", make)
    contestant = engines.ENGINES[name][0](Task(tiny.train, tiny.test, 20, 1))
    assert made == [(device, capture)]
    losses = [contestant.train() for _ in range(3)]
    assert 1.5 < losses[2] < losses[1] < losses[0] < 3
    assert contestant.evaluate() == contestant.evaluate()


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name == "jax" else importlib.util.find_spec("json"))
    assert peers.why_no_peer("jax") == peers.why_no_peer("keras")
    assert peers.why_no_peer("jax") == "not installed: jax; pip install 'lenscope[bench]'"
    assert peers.why_no_peer("eager") is None
    monkeypatch.setattr(peers, "why_no_torch", lambda: "needs PyTorch")
    assert peers.why_no_peer("eager") == "needs PyTorch"


QUICK = ("--engines", "torch", "--peers", "eager", "--threads", "1", "--batch-sizes", "20", "--rounds", "1")


@pytest.fixture
def tiny_mnist(tiny, monkeypatch):
    monkeypatch.setattr("lenscope.api.load", lambda _name: tiny)


def run_cli(capsys, *arguments):
    code = main(["bench", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_table_has_a_row_for_each_contestant(tiny_mnist, capsys):
    code, out, err = run_cli(capsys, *QUICK, "--images", 60)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].endswith(f"; PyTorch {torch.__version__}")
    assert "an epoch's timed on 60 images" in out
    heads = [line for line in lines if line.startswith(("an epoch", "evaluation"))]
    assert [head.split("  ")[0] for head in heads] == ["an epoch of 60,000", "evaluation of 10,000"]
    assert [line.split("  ")[0] for line in lines if line.endswith(" ×")] == ["torch", "PyTorch eager"] * 2
    assert sum(line.endswith("1.00 ×") for line in lines) >= 2
    assert "PyTorch eager: channels " in out


def test_json_is_one_document_and_out_keeps_it_with_a_picture(tiny_mnist, capsys, tmp_path):
    code, out, err = run_cli(capsys, *QUICK, "--images", 60, "--json", "--out", tmp_path / "new" / "bench")
    assert code == 0, err
    assert json.loads(out) == json.loads((tmp_path / "new" / "bench" / "bench.json").read_text())
    assert (tmp_path / "new" / "bench" / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert len(json.loads(out)["rows"]) == 4


def test_what_did_not_run_and_what_threads_gain_are_told(capsys):
    from lenscope.cli.bench import print_benchmark

    rows = row("fused", (0.3,)), row("fused", (0.57,), threads=1)
    print_benchmark(benchmark(*rows, peaks={2: (250e9,), 1: (126e9,)}, missing={"jax": "not installed"}))
    out = capsys.readouterr().out
    assert "peak of 2 threads with avx2: 250.0 thousand million multiply-adds a second" in out
    assert "peak of 1 thread with avx2: 126.0" in out
    assert " 91 %" in out  # 67.9 / 250 / 0.3
    assert "fused, batch 100: all threads are 1.90 × as fast as one" in out
    assert "jax did not run: not installed" in out
    assert "evaluation of" not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--engines", "fussed"), "unknown engine 'fussed'; did you mean 'fused'?"),
        (("--peers", "eager,kera"), "unknown peer 'kera'"),
        (("--threads", "two"), "threads: got 'two', expected whole numbers such as 1,2"),
        (("--threads", ""), "threads: got '', expected whole numbers"),
        (("--batch-sizes", "100,20000"), "batch_sizes: got 100,20000, expected 1 to 10,000"),
        (("--rounds", "0"), "rounds: got 0"),
        (("--rounds", "x"), "--rounds"),
        (("--images", "0"), "images: got 0"),
        (("--engines", "none", "--peers", "none"), "nothing to time"),
        (("--engine", "fused"), "did you mean --engines"),
    ],
)
def test_wrong_options_are_one_line(arguments, says, capsys):
    code, out, err = run_cli(capsys, *arguments)
    assert code == 2
    assert not out
    assert says in err
    assert len(err.splitlines()) == 1


def test_the_baseline_is_among_the_peers():
    assert results.BASELINE in peers.PEERS["eager"]
