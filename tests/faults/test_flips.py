"""Every bit of a run directory flipped, and every file cut at every length, is found or changes nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from conftest import in_full
from fuzz_seeds import write_run
from lenscope.errors import LenscopeError
from lenscope.runs.files import checkpoint
from lenscope.runs.run import Run, find_run
from lenscope.runs.verify import verify_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

EACH = in_full(37, 1)  # one flip in EACH is tried; coprime to the 8 bits of a byte
SHOWN = {"why", "process", "host", "started", "ended"}  # fields of the status that are displayed only
WHICH: tuple[Any, ...] = ("initial", "final")
# Files of which some damage changes nothing: the displayed fields of the status, the manifest's last line end.
EXCEPTED = {"status.json", "manifest.json"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run so small that each of its bits can be flipped."""
    write_run(tmp_path)
    return Run(tmp_path)


def damaged(content: bytes) -> Iterator[bytes]:
    """The content with each bit flipped, and cut at each length."""
    for bit in range(0, 8 * len(content), EACH):
        broken = bytearray(content)
        broken[bit // 8] ^= 1 << bit % 8
        yield bytes(broken)
    for length in range(0, len(content), EACH):
        yield content[:length]


def facts(path: Path) -> dict[str, Any]:
    """Everything that a run's readers return."""
    run = find_run(path)
    kept, problems = checkpoint.newest_sound(path, run.committed)
    return {
        "manifest": run.committed,
        "kept": kept and (kept.step, kept.position, kept.appended),
        "problems": problems,
        "config": run.config,
        "environment": run.environment,
        "status": {name: value for name, value in asdict(run.status).items() if name not in SHOWN},
        "metrics": repr(run.metrics.rows()),
        "losses": run.losses.tolist(),
        "film": {name: kernels.tolist() for name, kernels in run.film.kernels.items()} | {"": run.film.steps.tolist()},
        "weights": {which: {name: array.tolist() for name, array in run.weights(which).items()} for which in WHICH},
    }


def is_found(path: Path) -> bool:
    """Whether `lenscope verify` reports damage, apart from this run's network being none of ours."""
    try:
        findings = verify_run(find_run(path))
    except LenscopeError:
        return True
    expected = {"film.bin", *(f"weights/{which}.safetensors" for which in WHICH)}
    return not all(finding.sound or (finding.part in expected and "not match" in finding.says) for finding in findings)


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
    shown = ", ".join(f"{name} {harmless:,}" for name, (_, harmless) in counts.items() if harmless)
    total = sum(sum(pair) for pair in counts.values())
    tally(f"flips and cuts: {total:,} in a run's {len(counts)} files, all found but those without effect: {shown}")


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


def test_a_checkpoint_damaged_unknown_to_the_manifest_is_read_without_a_crash(run: Run) -> None:
    content = (run.path / checkpoint.file_name(6)).read_bytes()
    for broken in damaged(content):
        try:
            checkpoint.decode(broken, "here")
        except LenscopeError as error:
            assert str(error).startswith("here: ")  # noqa: PT017 - most are refused, a flipped weight is not
