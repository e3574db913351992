"""Processes that train together, here as threads: what one of them does alone, all of them do together."""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import plant_gradient
from engines import never
from fixtures_ranks import addresses_listened_on, in_ranks
from fixtures_runs import QUICK, Act, contents, die
from lenscope import cli
from lenscope.api.data import load_own
from lenscope.cli.train import Train
from lenscope.config import TrainConfig
from lenscope.engines import choose_engine
from lenscope.errors import (
    DataError,
    Interrupted,
    NonFiniteError,
    RankLostError,
    RunError,
    StorageError,
    UsageError,
)
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.pytorch import engine as torch_engine
from lenscope.pytorch.devices import choose_device
from lenscope.pytorch.engine import TorchEngine
from lenscope.pytorch.nets.build import build
from lenscope.pytorch.ranks import EXTRA, ProcessGroup, join
from lenscope.runs.follow import follow_run
from lenscope.runs.record import record_run, resume_run
from lenscope.runs.resume import settings_to_resume
from lenscope.runs.run import open_run
from lenscope.runs.verify import verify_run
from lenscope.training.events import Checkpoint, EpochDone, RunFinished, RunStopped, StepsDone
from lenscope.training.fit import fit
from lenscope.training.ranks import RankInfo, find_rank_info
from lenscope.watch.start import describe_start

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a.b"}
TORCHRUN["MASTER_PORT"] = "29500"
CONFIG = TrainConfig(epochs=2, batch_size=7, learning_rate=1e-3, device="cpu", engine="torch", threads=1)


def train(splits, config, ranks=None, dtype=torch.float32):
    """The losses of the steps as they are computed, and the rows of the epochs."""
    network = build(config.network, 1, 10, config.seed).to(dtype)
    sized = splits.hold_out(config.validation, config.seed).resized(network.image_size)
    engine, losses = TorchEngine(network, sized.train, config, ranks=ranks), []
    honest = engine._find_gradients

    def noted(*arguments):
        losses.append(honest(*arguments))
        return losses[-1]

    engine._find_gradients = noted
    rows = [event.metrics for event in fit(config, sized, engine) if isinstance(event, EpochDone)]
    return losses, rows


