"""A run that resumes or is repeated elsewhere ends with the same bytes, or it is said why not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import lenscope
from disks import Dying, Killed, in_place
from fixtures_data import write_digits
from fixtures_runs import QUICK, Act, begin_and_die, contents, die, go_on, plant
from lenscope.errors import RunError
from lenscope.pytorch.nets.build import build
from lenscope.pytorch.numerics import settled
from lenscope.runs.files import manifest
from lenscope.runs.files.manifest import fingerprint
from lenscope.runs.record import record_run
from lenscope.runs.replay import replay_run
from lenscope.runs.run import open_run

if TYPE_CHECKING:
    from pathlib import Path

TORCH = QUICK.with_settings(engine="torch", network="mlp", threads=1, train_accuracy=False)
RESUME = """
import json, sys
import lenscope
run = lenscope.resume(sys.argv[1], progress=False)
found = lenscope.verify(sys.argv[2], replay=True, progress=False)
print(json.dumps([run.resumed[-1].differs, [(one.part, one.sound, one.says) for one in found]]))
"""


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_another_instruction_set_of_pytorch_is_said_and_calls_no_run_broken(tiny, tmp_path, monkeypatch) -> None:
    splits = lenscope.load(write_digits(tmp_path / "digits", tiny))
    whole = TORCH.with_settings(data=str(tmp_path / "digits"), network="lenet")
    lived = record_run(whole, splits, tmp_path / "lived")
    begin_and_die(splits, whole, tmp_path / "died", 3)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    done = subprocess.run(
        [sys.executable, "-c", RESUME, tmp_path / "died", lived.path], capture_output=True, text=True, check=True
    )
    differs, found = json.loads(done.stdout)
    [capability] = [text for text in differs if text.startswith("CPU capability is DEFAULT, was ")]
    assert contents(tmp_path / "died") != contents(lived.path)
    unequal = [(sound, says) for _, sound, says in found if "differs" in says]
    assert unequal
    for sound, says in unequal:
        assert sound is None
        assert says.endswith(f"; cannot be compared bit for bit here, since {capability}")
    assert all(sound is not False for _, sound, _ in found)


@pytest.mark.parametrize(("network", "when"), [("lenet", "begun"), ("autoencoder", "resumed")])
def test_the_default_type_of_pytorch_decides_nothing(tiny, tmp_path, float64, network, when) -> None:
    config = TORCH.with_settings(network=network, learning_rate=1e-4)
    torch.set_default_dtype(torch.float32)
    record_run(config, tiny, tmp_path / "lived")
    torch.set_default_dtype(torch.float64 if when == "begun" else torch.float32)
    begin_and_die(tiny, config, tmp_path / "died", 4)
    torch.set_default_dtype(torch.float64 if when == "resumed" else torch.float32)
    run = go_on(tiny, tmp_path / "died")
    assert contents(run.path) == contents(tmp_path / "lived")
    assert run.resumed[-1].differs == ()
    assert run.network().state_dict().keys() == {
        name for name, values in run.network().state_dict().items() if values.dtype == torch.float32
    }


def test_no_default_of_pytorch_decides_anything_within_a_run(float64) -> None:
    with torch.device("meta"), torch.inference_mode(), torch.autocast("cpu"):
        with settled():
            made = torch.zeros(2, 2)
            assert (made.dtype, made.device.type) == (torch.float32, "cpu")
            assert (made @ made).dtype == torch.float32
            assert not made.is_inference()
            assert torch.is_grad_enabled()
        made = torch.zeros(2, 2)
        assert (made.dtype, made.device.type, made.is_inference()) == (torch.float64, "meta", True)
        assert {(values.dtype, values.device.type) for values in build("lenet", 1, 10, 0).parameters()} == {
            (torch.float32, "cpu")
        }


def test_flags_of_pytorch_and_variables_that_choose_instructions_are_said(tiny, tmp_path, monkeypatch) -> None:
    begin_and_die(tiny, TORCH, tmp_path / "run", 3)
    watcher = Act(99, die)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    torch.use_deterministic_algorithms(mode=True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.mkldnn.enabled = False
    try:
        run = go_on(tiny, tmp_path / "run", watcher=watcher)
    finally:
        torch.use_deterministic_algorithms(mode=False)
        torch.set_float32_matmul_precision("highest")
        torch.backends.mkldnn.enabled = True
    said = {
        "deterministic algorithms are on, were off",
        "float32 precision is ieee bf16 ieee, was ieee ieee ieee",
        "oneDNN is off, was on",
        "variables are MKL_CBWR=COMPATIBLE, were none",
    }
    assert {*run.resumed[-1].differs} == said
    assert {f"{text}: the result may differ in its last bits" for text in said} <= {*watcher.started[0].notes}


def test_what_does_not_decide_for_the_fused_engine_is_not_said(tiny, tmp_path, monkeypatch) -> None:
    config = QUICK.with_settings(engine="fused", threads=1)
    record_run(config, tiny, tmp_path / "lived")
    begin_and_die(tiny, config, tmp_path / "run", 3)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    run = go_on(tiny, tmp_path / "run")
    assert run.resumed[-1].differs == ()
    assert contents(run.path) == contents(tmp_path / "lived")


def test_what_an_earlier_version_did_not_record_is_not_compared(tiny, tmp_path) -> None:
    begin_and_die(tiny, TORCH, tmp_path / "run", 3)
    run = open_run(tmp_path / "run")
    older = {name: value for name, value in run.environment.items() if name != "numerics"}
    plant(run.path, "environment.json", json.dumps(older).encode())
    assert go_on(tiny, run.path).resumed[-1].differs == ()


class Source:
    """A run that another begins with, and that is trained further meanwhile."""

    def __init__(self, splits, folder: Path) -> None:
        self.splits, self.path = splits, folder / "source"
        record_run(QUICK.with_settings(epochs=1), splits, self.path)
        self.config = QUICK.with_settings(init_from=str(self.path), checkpoint_every="100")
        self.lived = record_run(self.config, splits, folder / "lived")

    def train_further(self) -> None:
        go_on(self.splits, self.path, epochs=2)


@pytest.fixture
def source(tiny, tmp_path) -> Source:
    return Source(tiny, tmp_path)


@pytest.mark.parametrize("gone", [False, True])
def test_a_run_begins_again_with_its_own_initial_weights(tiny, tmp_path, source, gone) -> None:
    begin_and_die(tiny, source.config, tmp_path / "died", 5)
    initial = (tmp_path / "died" / "weights" / "initial.safetensors").read_bytes()
    source.train_further()
    if gone:
        shutil.rmtree(source.path)
    watcher = Act(99, die)
    run = go_on(tiny, tmp_path / "died", watcher=watcher)
    assert watcher.started[0].notes == ("no checkpoint: starting again",)
    assert (run.path / "weights" / "initial.safetensors").read_bytes() == initial
    assert contents(run.path) == contents(source.lived.path)
    assert run.environment["init_from"] == source.lived.environment["init_from"]


def test_where_a_run_comes_from_is_kept_as_its_weights_hash(tiny, tmp_path, source) -> None:
    expected = fingerprint((source.path / "weights" / "final.safetensors").read_bytes()).sha256
    assert source.lived.environment["init_from"] == {"sha256": expected}
    begin_and_die(tiny, source.config.with_settings(checkpoint_every="2steps"), tmp_path / "died", 5)
    assert go_on(tiny, tmp_path / "died").environment["init_from"] == {"sha256": expected}


def test_before_the_first_commit_another_source_is_refused_and_the_same_one_taken(tiny, tmp_path, source) -> None:
    path = tmp_path / "died"
    while not (path / "environment.json").exists():
        die_in_operation(tiny, source.config, path)
    assert not (path / manifest.FILE).exists()
    shutil.copytree(path, tmp_path / "same")
    assert contents(go_on(tiny, tmp_path / "same").path) == contents(source.lived.path)
    source.train_further()
    with pytest.raises(RunError, match="have changed since this run was started from them"):
        go_on(tiny, path)


def die_in_operation(splits, config, path) -> None:
    """Kill a new run in the first operation after which its environment is there."""
    for number in range(1, 100):
        shutil.rmtree(path, ignore_errors=True)
        with in_place(Dying(number)), pytest.raises(Killed):
            record_run(config, splits, path)
        if (path / "environment.json").exists():
            return


def test_before_the_first_commit_the_environment_is_compared(tiny, tmp_path, monkeypatch) -> None:
    path = tmp_path / "died"
    die_in_operation(tiny, TORCH, path)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert go_on(tiny, path).resumed[-1].differs == ("variables are MKL_CBWR=COMPATIBLE, were none",)


def test_denormal_numbers_are_not_flushed_within_a_run() -> None:
    def flushed() -> bool:
        return torch.tensor(1e-40).mul(1).item() == 0

    torch.set_flush_denormal(True)
    try:
        with settled():
            assert not flushed()
        assert flushed()
    finally:
        torch.set_flush_denormal(False)


def test_a_replay_starts_with_the_runs_own_initial_weights(tiny, source) -> None:
    def initial() -> str:
        found = replay_run(source.lived, tiny)
        assert all(finding.sound for finding in found)
        return found[0].says

    assert initial() == "replayed, 1 of 1 equal"
    source.train_further()
    assert (
        initial()
        == f"not compared: --init-from {source.path}: its weights have changed since the run was started from them"
    )
    shutil.rmtree(source.path)
    assert initial().startswith(f"not compared: {source.path}: no such run directory")


def test_initial_weights_that_no_seed_makes_are_found_by_repeating_them(tiny, tmp_path) -> None:
    record_run(QUICK, tiny, tmp_path / "run")
    other = record_run(QUICK.with_settings(seed=1), tiny, tmp_path / "other")
    run, name = open_run(tmp_path / "run"), "weights/initial.safetensors"
    plant(run.path, name, (other.path / name).read_bytes())
    found = {finding.part: (finding.sound, finding.says) for finding in replay_run(open_run(run.path), tiny)}
    assert found[name] == (False, "differs at step 0")
    assert np.isfinite(other.losses).all()
