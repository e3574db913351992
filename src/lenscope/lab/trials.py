"""One run of an experiment: an ordinary run directory, trained where it is not there, gone on with where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lenscope import api
from lenscope.errors import NonFiniteError, RunError, UsageError
from lenscope.runs import lock, manifest, storage
from lenscope.runs.recorder import FINAL, LEFTOVER
from lenscope.runs.resume import settings_to_resume
from lenscope.runs.run import open_run
from lenscope.training.fit import check_batch_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.runs.record import Watcher

CONFIG = "config.toml"


@dataclass(frozen=True)
class Trial:
    """A run that an experiment asks for.

    Attributes:
        name: of its directory.
        config: its settings.
        tags: what tells it from the others, by the columns of the results.
        alone: trained with all threads and nothing beside it, since its seconds count.
    """

    name: str
    config: TrainConfig
    tags: Mapping[str, object] = field(default_factory=dict)
    alone: bool = False


def is_done(trial: Trial, path: Path) -> bool:
    """Whether its directory holds all of it; a run whose loss was no number any more is done: it would fail again.

    Such a run has its last good weights as its final ones; one that failed for another reason, as a full disk, goes on.

    Raises:
        UsageError: a run with other settings.
        RunError: a broken one.
    """
    if not (path / manifest.FILE).exists():  # not begun, or killed before its first commit
        return False
    run = open_run(path)
    there, asked = _placeless(run.config), _placeless(check_batch_size(trial.config, run.data.train_images))
    if there != asked:
        differing = ", ".join(f"{name} is {value}" for name, value in there if value != getattr(asked, name))
        raise UsageError(
            f"{path}: was trained with other settings than are asked for now ({differing} there); choose another --out"
        )
    ended = run.status.state in {"finished", "failed"} and FINAL in run.committed.static
    return ended and len(run.metrics) > 0


def _placeless(config: TrainConfig) -> TrainConfig:
    """The settings without where things lie: an experiment's directory may have been moved."""
    return config.with_settings(data="any", init_from=config.init_from and Path(config.init_from).name)


def carry_out(trial: Trial, path: Path, splits: Splits, watcher: Watcher | None = None) -> None:
    """Train it, or go on with it, unless it is done, as where its process died before it could tell.

    Raises as `api.train` does, but for a loss that is no number, which the run tells.
    """
    from lenscope.runs.record import resume_run

    if is_done(trial, path):
        return
    try:
        if (path / CONFIG).exists():
            config = settings_to_resume(path).with_settings(init_from=trial.config.init_from)
            resume_run(path, splits, config, watcher)
        else:
            _free(path)
            api.train(splits, out=path, config=trial.config, progress=watcher or False)
    except NonFiniteError:
        pass


def _free(path: Path) -> None:
    """Take away a directory whose process was killed before the settings, a run's first file, were whole."""
    if not path.exists():
        return
    entries = [*path.iterdir()]
    if any(entry.name != lock.FILE and not LEFTOVER.fullmatch(entry.name) for entry in entries):
        raise RunError(f"{path}: is no run; delete it, or choose another --out")
    for entry in entries:
        entry.unlink(missing_ok=True)
    storage.remove_directory(path)
