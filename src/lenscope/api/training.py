"""Verbs that train a run, resume it, and verify what its directory holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscope.api.data import is_elsewhere, load, load_own, location_of
from lenscope.config import resolve
from lenscope.data.dataset import Splits, held_out_count
from lenscope.data.fit import fit_splits
from lenscope.runs.run import Run, find_run, locate_run

if TYPE_CHECKING:
    from lenscope.api.data import RunLike, SplitsLike
    from lenscope.config import TrainConfig
    from lenscope.pytorch.ranks import ProcessGroup
    from lenscope.runs.record import Watcher
    from lenscope.runs.verify import Finding

HELD_OUT = 0.2  # of the training images, where the data have no others


def train(  # noqa: PLR0913 - all but the data by name
    data: SplitsLike | None = None,
    *,
    out: str | Path | None = None,
    progress: bool | Watcher = True,
    data_dir: str | Path | None = None,
    config: TrainConfig | None = None,
    ranks: ProcessGroup | None = None,
    **settings: Any,
) -> Run:
    """Train a network and record everything about it in a run directory.

    Args:
        data: splits from `load`, or a name, a folder or arrays as for `load`; by default the config's data (MNIST). If
            they have only training images, 0.2 of them are held out for validation unless `validation` is given.
        out: the run's directory, which must not exist yet; by default the next free one under `runs/`.
        progress: show a progress bar and one line per epoch on stderr, or in a notebook the loss and accuracy curves;
            or a callable that takes events and has a method `close`.
        data_dir: as for `load`.
        config: all settings; by default the lecture's recipe.
        ranks: the group of processes that train together, in the first of them (docs/scale.md).
        settings: fields of `TrainConfig` that override the config: `epochs=10, lr=1e-3`.

    Returns:
        The finished run.

    Raises:
        UsageError: a wrong setting, or an `out` that exists.
        DataError: data that cannot be used.
        NonFiniteError: the loss became NaN or infinite; the run directory holds the last finite weights.
        StorageError: a file could not be written.
        RankLostError: another rank has ended; the run can be opened and resumed.
        Interrupted: Ctrl-C or SIGTERM; the run can be opened and resumed.
    """
    from lenscope.runs.record import record_run

    config = (config or resolve()).with_settings(**settings)
    if isinstance(data, Splits):
        if data.fit and config.fit == "squeeze":  # the default
            config = config.with_settings(fit=data.fit)
        data = fit_splits(data, config.fit)
    else:
        place, skip = config.data if data is None else data, config.skip_unreadable
        data = load(place, data_dir=data_dir, skip_unreadable=skip, fit=config.fit, progress=progress is True)
    if data.skipped:  # so that the run is opened with the same images
        config = config.with_settings(skip_unreadable=True)
    if config.init_from:
        config = config.with_settings(init_from=str(locate_run(config.init_from)))
    config = _with_default_validation(config, data, say_so=progress is True).with_settings(data=location_of(data))
    return record_run(config, data, Path(out) if out else None, _watcher(progress), ranks)


def resume(  # noqa: PLR0913 - all but the run by name
    run: RunLike,
    *,
    data: SplitsLike | None = None,
    epochs: int | None = None,
    progress: bool | Watcher = True,
    data_dir: str | Path | None = None,
    ranks: ProcessGroup | None = None,
) -> Run:
    """Resume a run that was interrupted, killed or failed, or train a finished run for more epochs.

    Training resumes from the newest intact checkpoint, also in the middle of an epoch, and ends with the bytes of an
    uninterrupted run, except for times. If something that decides bytes has changed, such as the engine, the
    instruction set or a version, the run says so, and `environment.json` records it.

    Args:
        run: the run, its directory or its name; its own settings are used.
        data: the data that it was trained on: splits, or a name, a folder or arrays as for `load`; by default read from
            their recorded place, which arrays do not have.
        epochs: the new total of epochs; more than before only with a constant learning rate.
        progress: as for `train`.
        data_dir: as for `load`.
        ranks: as for `train`; their number may differ from before.

    Returns:
        The finished run.

    Raises:
        UsageError: a finished run, or an impossible number of epochs.
        RunError: not a run; a run that another process writes; data that differ from the run's; or a run that is
            broken beyond its checkpoints.
        DataError: data that cannot be used, or that were moved.
        NonFiniteError, StorageError, RankLostError, Interrupted: as for `train`.
    """
    from lenscope.runs.record import resume_run
    from lenscope.runs.resume import settings_to_resume

    path = run.path if isinstance(run, Run) else locate_run(run)
    config = settings_to_resume(path, epochs)
    splits = load_own(config, data_dir, data, progress=progress is True)
    if is_elsewhere(data, config):  # so that the run is opened with them
        config = config.with_settings(data=location_of(splits))
    return resume_run(path, splits, config, _watcher(progress), ranks)


def verify(  # noqa: PLR0913 - all but the run by name
    run: RunLike,
    *,
    data: SplitsLike | None = None,
    replay: bool = False,
    from_checkpoint: bool = False,
    progress: bool | Watcher = True,
    data_dir: str | Path | None = None,
) -> list[Finding]:
    """Check a run directory; returns one finding per file.

    Every file is compared with its size and SHA-256 in the manifest, and the files are checked for consistency: no
    epoch is missing, each training loss is the mean over its steps, the film runs from the initial to the final
    kernels, and every number is finite.

    Args:
        run: the run, its directory or its name.
        data: as for `resume`, for the replay.
        replay: if all files are sound, also train the run again without writing, and compare the results bit for bit.
        from_checkpoint: replay from the oldest checkpoint instead of from the beginning.
        progress: as for `train`, for the replay.
        data_dir: as for `load`.

    Returns:
        The findings. `sound` is None where a replay differs and something that decides bytes has changed.

    Raises:
        RunError: not a run directory, or a broken manifest; with `replay`, data that differ from the run's.
        DataError, UsageError: with `replay`, data, an engine or a device that is not available.
    """
    from lenscope.runs.verify import verify_run

    run = run if isinstance(run, Run) else find_run(run)
    found = verify_run(run)
    if not (replay or from_checkpoint) or not all(finding.sound for finding in found):
        return found
    from lenscope.runs.replay import replay_run

    splits = load_own(run.config, data_dir, data, progress=progress is True)
    return found + replay_run(run, splits, _watcher(progress), from_checkpoint=from_checkpoint)


def _with_default_validation(config: TrainConfig, splits: Splits, *, say_so: bool) -> TrainConfig:
    """The settings with what is held out by default: a part of training images that are alone, which is said."""
    if config.validation is not None or splits.validation is not None:
        return config
    count = held_out_count(HELD_OUT, len(splits.train))
    if splits.test is not None or not count:
        return config.with_settings(validation=0)
    if say_so:
        from lenscope.watch.screen import Screen, say

        share = f"{100 * HELD_OUT:g} %{' of each class' if config.stratify else ''}, {count:,} of {len(splits.train):,}"
        say(Screen(), f"no validation or test images: {share}, are held out; --validation 0 trains on all")
    return config.with_settings(validation=HELD_OUT)


def _watcher(progress: Watcher | bool) -> Watcher | None:  # noqa: FBT001 - as `train` has it
    from lenscope.watch.notebook import NotebookWatcher, in_notebook

    if not isinstance(progress, bool):
        return progress
    if not progress:
        return None
    if in_notebook():
        return NotebookWatcher()
    from lenscope.watch.screen import Screen
    from lenscope.watch.terminal import TerminalWatcher

    return TerminalWatcher(Screen())
