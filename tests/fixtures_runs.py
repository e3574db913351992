"""Runs that end before their end, and what must be equal afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lenscope.config import TrainConfig
from lenscope.runs.files import manifest
from lenscope.runs.record import record_run, resume_run
from lenscope.runs.resume import settings_to_resume
from lenscope.runs.run import Run
from lenscope.training.events import Event, RunStarted, StepsDone

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lenscope.data.dataset import Splits

QUICK = TrainConfig(epochs=3, batch_size=20, learning_rate=1e-3, checkpoint_every="2steps", train_accuracy=True)
SAME_FILES = (
    "config.toml",
    "losses.f32",
    "film.bin",
    "film.json",
    "weights/initial.safetensors",
    "weights/final.safetensors",
)


def plant(path: Path, name: str, content: bytes) -> Run:
    """Replace a file of a run, and its hash in the manifest."""
    (path / name).write_bytes(content)
    if name not in {manifest.FILE, "status.json"}:
        committed = Run(path).committed
        (committed.appended if name in manifest.APPENDED else committed.static)[name] = manifest.fingerprint(content)
        (path / manifest.FILE).write_bytes(committed.to_json())
    return Run(path)


class Stop(BaseException):
    """What ends a process at once."""


class Act:
    """A watcher that does something from the first event of a kind on that tells of a step or a later one."""

    def __init__(self, step: int, act: Callable[[], None], kind: Any = StepsDone) -> None:
        self.step, self.act, self.kind, self.started = step, act, kind, list[RunStarted]()

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.started.append(event)
        if isinstance(event, self.kind) and event.step >= self.step:
            self.act()

    def close(self) -> None:
        pass


def die() -> None:
    raise Stop


def begin_and_die(splits: Splits, config: TrainConfig, path: Path, step: int) -> None:
    with pytest.raises(Stop):
        record_run(config, splits, path, Act(step, die))


def go_on(splits: Splits, path: Path, epochs: int | None = None, watcher: Any = None) -> Run:
    return resume_run(path, splits, settings_to_resume(path, epochs), watcher)


def contents(path: Path) -> dict[str, Any]:
    """What must be equal between a run and the same one interrupted: all but times and environment."""
    metrics = [row.rsplit(b",", 3)[0] for row in (path / "metrics.csv").read_bytes().splitlines()]
    return {name: (path / name).read_bytes() for name in SAME_FILES} | {"metrics.csv": metrics}
