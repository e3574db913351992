"""One run of an experiment: an ordinary run directory, trained where it is missing and resumed where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lenscope import api
from lenscope.data.dataset import held_out_count
from lenscope.errors import LenscopeError, NonFiniteError, RunError, UsageError
from lenscope.runs import lock
from lenscope.runs.files import manifest
from lenscope.runs.recorder import FINAL, LEFTOVER
from lenscope.runs.resume import settings_to_resume
from lenscope.runs.run import open_run
from lenscope.storage import remove_directory
from lenscope.training.fit import check_batch_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.runs.record import Watcher
    from lenscope.runs.run import Run

CONFIG = "config.toml"


@dataclass(frozen=True)
class Trial:
    """A run that an experiment needs.

    Attributes:
        name: of its directory.
        config: its settings.
        tags: what distinguishes it from the others, by the columns of the tables.
        alone: trained with all threads and no other run at the same time, since its seconds are compared.
    """

    name: str
    config: TrainConfig
    tags: Mapping[str, object] = field(default_factory=dict)
    alone: bool = False

    @property
    def row(self) -> dict[str, object]:
        """The first cells of each of its rows: its name and its tags."""
        return {"trial": self.name, **self.tags}


def with_threads(trial: Trial, threads: int) -> Trial:
    """The trial with this many threads, of which it uses those that are free; unchanged if its bytes depend on them."""
    config = trial.config
    if config.network != "lenet" or config.engine not in {"auto", "fused"} or config.device not in {"auto", "cpu"}:
        return trial
    return replace(trial, config=config.with_settings(threads=threads))


def is_done(trial: Trial, path: Path) -> bool:
    """Whether its directory has a run that is complete, or whose loss became NaN or infinite: it would fail again.

    Such a run has its last good weights as its final ones; one that failed for another reason, such as a full disk, is
    to be resumed.

    Raises:
        UsageError: a run with other settings.
        RunError: a broken run.
    """
    if not (path / manifest.FILE).exists():  # not started, or killed before its first commit
        return False
    run = open_run(path)
    there, asked = _placeless(run.config), _placeless(check_batch_size(trial.config, run.data.train_images))
    if there != asked:
        differing = ", ".join(f"{name} = {value}" for name, value in there if value != getattr(asked, name))
        raise UsageError(f"{path}: trained with other settings ({differing}); choose another --out")
    return has_ended(run)


def has_ended(run: Run) -> bool:
    """Whether a run is complete, or failed as it would fail again."""
    ended = run.status.state in {"finished", "failed"} and FINAL in run.committed.static
    return ended and len(run.metrics) > 0


def is_finished(path: Path) -> bool:
    """Whether a directory has a run that has ended; false where it cannot be opened."""
    try:
        return has_ended(open_run(path))
    except LenscopeError:
        return False


def divide(config: TrainConfig, images: int) -> tuple[int, int]:
    """How many of the training images a run trains on, and how many it holds out."""
    count = held_out_count(config.validation or 0, images)
    return min(images - count, config.train_images or images), count


def _placeless(config: TrainConfig) -> TrainConfig:
    """The settings without folders, which may have been moved, threads and the epochs that are evaluated."""
    validation = config.validation or 0  # 0 in a run on data with test images, by default
    return config.with_settings(
        data="any",
        validation=validation,
        evaluate="every",
        threads=None,
        init_from=config.init_from and Path(config.init_from).name,
    )


def train_trial(trial: Trial, path: Path, splits: Splits, watcher: Watcher | None = None) -> None:
    """Train it, or resume it, unless it is done.

    Raises as `api.train` does, except for a loss that is not finite, which the run records.
    """
    from lenscope.runs.record import resume_run

    if is_done(trial, path):
        return
    try:
        if (path / CONFIG).exists():
            config = settings_to_resume(path).with_settings(init_from=trial.config.init_from)
            resume_run(path, splits, config, watcher)
        else:
            _remove_leftovers(path)
            api.train(splits, out=path, config=trial.config, progress=watcher or False)
    except NonFiniteError:
        pass


def _remove_leftovers(path: Path) -> None:
    """Remove a directory whose process was killed before the settings, a run's first file, were complete."""
    if not path.exists():
        return
    entries = [*path.iterdir()]
    if any(entry.name != lock.FILE and not LEFTOVER.fullmatch(entry.name) for entry in entries):
        raise RunError(f"{path}: not a run; delete it, or choose another --out")
    for entry in entries:
        entry.unlink(missing_ok=True)
    remove_directory(path)
