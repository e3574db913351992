"""Data for the public verbs: loaded by name or path, found again for a run, and the split that a run is measured on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lenscope.data.dataset import Dataset, Splits
from lenscope.errors import DataError

if TYPE_CHECKING:
    from typing import TypeAlias

    from lenscope.config import TrainConfig
    from lenscope.runs.run import Run

    RunLike: TypeAlias = Run | str | Path  # a run, or its directory
    SplitsLike: TypeAlias = Splits | str | Path  # data from `load`, or its first argument
    DataLike: TypeAlias = Dataset | SplitsLike  # one split, or data of which one is chosen


def load(
    data: str | Path = "mnist",
    *,
    data_dir: str | Path | None = None,
    skip_unreadable: bool = False,
    pack: bool = False,
    progress: bool = False,
) -> Splits:
    """Load a data set by its name or by the path of a folder; a named set is downloaded and checked if it is missing.

    A large set is not read into memory: its images are mapped from its files, or from a pack that is made in the cache
    the first time.

    Args:
        data: a name such as `mnist`, or a folder of IDX files or of `train/<class>/*.png`.
        data_dir: another folder in which the files of a named set are looked for.
        skip_unreadable: leave out pictures of a folder that cannot be read; the result's `skipped` names them.
        pack: make a pack even of a small set.
        progress: show the progress of packing on stderr, and what was left out.

    Returns:
        The splits, each with uint8 images of shape (N, C, H, W).

    Raises:
        UsageError: an unknown name.
        DataError: files that are broken or could not be fetched.
        StorageError: a large set does not fit into the cache.
    """
    from lenscope import native
    from lenscope.data.load import load as load_data

    native.report_cut_files()  # from here on large sets are mapped files
    if not progress:
        return load_data(data, data_dir=data_dir, skip_unreadable=skip_unreadable, pack=pack)
    from lenscope.watch.packing import PackingBar

    with PackingBar() as bar:
        splits = load_data(data, data_dir=data_dir, skip_unreadable=skip_unreadable, pack=pack, progress=bar)
    bar.note(splits)
    return splits


def load_own(
    config: TrainConfig, data_dir: str | Path | None, data: SplitsLike | None = None, *, progress: bool = False
) -> Splits:
    """Load the data that settings name, or `data` instead, without the images that the settings leave out.

    Raises:
        DataError: the data were moved, or are neither a named set nor a folder; and as for `load`.
        UsageError, StorageError: as for `load`.
    """
    if isinstance(data, Splits):
        return data
    if data in (None, config.data):
        _require_place(config.data)
    return load(data or config.data, data_dir=data_dir, skip_unreadable=config.skip_unreadable, progress=progress)


def _require_place(data: str) -> None:
    """Raise DataError where the name of a run's data is neither a named set nor a path that exists."""
    from lenscope.data.published.catalogue import CATALOGUE

    with suppress(OSError):  # a name that is too long
        if data.lower() in CATALOGUE or Path(data).exists():
            return
    moved = "this folder does not exist any more"
    unknown = "neither a named data set nor a folder; the run was trained on data of your own"
    what = moved if Path(data).is_absolute() else unknown
    raise DataError(f"{data[:200]}: {what}; pass the run's data with --data FOLDER, or in Python with data=")


def location_of(splits: Splits) -> str:
    """Where `load` finds these data again: a known name, else the path that they came from."""
    from lenscope.data.published.catalogue import CATALOGUE

    return splits.name if splits.name in CATALOGUE else splits.train.source or splits.name


def split_to_measure(run: Run, data: DataLike | None = None, data_dir: str | Path | None = None) -> Dataset:
    """The labelled images to measure a run on: of the run's own data the test split, else what training held out.

    Raises:
        DataError: data that cannot be used, or that are not the data that the run was trained on.
    """
    if isinstance(data, Dataset):
        return data
    found = load_own(run.config, data_dir, data)
    if (found.train.sha256, found.test and found.test.sha256) == (run.data.train_sha256, run.data.test_sha256):
        held_out = run.config.validation, run.config.seed, run.config.train_images
        return found.to_measure(*held_out, stratify=run.config.stratify)
    if data is None:
        raise DataError(
            f"{run.config.data}: the images are not those that {run.name} was trained on; pass those with --data"
        )
    return found.to_measure()
