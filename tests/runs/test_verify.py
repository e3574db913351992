"""A run directory that is sound is said to be, and one that is not is found out, also where its hashes agree."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load, save

import lenscope
from fixtures_runs import QUICK, Act, begin_and_die, die, plant
from lenscope.errors import RunError, UsageError
from lenscope.runs.files import manifest
from lenscope.runs.files.film import encode_record
from lenscope.runs.files.metrics import HEADER, encode_row
from lenscope.runs.record import record_run
from lenscope.runs.replay import replay_run
from lenscope.runs.run import find_run, open_run
from lenscope.runs.verify import verify_run

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.runs.run import Run


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Run:
    shutil.copytree(tiny_run.path, tmp_path / "run")
    return open_run(tmp_path / "run")


def broken(run: Run) -> dict[str, str]:
    return {finding.part: finding.says for finding in verify_run(find_run(run.path)) if not finding.sound}


def test_a_sound_run_is_found_sound_file_by_file(run: Run) -> None:
    found = {finding.part: finding.says for finding in verify_run(run)}
    assert not broken(run)
    assert found.keys() == {*run.committed.static, *run.committed.appended, "status.json"}
    assert found["status.json"] == "finished"
    assert found["film.bin"] == "5 snapshots, steps 0 to 6"
    assert found["losses.f32"] == "6 steps, all finite"
    assert found["metrics.csv"].startswith("3 of 3 rows")
    assert found["checkpoint/000000000006.safetensors"] == "after step 6, at the end of epoch 2; all finite"


@pytest.mark.parametrize("name", ["film.bin", "weights/final.safetensors"])
def test_a_changed_file_is_found_and_it_alone(run: Run, name: str) -> None:
    content = (run.path / name).read_bytes()
    (run.path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert broken(run) == {name: "differs from the manifest; the run is broken"}
    (run.path / name).unlink()
    assert list(broken(run)) == [name]


@pytest.mark.parametrize("name", ["weights/final.safetensors", "metrics.csv"])
def test_a_file_that_is_gone_from_the_manifest_as_well_is_missed(run: Run, name: str) -> None:
    (run.path / name).unlink()
    committed = run.committed
    committed.static.pop(name, None)
    committed.appended.pop(name, None)
    (run.path / manifest.FILE).write_bytes(committed.to_json())
    assert name in broken(run)


def weights(run: Run, change: Any) -> bytes:
    arrays = {name: array.copy() for name, array in run.weights("final").items()}
    change(arrays)
    return save(arrays)


def rows(run: Run, *changes: tuple[int, str, Any]) -> bytes:
    table = run.metrics.rows()
    for number, field, value in changes:
        table[number] = replace(table[number], **{field: value})
    return HEADER.encode() + b"".join(map(encode_row, table))


def film(run: Run, steps: list[int], change: float = 0.0) -> bytes:
    shots = [{name: kernels[place] for name, kernels in run.film.kernels.items()} for place in range(len(run.film))]
    shots[0]["conv1"] = shots[0]["conv1"] + np.float32(change)
    return b"".join(encode_record(step, shot) for step, shot in zip(steps, shots, strict=False))


def losses(run: Run, *changes: tuple[int, float], length: int = 6) -> bytes:
    values = np.resize(run.losses, length).astype("<f4")
    for number, value in changes:
        values[number] = value
    return values.tobytes()


STEPS = [0, 1, 2, 3, 6]
FALSE: dict[str, tuple[str, Any, str]] = {
    "weights": (
        "weights/final.safetensors",
        lambda run: weights(run, lambda arrays: arrays["fc1.bias"].fill(np.nan)),
        "fc1.bias is not finite; the run is broken",
    ),
    "an epoch": ("metrics.csv", lambda run: rows(run, (2, "epoch", 7)), "an epoch is missing"),
    "the last epoch": (
        "metrics.csv",
        lambda run: rows(run)[: rows(run).rfind(b"\n2,") + 1],
        "the last epochs are missing",
    ),
    "a training loss": (
        "metrics.csv",
        lambda run: rows(run, (1, "train_loss", float(1.00001 * run.metrics.train_loss[1]))),
        "epoch 1 is not the mean",
    ),
    "no training loss": ("metrics.csv", lambda run: rows(run, (1, "train_loss", None)), "epoch 1 is not the mean"),
    "a loss": ("losses.f32", lambda run: losses(run, (3, np.inf)), "a loss is incomplete or not finite"),
    "a cut loss": ("losses.f32", lambda run: losses(run) + b"x", "a loss is incomplete or not finite"),
    "fewer losses": ("losses.f32", lambda run: losses(run, length=5), "5 steps for 2 epochs of 3"),
    "more losses": ("losses.f32", lambda run: losses(run, length=7), "7 steps for 2 epochs of 3"),
    "the film's start": ("film.bin", lambda run: film(run, STEPS, 0.5), "does not start with the initial kernels"),
    "the film's end": ("film.bin", lambda run: film(run, [0, 1, 6]), "does not end with the final kernels"),
    "the film's order": ("film.bin", lambda run: film(run, [0, 2, 1]), "steps are out of order"),
    "the film's steps": ("film.bin", lambda run: film(run, [0, 1, 9]), "a snapshot after the last step"),
    "the film's numbers": ("film.bin", lambda run: film(run, STEPS, np.nan), "not finite"),
    "the film's length": ("film.bin", lambda run: film(run, STEPS)[:-9], "the last snapshot is incomplete"),
    "no film": ("film.bin", lambda _: b"", "the last snapshot is incomplete"),
    "settings": ("config.toml", lambda _: b"epochs = 'x'", "epochs"),
    "the rule": ("unsure.json", lambda _: b'{"least_lead": NaN}', "missing or wrong"),
    "facts": ("environment.json", lambda _: b'{"data": {"train_images": 0}}', "missing or wrong"),
}


@pytest.mark.parametrize("what", FALSE)
def test_what_contradicts_the_other_files_is_found_though_its_hash_agrees(run: Run, what: str) -> None:
    name, make, says = FALSE[what]
    plant(run.path, name, make(run))
    assert says in broken(run)[name]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda arrays, _: arrays["second"].fill(np.inf), "a number is not finite"),
        (
            lambda _, facts: facts["appended"]["film.bin"].update(size=10**9),
            "counts more bytes of film.bin than there are",
        ),
        (lambda _, facts: facts["appended"].update(new={"size": 1, "sha256": ""}), "not a checkpoint"),
        (lambda _, facts: facts.pop("step"), "not a checkpoint"),
    ],
    ids=range(4),
)
def test_a_checkpoint_that_contradicts_the_run_is_found(run: Run, change: Any, says: str) -> None:
    [name] = [name for name in run.committed.static if name.startswith("checkpoint/")]
    content = (run.path / name).read_bytes()
    arrays = {name: array.copy() for name, array in load(content).items()}
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    facts = json.loads(header["__metadata__"]["lenscope"])
    change(arrays, facts)
    plant(run.path, name, save(arrays, {"lenscope": json.dumps(facts)}))
    assert says in broken(run)[name]


def test_a_run_that_has_hardly_begun_is_sound(tiny, tmp_path: Path) -> None:
    begin_and_die(tiny, QUICK.with_settings(checkpoint_every="100"), tmp_path / "run", 1)
    assert not broken(open_run(tmp_path / "run"))


@pytest.mark.parametrize("engine", ["fused", "torch"])
def test_a_run_that_is_repeated_is_equal_to_the_last_bit(tiny, tmp_path: Path, engine: str) -> None:
    config = QUICK.with_settings(engine=engine, augment="shift=1", validation=10, threads=1)
    run = record_run(config, tiny, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    watcher = Act(100, die)
    found = replay_run(run, tiny, watcher)
    assert watcher.started[0].step == 0
    assert all(finding.sound for finding in found)
    assert {finding.part: finding.says for finding in found} == {
        "weights/initial.safetensors": "replayed, 1 of 1 equal",
        "film.bin": "replayed, 6 of 6 equal",
        "metrics.csv": "replayed, 4 of 4 equal",
        "losses.f32": "replayed, 9 of 9 equal",
        "checkpoint/000000000009.safetensors": "replayed, 1 of 1 equal",
        "weights/final.safetensors": "replayed, 1 of 1 equal",
    }
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("step", [1, 4])
def test_a_run_that_died_is_repeated_as_far_as_it_got(tiny, tmp_path: Path, step: int) -> None:
    begin_and_die(tiny, QUICK, tmp_path / "run", step)
    run = open_run(tmp_path / "run")
    found = {finding.part: finding.says for finding in replay_run(run, tiny)}
    done = len(run.losses)
    assert found.get("losses.f32", "") == (f"replayed, {done} of {done} equal" if done else "")
    assert all("replayed" in says for says in found.values())


def test_a_run_is_repeated_from_its_oldest_checkpoint(tiny, tmp_path: Path) -> None:
    run = record_run(QUICK, tiny, tmp_path / "run")
    found = {finding.part: finding.says for finding in replay_run(run, tiny, from_checkpoint=True)}
    assert found["losses.f32"] == "replayed, 1 of 1 equal"  # of the checkpoints after steps 8 and 9, from the first
    assert found["weights/final.safetensors"] == "replayed, 1 of 1 equal"


def test_without_a_checkpoint_before_the_end_there_is_nothing_to_repeat_from_it(tiny, tiny_run) -> None:
    with pytest.raises(RunError, match="has no checkpoint before its last step; leave out --from-checkpoint"):
        replay_run(tiny_run, tiny, from_checkpoint=True)


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"changes": [(4, 1.5)]}, (False, "differs at step 5")), ({"length": 7}, (True, "replayed, 6 of 6 equal"))],
)
def test_losses_that_differ_end_a_replay_and_those_beyond_the_end_are_ignored(tiny, run: Run, change, expected) -> None:
    plant(run.path, "losses.f32", losses(run, *change.get("changes", ()), length=change.get("length", 6)))
    found = {finding.part: (finding.sound, finding.says) for finding in replay_run(open_run(run.path), tiny)}
    assert found["losses.f32"] == expected
    if not expected[0]:
        assert "weights/final.safetensors" not in found


def test_other_data_cannot_repeat_a_run(tiny, run: Run) -> None:
    fewer_classes = replace(tiny.train, labels=tiny.train.labels % 3, classes=tuple("abc"))
    for train in (tiny.train.take(np.arange(59)), tiny.train.take(np.arange(5)), fewer_classes):
        with pytest.raises(RunError, match="differ from those that it was trained on"):
            replay_run(run, replace(tiny, train=train, test=None))


def test_what_may_differ_is_said(tiny, run: Run) -> None:
    facts = json.loads((run.path / "environment.json").read_bytes())
    resumed = [{"step": 3, "at": "2026-01-01T00:00:00", "differs": ["isa is avx2, was avx512"]}]
    plant(run.path, "environment.json", json.dumps({**facts, "isa": "sse", "resumed": resumed}).encode())
    found = [finding.says for finding in replay_run(open_run(run.path), tiny) if finding.part == "environment.json"]
    assert len(found) == 2
    assert found[0].endswith(", was sse: the last bits may differ")
    assert found[1] == "isa is avx2, was avx512, when it was resumed: the last bits may differ"


@pytest.mark.parametrize(
    ("change", "sound", "says"),
    [
        (
            (2, "test_accuracy", 0.99),
            False,
            "epoch 2, test loss {0}, accuracy 99.00 %; the final weights have loss {0}, accuracy {1}",
        ),
        (
            (2, "test_loss", 0.5),
            False,
            "epoch 2, test loss 0.5000, accuracy {1}; the final weights have loss {0}, accuracy {1}",
        ),
        (
            (2, "test_loss", 0.0),
            False,
            "epoch 2, test loss 0.0000, accuracy {1}; the final weights have loss {0}, accuracy {1}",
        ),
        ((2, "test_accuracy", None), False, "epoch 2, test loss {0}; the final weights have loss {0}, accuracy {1}"),
        ((2, "train_seconds", 0.5), True, "epoch 2, test loss {0}, accuracy {1}: the same, measured again"),
    ],
)
def test_where_bits_cannot_be_compared_the_final_weights_are_measured_again(
    tiny, run: Run, change, sound, says
) -> None:
    loss, accuracy = f"{run.metrics.test_loss[-1]:.4f}", f"{100 * run.metrics.test_accuracy[-1]:.2f} %"
    plant(run.path, "environment.json", json.dumps({**run.environment, "isa": "sse"}).encode())
    plant(run.path, "losses.f32", losses(run, (1, float(run.losses[1]))))
    plant(run.path, "metrics.csv", rows(run, change))
    found = [finding for finding in replay_run(open_run(run.path), tiny) if finding.part == "metrics.csv"]
    assert (found[-1].sound, found[-1].says) == (sound, says.format(loss, accuracy))


def test_a_difference_is_not_judged_where_a_run_was_trained_by_another_number_of_ranks(tiny, run: Run) -> None:
    plant(run.path, "environment.json", json.dumps({**run.environment, "ranks": 2}).encode())
    plant(run.path, "losses.f32", losses(run, (4, 1.5)))
    found = {finding.part: (finding.sound, finding.says) for finding in replay_run(open_run(run.path), tiny)}
    why = "differs at step 5; cannot be compared bit for bit here, since ranks are 1, were 2"
    assert found["losses.f32"] == (None, why)
    assert found["environment.json"] == (True, "ranks are 1, were 2: the last bits may differ")


def test_the_times_a_run_went_on_are_checked(run: Run) -> None:
    plant(run.path, "environment.json", json.dumps({**run.environment, "resumed": 5}).encode())
    with pytest.raises(RunError, match=r"environment\.json: the data is missing or wrong"):
        _ = open_run(run.path).resumed


def test_a_run_with_a_broken_file_is_not_repeated(run: Run) -> None:
    (run.path / "film.bin").write_bytes(b"")
    found = lenscope.verify(run, replay=True)
    assert [finding.part for finding in found if not finding.sound] == ["film.bin"]
    assert not [finding for finding in found if "replayed" in finding.says]


def test_another_networks_engine_is_refused_by_a_replay(tiny, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENSCOPE_ISA", "none")
    plant(run.path, "config.toml", run.config.with_settings(engine="fused").to_toml().encode())
    with pytest.raises(UsageError):
        replay_run(open_run(run.path), tiny)
