"""Every bit of a run directory is flipped, and every file cut at every length: it is found, or changes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save

from conftest import in_full
from lenscope.errors import LenscopeError
from lenscope.runs import checkpoint, manifest
from lenscope.runs.film import describe_layout, encode_record
from lenscope.runs.manifest import Manifest, entry_of
from lenscope.runs.run import Run, find_run
from lenscope.runs.verify import verify_run
from lenscope.training.events import Checkpoint, Position, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

EACH = in_full(37, 1)  # of so many flips one is tried; prime to the 8 bits of a byte
TELLS = {"why", "process", "host", "started", "ended"}  # of the status: told to the reader, and used for nothing
SMALL = {"conv1": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 1, 2, 2)}


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Run:
    """A finished run with a small film, small weights and small checkpoints, so that each bit can be flipped."""
    path = tmp_path / "run"
    shutil.copytree(tiny_run.path, path)
    committed = Manifest.from_json((path / manifest.FILE).read_bytes(), "")
    for name in checkpoint.names(committed):
        (path / name).unlink()
        del committed.static[name]
    weights = {"conv1.weight": SMALL["conv1"], "fc3.bias": np.ones(3, np.float32)}
    film = b"".join(encode_record(step, SMALL) for step in (0, 6))
    appended = {**committed.appended, "film.bin": entry_of(film)}
    position = Position(epoch=3, done=0, seconds=1.5)
    state = State(weights, 6, np.ones(11, np.float32), np.ones(11, np.float32))
    files = {
        "film.bin": film,
        "film.json": describe_layout(SMALL),
        "weights/initial.safetensors": save(weights),
        "weights/final.safetensors": save(weights),
        checkpoint.file_name(6): checkpoint.encode(Checkpoint(6, position, state), appended),
        checkpoint.file_name(4): checkpoint.encode(Checkpoint(4, position, state), appended),
    }
    for name, content in files.items():
        (path / name).write_bytes(content)
        (committed.appended if name in manifest.APPENDED else committed.static)[name] = entry_of(content)
    (path / manifest.FILE).write_bytes(committed.to_json())
    return Run(path)


def damaged(content: bytes) -> Iterator[bytes]:
    """The content with each bit flipped, and cut at each length."""
    for bit in range(0, 8 * len(content), EACH):
        broken = bytearray(content)
        broken[bit // 8] ^= 1 << bit % 8
        yield bytes(broken)
    for length in range(0, len(content), EACH):
        yield content[:length]


def facts(path: Path) -> dict[str, Any]:
    """All that readers of a run learn from it."""
    run = find_run(path)
    kept, problems = checkpoint.newest_sound(path, run.committed)
    return {
        "manifest": run.committed,
        "kept": kept and (kept.step, kept.position, kept.appended),
        "problems": problems,
        "config": run.config,
        "environment": run.environment,
        "status": {name: value for name, value in asdict(run.status).items() if name not in TELLS},
        "metrics": repr(run.metrics.rows()),
        "losses": run.losses.tolist(),
        "film": {name: kernels.tolist() for name, kernels in run.film.kernels.items()} | {"": run.film.steps.tolist()},
        "weights": {which: {name: array.tolist() for name, array in run.weights(which).items()} for which in WHICH},
    }


WHICH: tuple[Any, ...] = ("initial", "final")


def is_found(path: Path) -> bool:
    """Whether `lenscope verify` says that something is broken; the small network is none of ours, which is no news."""
    try:
        findings = verify_run(find_run(path))
    except LenscopeError:
        return True
    expected = {"film.bin", *(f"weights/{which}.safetensors" for which in WHICH)}
    return not all(
        finding.sound or (finding.part in expected and "not those of" in finding.says) for finding in findings
    )


def test_every_flipped_bit_and_every_cut_is_found_or_changes_nothing(run: Run, tally) -> None:
    assert not is_found(run.path)
    before = facts(run.path)
    assert not before["problems"]
    counts = {}
    for path in sorted(path for path in run.path.rglob("*") if path.is_file()):
        content, found, harmless = path.read_bytes(), 0, 0
        for broken in damaged(content):
            path.write_bytes(broken)
            if is_found(run.path):
                found += 1
            else:
                assert facts(run.path) == before, (path.name, broken)
                harmless += 1
        path.write_bytes(content)
        counts[path.relative_to(run.path).as_posix()] = found, harmless
    assert all(harmless == 0 for name, (_, harmless) in counts.items() if name not in EXCEPTED)
    told = ", ".join(f"{name} {harmless:,}" for name, (_, harmless) in counts.items() if harmless)
    total = sum(sum(pair) for pair in counts.values())
    tally(f"flips and cuts: {total:,} in a run's {len(counts)} files, all found but those without effect: {told}")


# The status names its process and times for the reader; the lock counts for nothing once its process is gone; the last
# line end of the manifest is no part of what it says.
EXCEPTED = {"status.json", ".lock", "manifest.json"}


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(run: Run, tally) -> None:
    name = checkpoint.file_name(6)
    content, count = (run.path / name).read_bytes(), 0
    for broken in damaged(content):
        (run.path / name).write_bytes(broken)
        kept, problems = checkpoint.newest_sound(run.path, run.committed)
        assert kept is not None
        assert kept.step == 4
        assert [problem.split(":")[0] for problem in problems] == [str(run.path / name)]
        count += 1
    tally(f"a checkpoint's bits flipped and lengths cut: {count:,} of {count:,} named, and the one before it used")


def test_without_its_hash_a_checkpoint_is_still_read_without_a_crash(run: Run) -> None:
    content = (run.path / checkpoint.file_name(6)).read_bytes()
    for broken in damaged(content):
        try:
            checkpoint.decode(broken, "here")
        except LenscopeError as error:
            assert str(error).startswith("here: ")  # noqa: PT017 - most are refused, a flipped weight is not


def test_a_status_without_its_details_is_a_status(run: Run) -> None:
    status = json.loads((run.path / "status.json").read_bytes())
    (run.path / "status.json").write_text(json.dumps({**status, "why": "x", "host": "y"}))
    assert run.status.state == "finished"
