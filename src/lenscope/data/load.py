"""Loading a data set by its name, from a folder, or from arrays."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenscope.data import packs
from lenscope.data.arrays import load_arrays
from lenscope.data.checks import MOST_CLASSES, check_labels
from lenscope.data.dataset import Dataset, Splits
from lenscope.data.fit import fit_splits, shape_notes
from lenscope.data.folders.layout import LAYOUT
from lenscope.data.formats.idx import check_images, is_gzip, read_head, read_idx
from lenscope.data.formats.reader import Opened
from lenscope.data.published.catalogue import CATALOGUE, find_entry
from lenscope.data.published.fetch import fetch
from lenscope.data.published.locate import find_file, locate
from lenscope.data.published.verify import open_verified
from lenscope.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lenscope.config import FitName
    from lenscope.data.folders.folder import Progress
    from lenscope.data.published.entry import DataFile, Entry


IDX_SPLITS = ("train", "t10k", "test")  # the last two name the same split


def load(  # noqa: PLR0913 - options, each by its name
    name_or_path: str | Path | Any,
    *,
    data_dir: str | Path | None = None,
    download: bool = True,
    skip_unreadable: bool = False,
    pack: bool = False,
    fit: FitName = "squeeze",
    progress: Progress = lambda _what, _done, _of: None,
) -> Splits:
    """The images and labels of a data set.

    A known name has precedence: write `./mnist` for a folder of that name. In a folder, IDX files named like MNIST's
    are read, without known hashes (the test split is optional, `t10k-…` or `test-…`); else images in the layout that
    `load_folder` describes.

    EMNIST's files contain each image transposed; here it is upright. Its letters are numbered from 1 in the files,
    from 0 here. The first of the eight numbers in each row of QMNIST's labels is the label.

    A large set is not read into memory. Uncompressed IDX files are mapped in place; for any other large set a pack is
    made in the cache, once.

    Args:
        name_or_path: a name of the catalogue, upper or lower case, or a folder; or arrays as for `load_arrays`.
        data_dir: the folder to look for a known set's files in first.
        download: whether files that are not on this computer may be downloaded.
        skip_unreadable: leave out pictures of a folder that cannot be read instead of raising an error.
        pack: make a pack in any case.
        fit: how images that are not square become square; see `fit_square`.
        progress: called with a description, how many files are done, and how many there are, while a folder is packed.

    Returns:
        Train and test, and validation from a folder that has it: images uint8 (N, C, H, W); labels uint8 (N,), or int64
        from a folder of images.

    Raises:
        UsageError: an unknown name, a file where a folder is expected, or a `data_dir` that is not a folder or
            that is given with a folder.
        IntegrityError: a file of a known set differs from the published one.
        DataError: a file cannot be read or has another content than expected; a set could not be downloaded.
        StorageError: a large set needs space in the cache, and there is none.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        return fitted(load_arrays(name_or_path), fit)
    if isinstance(name_or_path, str) and name_or_path.lower() in CATALOGUE:
        folder = Path(data_dir) if data_dir else None
        return fitted(_load_entry(find_entry(name_or_path), folder, download=download, pack=pack), fit)
    path = Path(name_or_path)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a name is too long
        if data_dir:
            raise UsageError(f"--data-dir {data_dir}: requires a named data set, got the folder {path}; leave it out")
        if any(file for split in IDX_SPLITS for file in _files(path, split)):
            return fitted(_load_idx_folder(path, pack=pack), fit)
        from lenscope.data.folders.folder import load_folder

        return load_folder(path, skip_unreadable=skip_unreadable, pack=pack, fit=fit, progress=progress)
    if os.path.exists(path):  # noqa: PTH110 - as above
        raise UsageError(f"{path}: a file; expected a folder with {LAYOUT}")
    raise UsageError(_absent(name_or_path, path))


def _absent(given: object, path: Path) -> str:
    """The message for what is neither a data set nor a path that exists, with the nearest one that is."""
    text = str(given)
    if isinstance(given, str) and text == path.name:
        near = get_close_matches(text.lower(), CATALOGUE, n=1)
        if near:
            return f"unknown data set {text[:60]!r}; did you mean {near[0]!r}?"
        sibling = _sibling(path)
        hint = f"; did you mean {sibling}?" if sibling else ""
        return f"{text[:60]!r}: not a data set ('lenscope data list' lists them) and no folder of that name{hint}"
    sibling = _sibling(path)
    hint = f"did you mean {sibling}?" if sibling else "give the path of a folder of pictures"
    return f"{text[:200]}: no such folder; {hint}"


