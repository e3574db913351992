"""A run that goes on ends with the bytes of one that never stopped."""

from __future__ import annotations

import errno
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lenscope
from disks import Failing, count_operations, in_place
from fixtures_runs import QUICK, Act, Stop, begin_and_die, contents, die, go_on, plant
from lenscope import storage
from lenscope.errors import ConfigError, Interrupted, RunError, UsageError
from lenscope.runs import lock, recorder
from lenscope.runs.files import checkpoint, manifest
from lenscope.runs.provenance import differences
from lenscope.runs.record import record_run, resume_run
from lenscope.runs.replay import replay_run
from lenscope.runs.resume import settings_to_resume
from lenscope.runs.run import Run, open_run
from lenscope.runs.verify import verify_run
from lenscope.training.events import Checkpoint


@pytest.fixture(scope="module")
def lived(tiny, tmp_path_factory) -> Run:
    """A run of QUICK that was never interrupted; not to be changed."""
    return record_run(QUICK, tiny, tmp_path_factory.mktemp("lived") / "run")


@pytest.fixture(scope="module")
def died_at_5(tiny, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("died") / "run"
    begin_and_die(tiny, QUICK, path, 5)
    return path


@pytest.fixture
def died(died_at_5: Path, tmp_path: Path) -> Path:
    """A copy of a run of QUICK that died after its fifth step."""
    return Path(shutil.copytree(died_at_5, tmp_path / "died"))


CORRUPTED = {"autoencode": "masking=0.3,gaussian=0.2,kl=0.01,l1=0.001", "train_accuracy": False}


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, (1, 8)),
        ({"optimizer": "gd"}, (1, 2)),
        ({"optimizer": "sgd", "learning_rate": 0.1, "augment": "shift=2,rotation=9", "train_images": 33}, (2,)),
        ({"optimizer": "momentum", "learning_rate": 0.01, "schedule": "cosine", "validation": 15, "patience": 2}, (4,)),
        ({"optimizer": "adamw", "weight_decay": 0.1, "schedule": "onecycle", "batch_size": 7}, (13,)),
        ({"engine": "torch", "optimizer": "nesterov", "learning_rate": 0.01, "augment": "shift=2"}, (4,)),
        ({"engine": "torch", "network": "mlp", "init": "he"}, (1,)),
        (CORRUPTED | {"network": "autoencoder", "augment": "shift=1"}, (4,)),
        (CORRUPTED | {"network": "mlp-autoencoder", "optimizer": "adamw", "weight_decay": 0.1}, (4, 8)),
    ],
    ids=["adam", "gd", "sgd", "momentum", "adamw", "torch", "mlp", "autoencoder", "mlp-autoencoder"],
)
def test_a_run_that_died_ends_with_the_bytes_of_one_that_lived(tiny, tmp_path, settings, steps) -> None:
    config = QUICK.with_settings(**settings)
    run = record_run(config, tiny, tmp_path / "lived")
    assert all(finding.sound for finding in [*verify_run(run), *replay_run(run, tiny)])
    for step in steps:
        path = tmp_path / f"died-{step}"
        begin_and_die(tiny, config, path, step)
        died = go_on(tiny, path)
        assert died.status.state == "finished"
        assert contents(path) == contents(run.path)
    if len(checkpoint.names(died.committed)) > 1:
        assert all(finding.sound for finding in replay_run(died, tiny, from_checkpoint=True))


def test_a_stack_of_autoencoders_does_not_go_on_to_more_epochs(tiny, tmp_path) -> None:
    record_run(QUICK.with_settings(train_accuracy=False, network="mlp-autoencoder"), tiny, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"each layer of the mlp-autoencoder .* half of the epochs, 3 here"):
        settings_to_resume(tmp_path / "run", 5)


def test_a_run_goes_on_again_and_again(tiny, lived, died) -> None:
    path = died
    for step in (6, 7, 8):
        with pytest.raises(Stop):
            go_on(tiny, path, watcher=Act(step, die))
    go_on(tiny, path)
    assert contents(path) == contents(lived.path)
    assert len(open_run(path).environment["resumed"]) == 4
    assert len(list((path / "checkpoint").iterdir())) == checkpoint.KEPT


