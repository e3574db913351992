"""A data set by its name, or from a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lenscope.data import packs
from lenscope.data.catalogue import CATALOGUE, find_entry
from lenscope.data.checks import check_labels
from lenscope.data.dataset import Dataset, Splits
from lenscope.data.entry import Opened
from lenscope.data.fetch import fetch, find_file, locate, open_verified
from lenscope.data.idx import check_images, is_gzip, read_head, read_idx
from lenscope.data.listing import LAYOUT
from lenscope.errors import DataError, UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lenscope.data.entry import DataFile, Entry
    from lenscope.data.packing import Tell


IDX_PARTS = ("train", "t10k", "test")  # the last two are names of the same part
MOST_CLASSES = 100_000


def load(  # noqa: PLR0913 - options, each by its name
    name_or_path: str | Path,
    *,
    data_dir: str | Path | None = None,
    download: bool = True,
    skip_unreadable: bool = False,
    pack: bool = False,
    tell: Tell = lambda _what, _done, _of: None,
) -> Splits:
    """The images and labels of a data set.

    A known name comes first: write `./mnist` for a folder of that name. Of a folder, IDX files named as MNIST's are
    read (the test part, which is optional, as `t10k-…` or `test-…`), their hashes unknown; else images in the layout
    that `load_folder` tells.

    EMNIST's files hold each image transposed; here it stands upright. Its letters are numbered from 1 in the files,
    from 0 here. Of QMNIST's rows of eight numbers, the first is the label.

    A large set is not read into memory. Unpacked IDX files are mapped where they lie; of any other large set a pack is
    made in the cache, once.

    Args:
        name_or_path: a name of the catalogue, upper or lower case, or a folder.
        data_dir: where to look for a known set's files first.
        download: whether files that are not on this computer may be fetched.
        skip_unreadable: leave out pictures of a folder that cannot be read, instead of refusing it.
        pack: make a pack in any case.
        tell: called with what is being done, how much of it is done, and of how much, while a folder is packed.

    Returns:
        Train and test: images uint8 (N, C, H, W); labels uint8 (N,), or int64 from a folder of images.

    Raises:
        UsageError: an unknown name, a file where a folder is expected, or a `data_dir` that is not a folder.
        IntegrityError: a file of a known set that has other bytes than were published.
        DataError: a file that cannot be read, or does not hold what it should; a set that could not be fetched.
        StorageError: a large set needs room in the cache, and there is none.
    """
    if isinstance(name_or_path, str) and name_or_path.lower() in CATALOGUE:
        folder = Path(data_dir) if data_dir else None
        return _load_entry(find_entry(name_or_path), folder, download=download, pack=pack)
    path = Path(name_or_path)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a name is too long
        if any(file for part in IDX_PARTS for file in _files(path, part)):
            return _load_idx_folder(path, pack=pack)
        from lenscope.data.folder import load_folder

        return load_folder(path, skip_unreadable=skip_unreadable, pack=pack, tell=tell)
    if os.path.exists(path):  # noqa: PTH110 - as above
        raise UsageError(f"{path}: a file; expected a folder with {LAYOUT}")
    if len(path.parts) > 1:
        raise UsageError(f"{path}: no such folder; expected one with {LAYOUT}")
    raise UsageError(f"{unknown_name('data set', str(name_or_path), CATALOGUE)}; or give a folder with {LAYOUT}")


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
            for images, labels in entry.reader.read(open_file, len(entry.classes))
        )
        return Splits(train, test=test)

    return _packed(files, read, (entry.name, entry.home, entry.licence), pack=pack)


def _load_idx_folder(folder: Path, *, pack: bool) -> Splits:
    """IDX files named as MNIST's; the classes are 0 to the largest label of the training part."""
    tests = [part for part in IDX_PARTS[1:] if any(_files(folder, part))]
    if len(tests) > 1:
        raise DataError(f"{folder}: has two test parts, {' and '.join(f'{part}-…' for part in tests)}; move one away")
    files = [_required(folder, name) for part in ("train", *tests) for name in _idx_names(part)]

    def read() -> Splits:
        train = _idx_part(folder, "train", ())
        return Splits(train, test=_idx_part(folder, tests[0], train.classes) if tests else None)

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
    """What these files hold: from its pack, or as it is read; a large set is packed then, or left where it lies.

    Args:
        files: all of them.
        read: what reads them.
        about: name, source and licence of the set.
        pack: make a pack in any case.
        in_place: whether a large set lies in these files as it is.
    """
    listing = packs.Listing(about[0])
    for file in files:
        found = file.stat()
        listing.add(str(file.resolve()), found.st_size, (found.st_mtime_ns, found.st_ctime_ns))
    key = listing.key
    splits = packs.open_pack(key, *about)
    if splits is not None:
        return splits
    splits, origin = read(), str(files[0].resolve())
    if pack or (splits.is_large and not in_place):
        return packs.keep(key, splits, origin)
    return packs.attach(key, splits, origin) if splits.is_large else splits


def _idx_part(folder: Path, part: str, classes: tuple[str, ...]) -> Dataset:
    images_path, labels_path = (_required(folder, name) for name in _idx_names(part))
    images, labels = read_idx(images_path), read_idx(labels_path, dtypes=("uint8", "int8", "int16", "int32"))
    check_images(images, str(images_path))
    if labels.max() >= MOST_CLASSES:
        raise DataError(f"{labels_path}: labels up to {labels.max()}, expected 0 to {MOST_CLASSES - 1}; renumber them")
    classes = classes or tuple(str(number) for number in range(max(0, int(labels.max())) + 1))
    check_labels(labels, images, len(classes), str(labels_path))
    return Dataset(images[:, None], labels, classes, folder.resolve().name, source=str(folder.resolve()))


def _files(folder: Path, part: str) -> list[Path | None]:
    return [find_file(folder, name) for name in _idx_names(part)]


def _idx_names(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"


def _required(folder: Path, name: str) -> Path:
    path = find_file(folder, name)
    if path is None:
        raise DataError(f"{folder}: no {name} in it, packed or not; expected images and labels of each part")
    return path