def _sibling(path: Path) -> Path | None:
    """The folder beside a path whose name is nearest."""
    with suppress(OSError):
        near = get_close_matches(path.name, [entry.name for entry in os.scandir(path.parent) if entry.is_dir()], n=1)
        return path.with_name(near[0]) if near else None
    return None


def fitted(splits: Splits, fit: FitName) -> Splits:
    """Splits whose images have one size, as squares, with a remark where they will be squeezed."""
    return replace(fit_splits(splits, fit), notes=(*splits.notes, *shape_notes(splits, fit)))


def _load_entry(entry: Entry, data_dir: Path | None, *, download: bool, pack: bool) -> Splits:
    paths = fetch(entry.name, data_dir) if download else locate(entry.name, data_dir)
    if not paths:
        raise DataError(f"{entry.name}: not on this computer; run 'lenscope data fetch {entry.name}' or use --data-dir")
    files = [paths[file.name] for file in entry.files]

    def open_file(file: DataFile) -> Opened:
        return Opened(open_verified(paths[file.name], file, entry.name), str(paths[file.name]))

    def read() -> Splits:
        train, test = (
            Dataset(images, labels, entry.classes, entry.name, source=entry.home, licence=entry.licence)
            for images, labels in entry.read(map(open_file, entry.files))
        )
        return Splits(train, test=test)

    return _packed(files, read, (entry.name, entry.home, entry.licence), pack=pack)


def _load_idx_folder(folder: Path, *, pack: bool) -> Splits:
    """IDX files named like MNIST's; the classes are 0 to the largest label of the training split."""
    tests = [split for split in IDX_SPLITS[1:] if any(_files(folder, split))]
    if len(tests) > 1:
        raise DataError(
            f"{folder}: has two test splits, {' and '.join(f'{split}-…' for split in tests)}; move one away"
        )
    files = [_required(folder, name) for split in ("train", *tests) for name in _idx_names(split)]

    def read() -> Splits:
        train = _idx_split(folder, "train", ())
        return Splits(train, test=_idx_split(folder, tests[0], train.classes) if tests else None)

    about = (folder.resolve().name, str(folder.resolve()), "")
    in_place = not any(is_gzip(read_head(file)) for file in files)
    return _packed(files, read, about, pack=pack, in_place=in_place)


def _packed(
    files: Sequence[Path],
    read: Callable[[], Splits],
    about: tuple[str, str, str],
    *,
    pack: bool,
    in_place: bool = False,
) -> Splits:
    """The splits in these files: from their pack, or as they are read; a large set is then packed, or mapped in place.

    Args:
        files: all files of the set.
        read: reads them.
        about: name, source and licence of the set.
        pack: make a pack in any case.
        in_place: whether the files contain the images as plain bytes.
    """
    listing = packs.Listing(about[0])
    for file in files:
        found = file.stat()
        listing.add(str(file.resolve()), found.st_size, (found.st_mtime_ns, found.st_ctime_ns))
    own = packs.Pack(packs.folder_of(f"{about[0]}\0{files[0].resolve()}"), listing.key, *about)
    splits = packs.open_pack(own)
    if splits is not None:
        return splits
    splits = read()
    if pack or (splits.is_large and not in_place):
        return packs.pack_splits(own, splits)
    return packs.keep_copies(own, splits) if splits.is_large else splits


def _idx_split(folder: Path, split: str, classes: tuple[str, ...]) -> Dataset:
    images_path, labels_path = (_required(folder, name) for name in _idx_names(split))
    images, labels = read_idx(images_path), read_idx(labels_path, dtypes=("uint8", "int8", "int16", "int32"))
    check_images(images, str(images_path))
    if labels.max() >= MOST_CLASSES:
        raise DataError(f"{labels_path}: labels up to {labels.max()}, expected 0 to {MOST_CLASSES - 1}; renumber them")
    classes = classes or tuple(str(number) for number in range(max(0, int(labels.max())) + 1))
    check_labels(labels, images, len(classes), str(labels_path))
    return Dataset(images[:, None], labels, classes, folder.resolve().name, source=str(folder.resolve()))


def _files(folder: Path, split: str) -> list[Path | None]:
    return [find_file(folder, name) for name in _idx_names(split)]


def _idx_names(split: str) -> tuple[str, str]:
    return f"{split}-images-idx3-ubyte.gz", f"{split}-labels-idx1-ubyte.gz"


def _required(folder: Path, name: str) -> Path:
    path = find_file(folder, name)
    if path is None:
        raise DataError(f"{folder}: no {name} in it, compressed or not; expected images and labels of each split")
    return path
