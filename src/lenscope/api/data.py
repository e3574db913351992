"""Data for the public verbs: loaded by name or path, found again for a run, and the split that a run is measured on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscope.data.dataset import Dataset, Splits
from lenscope.data.fit import fit_images, fit_splits
from lenscope.errors import DataError

if TYPE_CHECKING:
    from typing import TypeAlias

    from lenscope.config import FitName, TrainConfig
    from lenscope.runs.run import Run

    RunLike: TypeAlias = Run | str | Path  # a run, its directory, its name in runs/, or "last"
    Arrays: TypeAlias = tuple[Any, ...] | list[Any]  # (images, labels), or two or three such pairs
    SplitsLike: TypeAlias = Splits | str | Path | Arrays  # data from `load`, or its first argument
    DataLike: TypeAlias = Dataset | SplitsLike  # one split, or data of which one is chosen


def load(  # noqa: PLR0913 - all but the data by name
    data: str | Path | Arrays = "mnist",
    *,
    data_dir: str | Path | None = None,
    skip_unreadable: bool = False,
    fit: FitName = "squeeze",
    pack: bool = False,
    progress: bool = False,
) -> Splits:
    """Load a data set by its name, from a folder or from arrays; a named set that is missing is downloaded and checked.

    Arrays are `(images, labels)`, or `((images, labels), (images, labels))` for train and test, as Keras loads them, or
    three such pairs for train, validation and test. They may be of numpy, PyTorch (on any device) or pandas, or lists.
    Images have the shape (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels; they are bytes, whole numbers
    from 0 to 255, floats from 0 to 1 (which are multiplied by 255 and rounded) or bool. Labels, of shape (N,) or
    (N, 1), are whole numbers from 0 or text. The result's `notes` says what was converted.

    A large set is not read into memory: its images are mapped from its files, or from a pack that is made in the cache
    the first time.

    Args:
        data: a name such as `mnist`, a folder of IDX files or of `train/<class>/*.png`, or arrays.
        data_dir: another folder in which the files of a named set are looked for.
        skip_unreadable: leave out pictures of a folder that cannot be read; the result's `skipped` names them.
        fit: how images that are not square become square: `squeeze` changes their shape, `pad` adds bars, `crop` keeps
            their centre.
        pack: make a pack even of a small set.
        progress: show the progress of packing on stderr, and afterwards `notes` and what was left out.

    Returns:
        The splits, each with uint8 images of shape (N, C, H, W).

    Raises:
        UsageError: an unknown name.
        DataError: files that are broken or could not be fetched; arrays that are no images or labels.
        StorageError: a large set does not fit into the cache.
    """
    from lenscope import native
    from lenscope.data.load import load as load_data

    native.report_cut_files()  # from here on large sets are mapped files
    load_it = partial(load_data, data, data_dir=data_dir, skip_unreadable=skip_unreadable, fit=fit, pack=pack)
    if not progress:
        return load_it()
    from lenscope.watch.packing import PackingBar

    with PackingBar() as bar:
        splits = load_it(progress=bar)
    bar.note(splits)
    return splits


def load_own(
    config: TrainConfig, data_dir: str | Path | None, data: SplitsLike | None = None, *, progress: bool = False
) -> Splits:
    """Load the data that settings name, or `data` instead, without the images that the settings leave out, and square.

    Raises:
        DataError: the data were moved, or are neither a named set nor a folder; and as for `load`.
        UsageError, StorageError: as for `load`.
    """
    if isinstance(data, Splits):
        return fit_splits(data, config.fit)
    if not is_elsewhere(data, config):
        _require_place(config.data)
    place = config.data if data is None else data
    return load(place, data_dir=data_dir, skip_unreadable=config.skip_unreadable, fit=config.fit, progress=progress)


def is_elsewhere(data: SplitsLike | None, config: TrainConfig) -> bool:
    """Whether these are other data than those that the settings name."""
    return data is not None and not (isinstance(data, str) and data == config.data)


def _require_place(data: str) -> None:
    """Raise DataError where the name of a run's data is neither a named set nor a path that exists."""
    from lenscope.data.published.catalogue import CATALOGUE

    with suppress(OSError):  # a name that is too long
        if data.lower() in CATALOGUE or Path(data).exists():
            return
    moved = "this folder does not exist any more"
    unknown = "neither a named data set nor a folder; the run was trained on arrays of your own"
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
        return fit_images(data, run.config.fit)
    if isinstance(data, tuple | list):
        from lenscope.data.arrays import load_arrays

        data = load_arrays(data, run.data.classes)
    found = load_own(run.config, data_dir, data)
    if found.hashes == run.data.hashes:
        held_out = run.config.validation, run.config.seed, run.config.train_images
        return found.to_measure(*held_out, stratify=run.config.stratify)
    if data is None:
        raise DataError(
            f"{run.config.data}: the images are not those that {run.name} was trained on; pass those with --data"
        )
    measured = found.to_measure()
    return replace(measured, split="") if measured is found.train else measured  # not what the run was trained on
