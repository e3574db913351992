"""A run that goes on ends with the bytes of one that never stopped."""

from __future__ import annotations

import errno
import json
import signal
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
from safetensors.numpy import save

import lenscope
from disks import Failing, count_operations, in_place
from fixtures_runs import QUICK, Act, Stop, begin_and_die, contents, die, go_on
from lenscope.config import TrainConfig
from lenscope.errors import ConfigError, Interrupted, RunError, UsageError
from lenscope.runs import checkpoint, lock, manifest, recorder, storage
from lenscope.runs.record import record_run, resume_run
from lenscope.runs.replay import replay_run
from lenscope.runs.resume import differences, find_start, look_back, settings_to_resume
from lenscope.runs.run import open_run
from lenscope.runs.verify import verify_run
from lenscope.training.events import Checkpoint


@pytest.mark.parametrize("engine", ["fused", "torch"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "gd"},
        {"optimizer": "sgd", "learning_rate": 0.1, "augment": "shift=2,rotation=9"},
        {"optimizer": "momentum", "learning_rate": 0.01, "schedule": "cosine"},
        {"optimizer": "nesterov", "learning_rate": 0.01, "validation": 15, "patience": 2},
        {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "onecycle", "batch_size": 7},
        {"optimizer": "sgd", "learning_rate": 0.1, "init": "orthogonal", "train_images": 33, "validation": 9},
    ],
    ids=lambda settings: settings.get("optimizer", "adam"),
)
def test_a_run_that_died_ends_with_the_bytes_of_one_that_lived(tiny, tmp_path, engine, settings) -> None:
    config = QUICK.with_settings(engine=engine, **settings)
    record_run(config, tiny, tmp_path / "lived")
    steps = len(open_run(tmp_path / "lived").losses)
    for step in {1, steps // 2, steps - 1}:
        path = tmp_path / f"died-{step}"
        begin_and_die(tiny, config, path, step)
        assert go_on(tiny, path).status.state == "finished"
        assert contents(path) == contents(tmp_path / "lived")


@pytest.mark.parametrize(
    "settings",
    [
        {"network": "mlp", "init": "he"},
        {"network": "autoencoder", "autoencode": "masking=0.3,gaussian=0.2,kl=0.01,l1=0.001", "augment": "shift=1"},
        {"network": "mlp-autoencoder", "autoencode": "masking=0.5", "optimizer": "adamw", "weight_decay": 0.1},
    ],
    ids=lambda settings: settings["network"],
)
def test_so_does_one_of_another_network(tiny, tmp_path, settings) -> None:
    config = QUICK.with_settings(train_accuracy=False, **settings)
    run = record_run(config, tiny, tmp_path / "lived")
    assert all(finding.sound for finding in [*verify_run(run), *replay_run(run, tiny)])
    for step in (1, 4, 8):
        path = tmp_path / f"died-{step}"
        begin_and_die(tiny, config, path, step)
        assert go_on(tiny, path).status.state == "finished"
        assert contents(path) == contents(tmp_path / "lived")
    died = open_run(tmp_path / "died-4")
    assert all(finding.sound for finding in replay_run(died, tiny, from_checkpoint=True))


def test_a_stack_of_autoencoders_does_not_go_on_to_more_epochs(tiny, tmp_path) -> None:
    record_run(QUICK.with_settings(train_accuracy=False, network="mlp-autoencoder"), tiny, tmp_path / "run")
    with pytest.raises(ConfigError, match="each layer of the mlp-autoencoder has half of the epochs, 3 here"):
        settings_to_resume(tmp_path / "run", 5)


def test_a_run_goes_on_again_and_again(tiny, tmp_path) -> None:
    record_run(QUICK, tiny, tmp_path / "lived")
    path = tmp_path / "died"
    begin_and_die(tiny, QUICK, path, 2)
    for step in (3, 5, 8):
        with pytest.raises(Stop):
            go_on(tiny, path, watcher=Act(step, die))
    go_on(tiny, path)
    assert contents(path) == contents(tmp_path / "lived")
    assert len(open_run(path).environment["resumed"]) == 4
    assert len(list((path / "checkpoint").iterdir())) == checkpoint.KEPT


def test_an_interrupted_run_keeps_where_it_was(tiny, tmp_path) -> None:
    config = QUICK.with_settings(checkpoint_every="100")
    record_run(config, tiny, tmp_path / "lived")
    path = tmp_path / "run"
    with pytest.raises(Interrupted, match=f"lenscope train --resume {path}"):
        record_run(config, tiny, path, Act(4, lambda: signal.raise_signal(signal.SIGINT)))
    watcher = Act(99, die)
    go_on(tiny, path, watcher=watcher)
    [started] = watcher.started
    assert started.step >= 4
    assert started.notes[0].startswith(f"goes on after step {started.step}, in epoch")
    assert [row.epoch for row in started.rows] == [*range((started.step - 1) // 3 + 1)]
    assert contents(path) == contents(tmp_path / "lived")


def test_a_run_without_a_checkpoint_begins_again(tiny, tmp_path) -> None:
    config = QUICK.with_settings(checkpoint_every="100")
    record_run(config, tiny, tmp_path / "lived")
    begin_and_die(tiny, config, tmp_path / "died", 5)
    go_on(tiny, tmp_path / "died")
    assert contents(tmp_path / "died") == contents(tmp_path / "lived")


def test_a_run_without_a_manifest_begins_again(tiny, tmp_path) -> None:
    record_run(QUICK, tiny, tmp_path / "lived")
    path = tmp_path / "died"
    path.mkdir()
    (path / "config.toml").write_text(QUICK.to_toml())
    go_on(tiny, path)
    assert contents(path) == contents(tmp_path / "lived")


def test_a_broken_checkpoint_is_named_and_the_one_before_used(tiny, tmp_path) -> None:
    record_run(QUICK, tiny, tmp_path / "lived")
    path = tmp_path / "died"
    begin_and_die(tiny, QUICK, path, 8)
    newest, older = checkpoint.names(open_run(path).committed)
    content = bytearray((path / newest).read_bytes())
    content[-1] ^= 1
    (path / newest).write_bytes(content)
    watcher = Act(99, die)
    go_on(tiny, path, watcher=watcher)
    [started] = watcher.started
    assert newest in started.notes[1]
    assert started.step == int(Path(older).stem)
    assert contents(path) == contents(tmp_path / "lived")


def test_a_finished_run_goes_on_to_more_epochs(tiny, tmp_path) -> None:
    record_run(QUICK.with_settings(epochs=5), tiny, tmp_path / "long")
    record_run(QUICK, tiny, tmp_path / "run")
    with pytest.raises(UsageError, match="is finished"):
        settings_to_resume(tmp_path / "run")
    go_on(tiny, tmp_path / "run", epochs=5)
    assert contents(tmp_path / "run") == contents(tmp_path / "long")


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_epochs_do_not_grow_where_the_rates_depend_on_them(tiny, tmp_path, schedule) -> None:
    record_run(QUICK.with_settings(schedule=schedule), tiny, tmp_path / "run")
    with pytest.raises(ConfigError, match=f"the rates of {schedule} depend"):
        settings_to_resume(tmp_path / "run", 5)
    with pytest.raises(ConfigError, match="begun with 3"):
        settings_to_resume(tmp_path / "run", 2)


def test_a_run_stopped_early_stays_so(tiny, tmp_path) -> None:
    config = QUICK.with_settings(validation=20, patience=1, learning_rate=0.03, epochs=50)
    run = record_run(config, tiny, tmp_path / "lived")
    assert run.status.why
    assert len(run.metrics) < 50
    begin_and_die(tiny, config, tmp_path / "died", 4)
    go_on(tiny, tmp_path / "died")
    assert contents(tmp_path / "died") == contents(tmp_path / "lived")


def test_other_data_are_refused(tiny, tmp_path) -> None:
    begin_and_die(tiny, QUICK, tmp_path / "run", 3)
    changed = replace(tiny, train=replace(tiny.train, labels=tiny.train.labels[::-1].copy()))
    with pytest.raises(RunError, match="no longer those that it was trained on"):
        go_on(changed, tmp_path / "run")


def test_another_engine_is_said_and_kept(tiny, tmp_path) -> None:
    begin_and_die(tiny, QUICK.with_settings(engine="fused"), tmp_path / "run", 3)
    text = (tmp_path / "run" / "config.toml").read_text()
    path = tmp_path / "run"
    watcher = Act(99, die)
    resume_run(path, tiny, TrainConfig.from_toml(text).with_settings(engine="torch"), watcher)
    [resumed] = open_run(path).environment["resumed"]
    assert resumed["differs"][0] == "engine is torch, was fused"
    assert any("engine is torch, was fused: the result may differ" in note for note in watcher.started[0].notes)


def test_other_versions_and_threads_are_said(tiny, tmp_path, monkeypatch) -> None:
    path = tmp_path / "run"
    begin_and_die(tiny, QUICK.with_settings(engine="torch", threads=1), path, 3)
    now = {**open_run(path).environment, "threads": 2}
    now["packages"] = {**now["packages"], "torch": "9.9"}
    assert find_start(look_back(path), now).facts["resumed"][0]["differs"] == (
        "threads are 2, were 1",
        f"torch is 9.9, was {open_run(path).environment['packages']['torch']}",
    )
    now["packages"] = {**now["packages"], "torch": None}
    assert differences(open_run(path).environment | {"engine": "fused"}, {**now, "engine": "fused"}) == []


def test_a_run_that_another_process_writes_is_left_alone(tiny, tmp_path) -> None:
    begin_and_die(tiny, QUICK, tmp_path / "run", 3)
    before = contents_of_all(tmp_path / "run")
    with lock.hold(tmp_path / "run"), pytest.raises(RunError, match="writes it; wait for its end"):
        go_on(tiny, tmp_path / "run")
    assert contents_of_all(tmp_path / "run") == before


def contents_of_all(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name != lock.FILE
    }


def test_losses_that_are_not_the_checkpoints_are_refused(tiny, tmp_path) -> None:
    path = tmp_path / "run"
    begin_and_die(tiny, QUICK, path, 5)
    committed = open_run(path).committed
    [name, *_] = checkpoint.names(committed)
    kept = checkpoint.decode((path / name).read_bytes(), name)
    content = checkpoint.encode(Checkpoint(kept.step + 1, kept.position, kept.state), kept.appended)
    (path / name).write_bytes(content)
    committed.static[name] = manifest.entry_of(content)
    (path / manifest.FILE).write_bytes(committed.to_json())
    with pytest.raises(RunError, match=f"{kept.step} losses for {kept.step + 1} steps; the run is broken"):
        go_on(tiny, path)


def test_a_state_of_another_optimiser_is_refused(tiny, tmp_path) -> None:
    record_run(QUICK, tiny, tmp_path / "run")
    kept, _ = checkpoint.newest_sound(tmp_path / "run", open_run(tmp_path / "run").committed)
    assert kept is not None
    sized = tiny.resized(32)
    for name in ("fused", "numpy", "torch"):
        config = QUICK.with_settings(engine=name, optimizer="momentum")
        for classes, says in ((10, "its sizes are not this network's and optimiser's"), (12, "not those of a LeNet")):
            network = lenscope.Network("lenet", 1, classes)
            engine = lenscope.choose_engine(network, lenscope.initial_weights(network, 0), sized.train, config)
            with pytest.raises(RunError, match=says):
                engine.load(kept.state)


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
    with pytest.raises(lenscope.StorageError, match="it was written just now: look after the disk"):
        record_run(QUICK, tiny, tmp_path / "run")
    assert not checkpoint.names(open_run(tmp_path / "run").committed)


FACTS = json.dumps(
    {
        "format": 1,
        "step": 1,
        "position": {"epoch": 1, "done": 0, "seconds": 0.5, "best": None, "best_epoch": 0},
        "updates": 1,
        "appended": {"film.bin": {"size": 4, "sha256": ""}},
    }
)


def test_a_checkpoint_may_be_as_small_as_this() -> None:
    kept = checkpoint.decode(save({"weights.a": np.zeros(3, np.float32)}, {"lenscope": FACTS}), "here")
    assert (kept.step, kept.position.seconds, list(kept.state.weights)) == (1, 0.5, ["a"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 20,
        b"\x02\0\0\0\0\0\0\0{}",
        save({"weights.a": np.zeros(3, np.float32)}),
        save({"weights.a": np.zeros(3, np.float32)}, {"lenscope": "[]"}),
        save({"weights.a": np.zeros(3, np.float32)}, {"lenscope": '{"format": 1}'}),
        save({"weights.a": np.zeros(3, np.float32)}, {"lenscope": "[" * 100_000}),
        save({"weights.a": np.zeros(3, np.float64)}, {"lenscope": FACTS}),
        (2**21).to_bytes(8, "little") + b" " * 2**21,
        *(
            save({"weights.a": np.zeros(3, np.float32)}, {"lenscope": FACTS.replace(*change)})
            for change in (
                ("film.bin", "../film.bin"),
                ('"epoch": 1', '"epoch": 0'),
                ('"epoch": 1', '"epoch": "x"'),
                ('"done": 0', '"done": -1'),
                ('"size": 4', '"size": -4'),
                ('"step": 1', '"step": 1e999'),
            )
        ),
    ],
    ids=range(15),
)
def test_what_is_no_checkpoint_is_refused(content) -> None:
    with pytest.raises(RunError, match=r"^here: not a checkpoint; the file is broken$"):
        checkpoint.decode(content, "here")


def test_a_format_that_is_no_line_is_told_in_one() -> None:
    content = save({"weights.a": np.zeros(3, np.float32)}, {"lenscope": json.dumps({"format": "\n\ud800"})})
    with pytest.raises(RunError) as caught:
        checkpoint.decode(content, "here")
    assert str(caught.value).isprintable()


def test_a_checkpoint_of_a_later_format_is_refused() -> None:
    content = save({"weights.a": np.zeros(3, np.float32)}, {"lenscope": '{"format": 2}'})
    with pytest.raises(RunError, match=r"^here: format 2, expected 1; use a newer Lenscope$"):
        checkpoint.decode(content, "here")


def test_what_a_killed_process_left_is_swept(tiny, tmp_path) -> None:
    path = tmp_path / "run"
    begin_and_die(tiny, QUICK, path, 5)
    left = [
        path / ".metrics.csv.7.part",
        path / "weights" / ".x.7.part",
        path / "checkpoint" / "999999999999.safetensors",
    ]
    for file in left:
        file.write_bytes(b"half")
    go_on(tiny, path)
    assert not [file for file in left if file.exists()]


def test_a_run_killed_twice_before_its_first_commit_goes_on(tiny, tmp_path) -> None:
    record_run(QUICK, tiny, tmp_path / "lived")
    path = tmp_path / "died"
    count = count_operations(lambda: record_run(QUICK, tiny, tmp_path / "counted"))
    for number in range(1, count):  # until the manifest is there
        rmtree(path, ignore_errors=True)
        path.mkdir()
        (path / "config.toml").write_text(QUICK.to_toml())
        with in_place(Failing(number, errno.EIO, for_good=True)), pytest.raises(lenscope.StorageError):
            go_on(tiny, path)
        assert settings_to_resume(path) == QUICK
        if (path / "manifest.json").exists():
            break
    go_on(tiny, path)
    assert contents(path) == contents(tmp_path / "lived")


def test_what_was_appended_and_never_counted_is_cut(tiny, tmp_path) -> None:
    record_run(QUICK, tiny, tmp_path / "lived")
    path = tmp_path / "died"
    begin_and_die(tiny, QUICK.with_settings(checkpoint_every="100"), path, 1)
    assert "losses.f32" not in open_run(path).committed.appended
    for name in ("metrics.csv", "losses.f32", "film.bin"):
        with (path / name).open("ab") as file:
            file.write(b"half")
    resume_run(path, tiny, QUICK)
    assert contents(path) == contents(tmp_path / "lived")


def test_while_a_file_is_replaced_either_counts(tmp_path) -> None:
    old, new = manifest.entry_of(b"old"), manifest.entry_of(b"newer")
    between = manifest.Manifest({"a": old}, {}, {"a": new})
    between = manifest.Manifest.from_json(between.to_json(), "here")
    for content in (b"old", b"newer"):
        (tmp_path / "a").write_bytes(content)
        assert manifest.read_static(tmp_path, "a", between) == content
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(RunError, match="differs from the manifest"):
        manifest.read_static(tmp_path, "a", between)


def test_a_checkpoint_that_is_not_finite_is_never_written(tiny, tmp_path) -> None:
    record_run(QUICK, tiny, tmp_path / "run")
    kept, _ = checkpoint.newest_sound(tmp_path / "run", open_run(tmp_path / "run").committed)
    assert kept is not None
    broken = kept.state.second.copy()
    broken[7] = np.nan
    kept = replace(kept, state=replace(kept.state, second=broken))
    with pytest.raises(lenscope.StorageError, match="not finite"):
        checkpoint.encode(Checkpoint(kept.step, kept.position, kept.state), {})


def test_a_checkpoint_says_what_it_holds(tiny, tmp_path) -> None:
    record_run(QUICK, tiny, tmp_path / "run")
    [name, _] = checkpoint.names(open_run(tmp_path / "run").committed)
    content = (tmp_path / "run" / name).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    facts = json.loads(header["__metadata__"]["lenscope"])
    run = open_run(tmp_path / "run")
    assert facts["step"] == len(run.losses)
    assert facts["appended"]["losses.f32"]["size"] == 4 * len(run.losses)
    assert facts["position"]["epoch"] == 4