def test_an_interrupted_run_keeps_where_it_was(tiny, lived, tmp_path) -> None:
    config = QUICK.with_settings(checkpoint_every="100")
    path = tmp_path / "run"
    with pytest.raises(Interrupted, match=f"lenscope train --resume {path}"):
        record_run(config, tiny, path, Act(4, lambda: signal.raise_signal(signal.SIGINT)))
    watcher = Act(99, die)
    go_on(tiny, path, watcher=watcher)
    [started] = watcher.started
    assert started.step >= 4
    assert started.notes[0].startswith(f"resuming from step {started.step} (epoch")
    assert [row.epoch for row in started.rows] == [*range((started.step - 1) // 3 + 1)]
    assert outcome(path) == outcome(lived.path)


def outcome(path: Path) -> dict[str, object]:
    """The contents of a run, without the settings."""
    return {name: content for name, content in contents(path).items() if name != "config.toml"}


def test_a_run_without_a_checkpoint_starts_again_and_cuts_what_was_not_committed(tiny, lived, tmp_path) -> None:
    path = tmp_path / "died"
    begin_and_die(tiny, QUICK.with_settings(checkpoint_every="100"), path, 1)
    assert "losses.f32" not in open_run(path).committed.appended
    for name in manifest.APPENDED:
        with (path / name).open("ab") as file:
            file.write(b"half")
    resume_run(path, tiny, QUICK)
    assert contents(path) == contents(lived.path)


def test_a_run_without_a_manifest_begins_again(tiny, lived, tmp_path) -> None:
    path = tmp_path / "died"
    path.mkdir()
    (path / "config.toml").write_text(QUICK.to_toml())
    assert go_on(tiny, path).resumed[-1].differs == ("the environment was not recorded",)
    assert contents(path) == contents(lived.path)


def test_a_broken_checkpoint_is_named_and_the_one_before_used(tiny, lived, died) -> None:
    path = died
    newest, older = checkpoint.names(open_run(path).committed)
    content = bytearray((path / newest).read_bytes())
    content[-1] ^= 1
    (path / newest).write_bytes(content)
    watcher = Act(99, die)
    go_on(tiny, path, watcher=watcher)
    [started] = watcher.started
    assert newest in started.notes[1]
    assert started.step == int(Path(older).stem)
    assert contents(path) == contents(lived.path)


def test_a_finished_run_goes_on_to_more_epochs(tiny, lived, tmp_path) -> None:
    record_run(QUICK.with_settings(epochs=5), tiny, tmp_path / "long")
    with pytest.raises(UsageError, match=r"already finished; for more epochs add --epochs 6$"):
        settings_to_resume(lived.path)
    with pytest.raises(ConfigError, match="the run has 3"):
        settings_to_resume(lived.path, 2)
    shutil.copytree(lived.path, tmp_path / "run")
    go_on(tiny, tmp_path / "run", epochs=5)
    assert contents(tmp_path / "run") == contents(tmp_path / "long")


def test_a_resumed_run_keeps_the_evaluation_of_its_earlier_end_and_is_replayed(tiny, tmp_path) -> None:
    run = record_run(QUICK.with_settings(epochs=9, evaluate="spread"), tiny, tmp_path / "run")
    assert np.flatnonzero(np.isfinite(run.metrics.test_loss)).tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    go_on(tiny, run.path, epochs=12)
    resumed = open_run(run.path)
    assert np.flatnonzero(np.isfinite(resumed.metrics.test_loss)).tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 12]
    assert all(finding.sound for finding in replay_run(resumed, tiny))


def test_epochs_do_not_grow_where_the_rates_depend_on_them(died) -> None:
    plant(died, "config.toml", QUICK.with_settings(schedule="cosine").to_toml().encode())
    with pytest.raises(ConfigError, match="the cosine schedule depends"):
        settings_to_resume(died, 5)


def test_a_run_stopped_early_stays_so(tiny, tmp_path) -> None:
    config = QUICK.with_settings(validation=20, patience=1, learning_rate=0.03, epochs=50)
    run = record_run(config, tiny, tmp_path / "lived")
    assert run.status.why
    assert len(run.metrics) < 50
    begin_and_die(tiny, config, tmp_path / "died", 4)
    go_on(tiny, tmp_path / "died")
    assert contents(tmp_path / "died") == contents(tmp_path / "lived")


def test_other_data_are_refused(tiny, died) -> None:
    changed = replace(tiny, train=replace(tiny.train, labels=tiny.train.labels[::-1].copy()))
    with pytest.raises(RunError, match="differ from those that it was trained on"):
        go_on(changed, died)


def test_another_engine_is_said_and_kept(tiny, died) -> None:
    watcher = Act(99, die)
    resume_run(died, tiny, QUICK.with_settings(engine="torch"), watcher)
    [resumed] = open_run(died).environment["resumed"]
    assert resumed["differs"][0] == "engine is torch, was fused"
    assert any("engine is torch, was fused: the result may differ" in note for note in watcher.started[0].notes)


def test_other_versions_and_threads_are_said(died) -> None:
    before = open_run(died).environment | {"engine": "torch", "threads": 1}
    now = {**before, "threads": 2, "packages": {**before["packages"], "torch": "9.9"}}
    assert differences(before, now) == [
        "threads are 2, were 1",
        f"torch is 9.9, was {before['packages']['torch']}",
    ]
    now["packages"] = {**now["packages"], "torch": None}
    assert differences(before | {"engine": "fused"}, {**now, "engine": "fused"}) == []


def test_a_run_that_another_process_writes_is_left_alone(tiny, died) -> None:
    def files() -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in died.rglob("*") if file.is_file() and file.name != lock.FILE}

    before = files()
    with lock.hold(died), pytest.raises(RunError, match="writes it; wait until it ends"):
        go_on(tiny, died)
    assert files() == before


