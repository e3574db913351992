"""Tables of labels: CSV files that name pictures and their classes, one per row."""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from lenscope.data.checks import normal
from lenscope.errors import DataError
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

# Names of columns as they are compared, in lower case without other characters; the first that is there counts.
FILE_COLUMNS = ("filename", "file", "filepath", "path", "imagename", "imagepath", "imageid", "image", "id", "idcode")
LABEL_COLUMNS = ("classname", "label", "class", "category", "target", "species", "breed", "diagnosis", "dx")
SPLIT_COLUMNS = ("split", "subset", "partition")
SAMPLE = 200  # lines that show whether a table labels the pictures
IMAGE_WORDS = {
    "images",
    "image",
    "imgs",
    "img",
    "jpg",
    "png",
    "pictures",
    "photos",
}  # of names of folders, not of classes
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MAX_BYTES = 2**26  # about a million rows, which take 500 MB


class Labels(NamedTuple):
    """What tables say.

    Attributes:
        rows: for each split, the name of each picture's class.
        classes: of the training pictures.
        problems: rows and pictures that do not belong together, each with its reason.
        notes: what was left out, one line each.
    """

    rows: dict[str, dict[str, str]]
    classes: set[str]
    problems: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def read_labels(root: Path, parts: dict[str, str], tables: list[Path], pictures: list[str]) -> Labels:
    """The labels of pictures.

    The split of a row is that of its column `split`; or of the folder or the name of its table; or of the part in which
    the picture is; otherwise train.

    Args:
        root: the folder.
        parts: the folder of each split, relative to the root.
        tables: CSV files in the root or in the folder of a split.
        pictures: all pictures in the folder, relative to the root.

    Raises:
        DataError: a table that cannot be read, or none with the expected columns.
    """
    names, said = _Names(pictures, parts), dict[str, tuple[str, str]]()
    problems, without_labels = list[tuple[str, str]](), list[str]()
    for table in tables:
        name, base = table.relative_to(root).as_posix(), table.parent.relative_to(root).as_posix()
        header, lines = _read(table)
        columns = _columns(header, one_hot=table.name == "_classes.csv")
        if columns is None or _is_form(table):
            without_labels.append(f"{name} has the columns {', '.join(header)[:200] or 'none'}")
            continue
        own = next((split for split, folder in parts.items() if folder == base), None) or split_named(table.stem)
        for number, line in lines:
            file, label, cell = columns.read(line)
            try:
                path = names.find(file, "" if base == "." else f"{base}/", split_named(cell) or own)
                said[path] = _checked(path, label, cell, own or names.split_of(path) or "train", said.get(path))
            except (LookupError, ValueError) as error:
                problems.append((f"{name} row {number}", str(error.args[0])))
    rows = dict[str, dict[str, str]]()
    for path, (split, label) in said.items():
        rows.setdefault(split, {})[path] = label
    if "train" not in rows and not problems:
        raise DataError(
            f"{root}: {'; '.join(without_labels) or 'its tables have no rows of train'}; expected a file column "
            f"({', '.join(FILE_COLUMNS)}) and a label column ({', '.join(LABEL_COLUMNS)}); rename yours"
        )
    notes = _without_label(said, pictures)
    notes += [f"{folder} has no labels; it is ignored" for split, folder in parts.items() if rows and split not in rows]
    return Labels(rows, set(rows.get("train", {}).values()), tuple(problems), tuple(notes))


def _checked(path: str, label: str, cell: str, split: str, before: tuple[str, str] | None) -> tuple[str, str]:
    """Split and label of a row, given what a row before said of the same picture; raises ValueError."""
    if cell and not split_named(cell):
        raise ValueError(f"split {cell}; expected train, val or test")
    if not label:
        raise ValueError("not exactly one label; give each picture one")
    found = split_named(cell) or split, normal(label)
    if before not in (None, found):
        raise ValueError(f"another {'split' if before and before[1] == found[1] else 'label'} for {path}; keep one")
    return found


def labels_pictures(table: Path, pictures: list[str]) -> bool:
    """Whether a table has columns for files and labels by name, and one of its first rows names a picture."""
    try:
        header, lines = _read(table, SAMPLE)
    except DataError:
        return False
    columns = _columns(header, one_hot=False, by_name=True)
    if columns is None or _is_form(table):
        return False
    names = _Names(pictures, {})
    return any(names.knows(columns.read(line)[0]) for _, line in lines)


def split_named(text: str) -> str | None:
    """The split that is named by one of the words of a text such as `train_labels`."""
    return next((PARTS[word] for word in words(text) if word in PARTS), None)


def words(text: str) -> list[str]:
    """The words of a name, in lower case."""
    return re.split(r"[^a-z]+", text.lower())