def test_torchrun_gives_a_process_its_rank():
    info = find_rank_info(TORCHRUN)
    assert info == RankInfo(1, 4, 1, 2, "a.b", 29500)
    assert not info.on_one_machine
    assert find_rank_info(TORCHRUN | {"WORLD_SIZE": "2"}).on_one_machine
    few = {name: TORCHRUN[name] for name in ("RANK", "WORLD_SIZE", "MASTER_PORT")}
    assert find_rank_info(few | {"MASTER_ADDR": "127.0.0.7"}).on_one_machine
    assert find_rank_info(few | {"MASTER_ADDR": "10.0.0.1", "LOCAL_RANK": "0"}).local_count == 1
    alone = {"RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "WORLD_SIZE": "1"}
    assert find_rank_info({}) is find_rank_info(TORCHRUN | {"RANK": ""}) is find_rank_info(TORCHRUN | alone) is None


@pytest.mark.parametrize(
    "wrong",
    [{"RANK": "4"}, {"WORLD_SIZE": "x"}, {"LOCAL_RANK": "2"}, {"LOCAL_WORLD_SIZE": "5"}, {"RANK": "²"}],
    ids=str,
)
def test_a_place_that_cannot_be_is_refused(wrong):
    with pytest.raises(UsageError, match="start the processes with torchrun"):
        find_rank_info(TORCHRUN | wrong)


def test_each_thing_is_one_ranks_and_shares_differ_by_one():
    for ranks, count in product((1, 2, 3, 7), (0, 1, 2, 6, 7, 100)):
        parts = [
            range(count)[ProcessGroup(RankInfo(rank, ranks, rank, ranks, "", 1)).share(count)] for rank in range(ranks)
        ]
        assert [thing for part in parts for thing in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("asked", "threads"), [(None, 3), ("1", 3), ("5", 5), ("x", 3)])
def test_ranks_share_the_processors_of_their_machine(monkeypatch, asked, threads):
    monkeypatch.setattr("lenscope.pytorch.ranks.usable_processors", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert ProcessGroup(RankInfo(0, 4, 0, 2, "a.b", 1)).threads == threads
    assert ProcessGroup(RankInfo(0, 4, 0, 8, "a.b", 1)).threads == (threads if asked == "5" else 1)


def test_what_the_first_gives_all_have():
    for content in (b"", b"x", bytes(range(256)) * 9):
        got = in_ranks(3, lambda ranks, content=content: ranks.spread(b"" if ranks.info.rank else content))
        assert got == [content] * 3


def test_a_sum_is_the_same_on_all():
    def work(ranks):
        total = torch.full((3 + EXTRA,), float(ranks.info.rank))
        return *ranks.sum_step(total, 0.5, stop=False), total[:3].tolist(), ranks.sum_numbers([1, 0.1], stop=False)

    assert in_ranks(3, work) == [(1.5, False, [3.0] * 3, [3.0, pytest.approx(0.3)])] * 3


@pytest.mark.parametrize(
    ("ranks", "settings"),
    [
        (2, {"dtype": torch.float32}),
        (3, {"network": "lenet1998", "augment": "shift=1,rotation=5", "validation": 9}),
        (5, {"optimizer": "nesterov", "weight_decay": 0.01}),  # the last batch has 4 images: one rank has none
        (2, {"optimizer": "gd"}),
        (2, {"network": "mlp", "train_accuracy": True}),
        (3, {"network": "autoencoder", "autoencode": "masking=0.3,gaussian=0.2,l1=0.01"}),
        (2, {"network": "mlp-autoencoder", "autoencode": "gaussian=0.2"}),
    ],
    ids=str,
)
def test_ranks_train_as_one_process_does(tiny, monkeypatch, ranks, settings):
    monkeypatch.setattr(torch_engine, "MICRO_BATCH", 25)
    settings = {**settings}
    dtype = settings.pop("dtype", torch.float64)
    tolerance, rate = (1e-9, 1e-3) if dtype == torch.float64 else (1e-4, 1e-4)  # Adam makes steps of rounding errors
    config = CONFIG.with_settings(learning_rate=rate, **settings)
    alone, rows = train(tiny, config, dtype=dtype)
    for losses, others in in_ranks(ranks, lambda ranks: train(tiny, config, ranks, dtype)):
        np.testing.assert_allclose(losses, alone, rtol=tolerance)
        for row, other in zip(rows, others, strict=True):
            assert other.test_loss == pytest.approx(row.test_loss, rel=tolerance)
            assert other.train_loss == (row.train_loss and pytest.approx(row.train_loss, rel=max(tolerance, 1e-6)))
            assert (other.test_accuracy, other.train_accuracy) == (row.test_accuracy, row.train_accuracy)
            assert (other.validation_loss is None) == (row.validation_loss is None)


def test_a_part_of_a_test_set_may_be_empty(tiny):
    few = replace(tiny, test=tiny.test.take(np.arange(1)))
    for network in ("lenet", "autoencoder"):
        config = CONFIG.with_settings(network=network, epochs=1)
        _, rows = train(few, config)
        for _, others in in_ranks(3, lambda ranks, config=config: train(few, config, ranks)):
            assert [row.test_loss for row in others] == pytest.approx([row.test_loss for row in rows], rel=1e-5)
            assert others[0].test_accuracy == rows[0].test_accuracy


@pytest.mark.parametrize("asked", [0, 1])
def test_where_one_is_asked_to_stop_all_end_after_the_same_step(tiny, asked):
    def work(ranks):
        looks = iter(range(10**6))

        def stop():
            return ranks.info.rank == asked and next(looks) >= 5

        sized = tiny.resized(32)
        config = CONFIG.with_settings(epochs=50)
        engine = TorchEngine(build("lenet", 1, 10, 0), sized.train, config, ranks=ranks)
        *events, last = fit(config, sized, engine, ranks.stop_or(stop))
        assert not ranks.lost
        return last, [event.step for event in events if isinstance(event, Checkpoint)], engine.weights()

    (first, kept, weights), (second, also, others) = in_ranks(2, work)
    assert isinstance(first, RunStopped)
    assert (first.step, first.why, kept) == (second.step, second.why, also)
    assert first.step == kept[-1]
    assert 0 < first.step < 9  # within the epoch
    assert all(np.array_equal(weights[name], others[name]) for name in weights)


def test_where_one_is_asked_to_stop_in_an_evaluation_all_end_it(tiny):
    def work(ranks):
        asked, looks = [False], []

        def stop():
            looks.append(1)
            asked[0] = asked[0] or ranks.info.rank == 1
            return asked[0]

        engine = TorchEngine(build("lenet", 1, 10, 0), tiny.resized(32).train, CONFIG, ranks=ranks)
        last = list(fit(CONFIG, tiny.resized(32), engine, ranks.stop_or(stop)))[-1]
        return last.step, last.why, ranks.lost

    assert in_ranks(2, work) == [(0, "interrupted", False)] * 2


def test_what_an_evaluation_raises_on_one_rank_comes_through_there(tiny):
    def work(ranks):
        engine = TorchEngine(build("lenet", 1, 10, 0), tiny.resized(32).train, CONFIG, ranks=ranks)
        look = iter([]).__next__ if ranks.info.rank else lambda: None
        engine.evaluate(tiny.resized(32).test, look)
        return ranks.stopped, ranks.lost

    stopped, error = in_ranks(2, work)
    assert stopped == (True, False)
    assert isinstance(error, StopIteration)


def test_a_step_that_is_refused_is_refused_by_all(tiny):
    def work(ranks):
        engine = TorchEngine(build("lenet", 1, 10, 0), tiny.resized(32).train, CONFIG, ranks=ranks)
        engine.run(1, [np.arange(60)], [1e-3], never)
        before = engine.weights()
        if ranks.info.rank:
            plant_gradient(engine, "fc2.weight", lambda gradient: gradient * math.inf)
        losses = engine.run(1, [np.arange(60)] * 2, [1e-3] * 2, never)
        return losses, engine.failed_layer, all(np.array_equal(engine.weights()[name], before[name]) for name in before)

    for losses, layer, kept in in_ranks(2, work):
        assert np.isnan(losses).tolist() == [True]
        assert layer == "the gradient of fc2.weight"
        assert kept


def test_a_step_in_which_a_rank_is_lost_is_not_taken(tiny):
    def work(ranks):
        engine = TorchEngine(build("lenet", 1, 10, 0), tiny.resized(32).train, CONFIG, ranks=ranks)
        engine.run(1, [np.arange(60)], [1e-3], never)
        before = engine.weights()
        if ranks.info.rank:
            raise StorageError("gone")
        losses = engine.run(1, [np.arange(60)], [1e-3], never)
        return len(losses), ranks.lost, all(np.array_equal(engine.weights()[name], before[name]) for name in before)

    assert in_ranks(2, work)[0] == (0, True, True)


class Fails:
    """A GPU on which to sum waits for ever for a rank that is gone; here it says so."""

    type = "cuda"


def test_on_gpus_nothing_is_summed_before_all_are_there(monkeypatch):
    ranks, summed = ProcessGroup(RankInfo(0, 2, 0, 2, "localhost", 1)), []

    class Total(list):
        device = Fails

        def __getitem__(self, rows):
            return "the gradient"

    def sum_(values):
        summed.append(values if isinstance(values, str) else "numbers")

    monkeypatch.setattr(ranks, "_sum", sum_)
    assert ranks.sum_step(Total(), 0.25, stop=False) == (0.25, False)
    assert summed == ["numbers", "the gradient"]
    assert ranks.sum_step(Total(), 0.25, stop=True) == (0.25, True)
    assert summed[2:] == ["numbers"]


def test_devices_of_ranks(monkeypatch):
    ranks = ProcessGroup(RankInfo(1, 4, 1, 2, "a.b", 1))
    assert choose_device("auto", ranks) == choose_device("cpu", ranks) == torch.device("cpu")
    with pytest.raises(UsageError, match="--device mps: trains only in one process, got 4 ranks"):
        choose_device("mps", ranks)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="2 ranks on this machine, but 1 GPU;"):
        choose_device("auto", ranks)
    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert choose_device("cuda", ranks) == torch.device("cuda", 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")  # the rank sees one GPU, and takes it
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("auto", ranks) == torch.device("cuda", 0)
    assert chosen == [1, 0]


def test_ranks_take_the_torch_engine(tiny):
    network, sized = Network("lenet"), tiny.train.resized(32)
    weights, ranks = initial_weights(network, 0), ProcessGroup(RankInfo(0, 2, 0, 2, "localhost", 1))
    engine = choose_engine(network, weights, sized, TrainConfig(threads=1), ranks)
    assert (engine.name, engine.ranks) == ("torch", 2)
    with pytest.raises(UsageError, match="--engine fused: trains only in one process, got 2 ranks; leave it out"):
        choose_engine(network, weights, sized, TrainConfig(engine="fused"), ranks)


def together(count, splits, path, config=None, watcher=None, others=None):
    """What comes of a run that the first of some ranks keeps; without a config the one in `path` goes on."""

    def work(ranks):
        if ranks.info.rank:
            return follow_run(ranks, lambda _: others or splits)
        if config:
            return record_run(config, splits, path, watcher, ranks)
        return resume_run(path, splits, settings_to_resume(path), watcher, ranks)

    return in_ranks(count, work)


SHARED = QUICK.with_settings(engine="torch", threads=1, batch_size=13, validation=7)


def test_the_first_keeps_the_run_and_the_others_write_nothing(tiny, tmp_path):
    watcher = Act(99, die)
    run, nothing = together(2, tiny, tmp_path / "run", SHARED, watcher)
    assert nothing is None
    assert run.environment["ranks"] == 2
    assert list(tmp_path.iterdir()) == [run.path]
    assert all(finding.sound for finding in verify_run(run))
    [started] = watcher.started
    assert started.ranks == 2
    assert "engine    torch, on the CPU, 2 processes of 1 thread each" in list(describe_start(started))
    assert "engine    torch, on GPUs, 2 processes" in list(describe_start(replace(started, device="cuda")))
    alone = record_run(SHARED, tiny, tmp_path / "alone")
    assert alone.environment["ranks"] == 1
    np.testing.assert_allclose(run.losses, alone.losses, rtol=1e-4)


def test_pictures_that_cannot_be_read_are_left_out_by_all(tmp_path):
    for name in ("a", "b"):
        folder = tmp_path / "data" / "train" / name
        folder.mkdir(parents=True)
        for place in range(6):
            Image.new("L", (28, 28), 40 * place + (name == "b")).save(folder / f"{place}.png")
    (tmp_path / "data" / "train" / "a" / "6.png").write_bytes(b"no picture")
    config = SHARED.with_settings(data=str(tmp_path / "data"), skip_unreadable=True, batch_size=5, validation=2)

    def work(ranks):
        if ranks.info.rank:
            return follow_run(ranks, partial(load_own, data_dir=None))
        return record_run(config, load_own(config, None), tmp_path / "run", None, ranks)

    run, nothing = in_ranks(2, work)
    assert nothing is None
    assert run.data.train_images == 10


def test_no_rank_ends_before_all_is_kept(tiny, tmp_path):
    done = []

    def keep():
        time.sleep(0.2)
        done.append("kept")

    def work(ranks):
        if ranks.info.rank:
            follow_run(ranks, lambda _: tiny)
            return list(done)
        return record_run(SHARED, tiny, tmp_path / "run", Act(0, keep, RunFinished), ranks)

    assert in_ranks(2, work)[1] == ["kept"]


def test_ranks_start_from_the_weights_of_the_first(tiny, tmp_path):
    earlier = record_run(SHARED, tiny, tmp_path / "earlier")
    config = SHARED.with_settings(init_from=str(earlier.path), epochs=1)
    run, _ = together(2, tiny, tmp_path / "run", config)
    alone = record_run(config, tiny, tmp_path / "alone")
    np.testing.assert_allclose(run.losses, alone.losses, rtol=1e-4)


def test_a_run_whose_first_rank_died_goes_on_with_as_many_to_the_same_bytes(tiny, tmp_path):
    together(2, tiny, tmp_path / "lived", SHARED)
    _, other = together(2, tiny, tmp_path / "died", SHARED, Act(5, die))
    assert isinstance(other, RankLostError)
    assert str(other).startswith("another of the 2 ranks has ended")
    run, _ = together(2, tiny, tmp_path / "died")
    assert contents(run.path) == contents(tmp_path / "lived")
    assert run.resumed[0].differs == ()


def test_with_another_number_of_ranks_it_goes_on_and_says_so(tiny, tmp_path):
    together(2, tiny, tmp_path / "lived", SHARED)
    together(2, tiny, tmp_path / "died", SHARED, Act(5, die))
    watcher = Act(99, die)
    run, *_ = together(3, tiny, tmp_path / "died", watcher=watcher)
    assert run.resumed[0].differs == ("ranks are 3, were 2",)
    assert f"{run.resumed[0].differs[0]}: the result may differ in its last bits" in watcher.started[0].notes
    assert all(finding.sound for finding in verify_run(run))
    np.testing.assert_allclose(run.losses, open_run(tmp_path / "lived").losses, rtol=1e-4)


def test_a_run_without_a_checkpoint_begins_again_on_all_ranks(tiny, tmp_path):
    together(2, tiny, tmp_path / "lived", SHARED)
    path = tmp_path / "died"
    path.mkdir()
    (path / "config.toml").write_text(SHARED.to_toml())
    run, _ = together(2, tiny, path)
    assert contents(run.path) == contents(tmp_path / "lived")


class Leave:
    """A watcher of the first rank, whose second one dies with a step."""

    def __init__(self, step):
        self.step, self.reached = step, threading.Event()

    def __call__(self, event):
        if isinstance(event, StepsDone) and event.step >= self.step:
            self.reached.set()

    def close(self):
        pass


def test_where_another_rank_died_the_first_saves_and_tells_how_to_go_on(tiny, tmp_path, monkeypatch):
    together(2, tiny, tmp_path / "lived", SHARED)
    path, leave, honest = tmp_path / "died", Leave(4), ProcessGroup.sum_step

    def dying(ranks, *arguments, **named):
        if ranks.info.rank and leave.reached.is_set():
            raise StorageError("killed")
        return honest(ranks, *arguments, **named)

    monkeypatch.setattr(ProcessGroup, "sum_step", dying)
    first, second = together(2, tiny, path, SHARED.with_settings(checkpoint_every="100"), leave)
    monkeypatch.undo()
    assert str(second) == "killed"
    assert isinstance(first, RankLostError)
    assert str(first) == f"another of the 2 ranks has ended; resume with: lenscope train --resume {path}"
    run = open_run(path)
    assert run.status.state == "interrupted"
    assert len(run.losses) >= 4
    together(2, tiny, path)
    assert contents(path) | {"config.toml": b""} == contents(tmp_path / "lived") | {"config.toml": b""}


def test_other_data_on_another_rank_are_refused(tiny, tmp_path):
    other = replace(tiny, train=replace(tiny.train, labels=tiny.train.labels[::-1].copy()))
    first, second = together(2, tiny, tmp_path / "run", SHARED, others=other)
    assert isinstance(second, DataError)
    assert str(second) == "mnist: differs from the first rank's data; give all ranks the same data"
    assert isinstance(first, RankLostError)
    assert str(first) == "another of the 2 ranks has ended; nothing was trained"
    assert not (tmp_path / "run").exists()


def test_wrong_use_ends_all_ranks(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    first, second = together(2, tiny, tmp_path / "run", SHARED)
    assert isinstance(first, UsageError)
    assert isinstance(second, RankLostError)


def test_what_is_not_finite_ends_all_ranks_with_the_same_words(tiny, tmp_path):
    config = SHARED.with_settings(optimizer="sgd", learning_rate=1e30)
    first, second = together(2, tiny, tmp_path / "run", config)
    assert isinstance(first, NonFiniteError)
    assert str(first) == str(second)
    assert open_run(tmp_path / "run").status.state == "failed"


def test_where_the_first_is_asked_to_stop_the_others_are_interrupted_too(tiny, tmp_path, monkeypatch):
    honest, asked = ProcessGroup.stop_or, []

    def after_forty(ranks, flag):
        return honest(ranks, (lambda: len(asked) > 40 or bool(asked.append(1))) if not ranks.info.rank else flag)

    monkeypatch.setattr(ProcessGroup, honest.__name__, after_forty)
    first, second = together(2, tiny, tmp_path / "run", SHARED.with_settings(epochs=90))
    assert isinstance(first, Interrupted)
    assert isinstance(second, Interrupted)
    run = open_run(tmp_path / "run")
    assert run.status.state == "interrupted"
    assert 0 < len(run.losses) < 90 * 5


@pytest.fixture
def second_rank(monkeypatch):
    """This process is the second of two; it does not wait for the first."""
    for name, value in (TORCHRUN | {"WORLD_SIZE": "2"}).items():
        monkeypatch.setenv(name, value)
    waited = []
    monkeypatch.setattr(cli, "_wait_for_first_rank", waited.append)
    return waited


def test_a_later_rank_tells_what_is_wrong_only_if_the_first_does_not(second_rank, capsys):
    assert cli.main(["train", "--epochs", "0"]) == 2
    assert second_rank == [cli.FAILURE_SECONDS]
    said = capsys.readouterr().err
    assert said.startswith("lenscope train: rank 1: ")
    assert said.count("\n") == 1


def test_a_later_rank_is_interrupted_without_a_word(second_rank, capsys, monkeypatch):
    def interrupt(_):
        raise Interrupted(Path(), signal.SIGTERM, "it goes on")

    monkeypatch.setattr(Train, "execute", interrupt)
    assert cli.main(["train"]) == 143
    assert second_rank == [cli.INTERRUPT_SECONDS]
    assert capsys.readouterr().err == ""


def test_a_rank_that_cannot_be_is_one_line(second_rank, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "7")
    assert cli.main(["train", "--out", "x"]) == 2
    assert capsys.readouterr().err == (
        "lenscope train: invalid RANK=7 for WORLD_SIZE=2; start the processes with torchrun\n"
    )


def test_a_later_rank_goes_on_without_the_directory(second_rank, monkeypatch):
    command = Train.parse("lenscope train", ["--resume", "elsewhere"])
    assert command.resume == Path("elsewhere")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(RunError, match="elsewhere: no run of that name"):
        Train.parse("lenscope train", ["--resume", "elsewhere"])


PROC = pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="/proc tells who listens where")


@pytest.fixture
def environment(monkeypatch):
    """An environment for this process that says nothing of ranks or networks."""
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    return os.environ


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@PROC
def test_a_process_joins_and_listens_on_the_loopback_alone(environment, port):
    before = Counter(addresses_listened_on(os.getpid()))
    ranks = join(RankInfo(0, 1, 0, 1, "localhost", port))
    try:
        opened = Counter(addresses_listened_on(os.getpid())) - before
        assert ranks.sum_numbers([2.5], stop=False) == [2.5]
        assert ranks.spread(b"some") == b"some"
    finally:
        ranks.leave()
    assert opened
    assert all(address.is_loopback for address in opened)
    assert environment["GLOO_SOCKET_IFNAME"].startswith("lo")
    assert environment["NCCL_SOCKET_IFNAME"] == environment["GLOO_SOCKET_IFNAME"]


@pytest.mark.parametrize(("local_count", "chosen"), [(2, "eth7"), (1, None)])
def test_a_network_that_is_named_and_that_of_several_machines_are_left(environment, monkeypatch, local_count, chosen):
    monkeypatch.setattr("lenscope.pytorch.ranks._meet", lambda _: None)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: None)
    if chosen:
        environment["GLOO_SOCKET_IFNAME"] = chosen
    join(RankInfo(0, 2, 0, local_count, "a.b", 1))
    assert environment.get("GLOO_SOCKET_IFNAME") == chosen


def test_processes_that_do_not_find_one_another_say_so_in_one_line(environment):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(RankLostError) as caught:
        join(RankInfo(0, 2, 0, 2, "localhost", taken.getsockname()[1]))
    assert str(caught.value).startswith("the 2 ranks could not connect: ")
    assert str(caught.value).isprintable()
