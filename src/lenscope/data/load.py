"""A data set by its name, or from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lenscope.data.catalogue import CATALOGUE, find_entry
from lenscope.data.dataset import Dataset, Splits
from lenscope.data.entry import Opened
from lenscope.data.fetch import fetch, find_file, locate, open_verified
from lenscope.data.folder import LAYOUT, load_folder
from lenscope.data.idx import check_images, check_labels, read_idx
from lenscope.errors import DataError, UsageError, unknown_name

if TYPE_CHECKING:
    from lenscope.data.entry import DataFile, Entry


def load(name_or_path: str | Path, *, data_dir: str | Path | None = None, download: bool = True) -> Splits:
    """The images and labels of a data set.

    A known name comes first: write `./mnist` for a folder of that name. Of a folder, IDX files named as MNIST's are
    read, their hashes unknown, the test part optional; else images in the layout that `load_folder` tells.

    EMNIST's files hold each image transposed; here it stands upright. Its letters are numbered from 1 in the files,
    from 0 here. Of QMNIST's rows of eight numbers, the first is the label.

    Args:
        name_or_path: a name of the catalogue, upper or lower case, or a folder.
        data_dir: where to look for a known set's files first.
        download: whether files that are not on this computer may be fetched.

    Returns:
        Train and test: images uint8 (N, C, H, W); labels uint8 (N,), or int64 from a folder of images.

    Raises:
        UsageError: an unknown name, a file where a folder is expected, or a `data_dir` that is not a folder.
        IntegrityError: a file of a known set that has other bytes than were published.
        DataError: a file that cannot be read, or does not hold what it should; a set that could not be fetched.
    """
    if isinstance(name_or_path, str) and name_or_path.lower() in CATALOGUE:
        return _load_entry(find_entry(name_or_path), Path(data_dir) if data_dir else None, download=download)
    path = Path(name_or_path)
    if path.is_dir():
        has_idx = any(find_file(path, name) for name in _idx_names("train") + _idx_names("t10k"))
        return _load_idx_folder(path) if has_idx else load_folder(path)
    if path.exists():
        raise UsageError(f"{path}: a file; expected a folder with {LAYOUT}")
    raise UsageError(f"{unknown_name('data set', str(name_or_path), CATALOGUE)}; or give a folder with {LAYOUT}")


def _load_entry(entry: Entry, data_dir: Path | None, *, download: bool) -> Splits:
    paths = fetch(entry.name, data_dir) if download else locate(entry.name, data_dir)
    if not paths:
        raise DataError(f"{entry.name}: not on this computer; run 'lenscope data fetch {entry.name}' or use --data-dir")

    def open_file(file: DataFile) -> Opened:
        return Opened(open_verified(paths[file.name], file, entry.name), str(paths[file.name]))

    train, test = (
        Dataset(images, labels, entry.classes, entry.name, source=entry.home, licence=entry.licence)
        for images, labels in entry.reader.read(open_file, len(entry.classes))
    )
    return Splits(train, test=test)


def _load_idx_folder(folder: Path) -> Splits:
    """IDX files named as MNIST's; the classes are 0 to the largest label of the training part."""
    train = _idx_part(folder, "train", ())
    has_test = any(find_file(folder, name) for name in _idx_names("t10k"))
    return Splits(train, test=_idx_part(folder, "t10k", train.classes) if has_test else None)


def _idx_part(folder: Path, part: str, classes: tuple[str, ...]) -> Dataset:
    images_path, labels_path = (_required(folder, name) for name in _idx_names(part))
    images, labels = read_idx(images_path), read_idx(labels_path)
    check_images(images, str(images_path))
    classes = classes or tuple(str(number) for number in range(int(labels.max()) + 1))
    check_labels(labels, images, len(classes), str(labels_path))
    return Dataset(images[:, None], labels, classes, folder.resolve().name, source=str(folder.resolve()))


def _idx_names(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"


def _required(folder: Path, name: str) -> Path:
    path = find_file(folder, name)
    if path is None:
        raise DataError(f"{folder}: no {name} in it, packed or not; expected images and labels of each part")
    return path