class _Names:
    """The pictures of a folder by their paths, with the suffix or without it.

    Args:
        pictures: relative to the folder.
        parts: the folder of each split.
    """

    def __init__(self, pictures: list[str], parts: dict[str, str]) -> None:
        self._parts, self._paths = parts, set(pictures)
        self._stems = dict[str, str]()
        self._twins = set[str]()
        for path in pictures:
            stem = os.path.splitext(path)[0]  # noqa: PTH122 - a Path per file is slow
            if self._stems.setdefault(stem, path) != path:
                self._twins.add(stem)
        folders = sorted({path.split("/")[0] + "/" for path in pictures if "/" in path})
        images = [folder for folder in folders if not IMAGE_WORDS.isdisjoint(words(folder))]
        self._beside = (images, [folder for folder in folders if folder not in images])

    def split_of(self, path: str) -> str | None:
        """The split in whose folder a picture is."""
        return next((split for split, folder in self._parts.items() if path.startswith(f"{folder}/")), None)

    def knows(self, file: str) -> bool:
        """Whether a name means a picture, or several."""
        try:
            return bool(self.find(file, "", None))
        except LookupError:
            return False
        except ValueError:
            return True

    def find(self, file: str, base: str, split: str | None) -> str:
        """The path of a picture that a table in the folder `base` names.

        It is looked for in the folder of the split, in that of the table, then in those with pictures by their names,
        then in all others, then further down.

        Raises:
            ValueError: several pictures, or a file outside the folder.
            LookupError: none.
        """
        pure = PurePosixPath(file)
        if pure.is_absolute() or ".." in pure.parts:
            raise ValueError("its file is outside the folder")
        others = tuple(f"{folder}/" for name, folder in self._parts.items() if split and name != split)
        own = [f"{self._parts[split]}/"] if split in self._parts else []
        beside = ([place for place in places if not place.startswith(others)] for places in self._beside)
        tiers = ([path for place in places if (path := self._path(place + file))] for places in (own, [base], *beside))
        alike = self._alike.get(pure.name.lower(), [])
        further = [path for path in alike if not path.startswith(others) and _ends_with(path, file)]
        for found in (*tiers, further):
            if len(found) > 1:
                raise ValueError(f"{file} is in several folders, such as {' and '.join(found[:2])}; give the path")
            if found:
                return found[0]
        if alike and not any(_ends_with(path, pure.name) for path in alike):
            raise LookupError(f"no picture {file}; {alike[0]} differs in capitals, rename one")
        raise LookupError(f"no picture {file}; remove the row or add the picture")

    @cached_property
    def _alike(self) -> dict[str, list[str]]:
        """The paths by the names of files in lower case, with the suffix and without it."""
        found = defaultdict[str, list[str]](list)
        for path in sorted(self._paths):
            name = path.rpartition("/")[2].lower()
            for key in {name, os.path.splitext(name)[0]}:  # noqa: PTH122 - as above
                found[key].append(path)
        return found

    def _path(self, name: str) -> str | None:
        if name in self._paths:
            return name
        if name in self._twins:
            raise ValueError(f"two files are called {name}, apart from their endings; give the ending")
        return self._stems.get(name)


def _ends_with(path: str, file: str) -> bool:
    """Whether a path ends with a file's path, with the suffix or without it."""
    return f"/{path}".endswith(f"/{file}") or f"/{os.path.splitext(path)[0]}".endswith(f"/{file}")  # noqa: PTH122


def _is_form(table: Path) -> bool:
    """Whether this is Kaggle's form for answers, whose labels stand for nothing."""
    return "submission" in table.stem.lower()


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _without_label(labelled: Collection[str], pictures: list[str]) -> list[str]:
    """A note on the pictures that no row names, in the folders of those that a row names."""
    folders = {path.rpartition("/")[0] for path in labelled}
    others = [path for path in pictures if path not in labelled and path.rpartition("/")[0] in folders]
    count = counted(len(others), "picture has", "pictures have")
    return [f"{count} no label in the table, such as {others[0]}; not used"] if others else []


class _Columns(NamedTuple):
    """Where a row has its file, its label and its split; of one-hot rows, the names of the classes."""

    file: int
    label: int
    split: int
    one_hot: tuple[str, ...] = ()

    def read(self, line: list[str]) -> tuple[str, str, str]:
        """File, label and split of a row; an empty label unless it has exactly one."""
        if self.one_hot:
            ones = [name for name, cell in zip(self.one_hot, line[1:], strict=False) if cell.strip() == "1"]
            return line[0].strip(), ones[0] if len(ones) == 1 else "", ""
        file, label, split = (line[at].strip() if 0 <= at < len(line) else "" for at in self[:3])
        return file.replace("\\", "/").removeprefix("./"), label, split


def _columns(header: list[str], *, one_hot: bool, by_name: bool = False) -> _Columns | None:
    """The columns of a table; None if there is none for files or for labels.

    Args:
        header: their names.
        one_hot: after the files, there is one column per class.
        by_name: the only other column is not taken for the labels if its name does not say so.
    """
    names = [*map(_plain, header)]
    if one_hot:
        return _Columns(0, -1, -1, tuple(name.strip() for name in header[1:]))
    file, label, split = (
        next((names.index(name) for name in wanted if name in names), -1)
        for wanted in (FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS)
    )
    others = [at for at in range(len(names)) if at not in {file, split}]
    if label < 0 and len(others) == 1 and not by_name:
        label = others[0]
    return None if -1 in (file, label) else _Columns(file, label, split)


def _read(path: Path, most: int | None = None) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row with its line, of at most so many rows, of a CSV in UTF-8, with or without BOM."""
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: more than {MAX_BYTES:,} bytes; expected a table of file names and labels")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = max(",;\t", key=file.readline().count)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator)
            lines = [(reader.line_num, line) for line in islice(reader, most) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV in UTF-8: {error}; save it as one") from None
    return (lines[0][1], lines[1:]) if lines else ([], [])