def test_losses_that_are_not_the_checkpoints_are_refused(tiny, died) -> None:
    committed = open_run(died).committed
    [name, *_] = checkpoint.names(committed)
    newest = checkpoint.load(died, name, committed)
    plant(died, name, checkpoint.encode(Checkpoint(newest.step + 1, newest.position, newest.state), newest.appended))
    with pytest.raises(RunError, match=f"{newest.step} losses for {newest.step + 1} steps; the run is broken"):
        go_on(tiny, died)


def test_a_state_of_another_optimiser_is_refused(tiny, lived) -> None:
    newest, _ = checkpoint.newest_sound(lived.path, lived.committed)
    assert newest is not None
    sized = tiny.resized(32)
    for name in ("fused", "numpy", "torch"):
        config = QUICK.with_settings(engine=name, optimizer="momentum")
        for classes, says in ((10, "its sizes are not this network's and optimiser's"), (12, "do not match a LeNet")):
            network = lenscope.Network("lenet", 1, classes)
            engine = lenscope.choose_engine(network, lenscope.initial_weights(network, 0), sized.train, config)
            with pytest.raises(RunError, match=says):
                engine.load(newest.state)


def test_settings_that_are_broken_are_named(tmp_path) -> None:
    (tmp_path / "config.toml").write_text("epochs = 'many'")
    with pytest.raises(RunError, match=r"config\.toml: epochs"):
        settings_to_resume(tmp_path)
    with pytest.raises(RunError, match="no such run directory"):
        settings_to_resume(tmp_path / "nothing")


def test_a_checkpoint_that_cannot_be_read_back_ends_the_run(tiny, tmp_path, monkeypatch) -> None:
    def write(path: Path, content: bytes) -> None:
        storage.write_file(
            path, content[:-1] if path.suffix == ".safetensors" and "checkpoint" in str(path) else content
        )

    monkeypatch.setattr(recorder, "write_file", write)
    with pytest.raises(lenscope.StorageError, match="it has just been written: check the disk"):
        record_run(QUICK, tiny, tmp_path / "run")
    assert not checkpoint.names(open_run(tmp_path / "run").committed)


def test_what_a_killed_process_left_is_swept(tiny, died) -> None:
    path = died
    left = [
        path / ".metrics.csv.7.part",
        path / "weights" / ".x.7.part",
        path / "checkpoint" / "999999999999.safetensors",
    ]
    for file in left:
        file.write_bytes(b"half")
    go_on(tiny, path)
    assert not [file for file in left if file.exists()]


def test_a_run_killed_twice_before_its_first_commit_goes_on(tiny, lived, tmp_path) -> None:
    path = tmp_path / "died"
    count = count_operations(lambda: record_run(QUICK, tiny, tmp_path / "counted"))
    for number in range(1, count):  # until the manifest is there
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        (path / "config.toml").write_text(QUICK.to_toml())
        with in_place(Failing(number, errno.EIO, for_good=True)), pytest.raises(lenscope.StorageError):
            go_on(tiny, path)
        assert settings_to_resume(path) == QUICK
        if (path / "manifest.json").exists():
            break
    go_on(tiny, path)
    assert contents(path) == contents(lived.path)
