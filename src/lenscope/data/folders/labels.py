"""Tables of labels: CSV files that name pictures and their classes, one per row."""

from __future__ import annotations

import csv
import os
import re
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from lenscope.data.checks import normal
from lenscope.errors import DataError
from lenscope.text import counted

if TYPE_CHECKING:
    from pathlib import Path

# Names of columns as they are compared, in lower case without other characters; the first that is there counts.
FILE_COLUMNS = ("filename", "file", "filepath", "path", "imagename", "imagepath", "imageid", "image", "id", "idcode")
LABEL_COLUMNS = ("classname", "label", "class", "category", "target", "species", "breed", "diagnosis")
SPLIT_COLUMNS = ("split", "subset")
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

    Args:
        root: the folder.
        parts: the folder of each split, relative to the root.
        tables: CSV files in the root or in the folder of a split.
        pictures: all pictures in the folder, relative to the root.

    Raises:
        DataError: a table that cannot be read, or none with the expected columns.
    """
    known = {os.path.splitext(path)[0]: path for path in pictures} | {path: path for path in pictures}  # noqa: PTH122
    split_of = {folder: split for split, folder in parts.items()}
    rows, problems = dict[str, dict[str, str]](), list[tuple[str, str]]()
    without_labels = list[str]()
    for table in tables:
        name, base = table.relative_to(root).as_posix(), table.parent.relative_to(root).as_posix()
        header, lines = _read(table)
        columns = _columns(header, one_hot=table.name == "_classes.csv")
        if columns is None or _is_form(table):
            without_labels.append(f"{name} has the columns {', '.join(header)[:200] or 'none'}")
            continue
        default = split_of.get(base) or split_named(table.stem) or "train"
        folders = [base, parts.get(default, "."), *sorted({path.split("/")[0] for path in pictures if "/" in path})]
        prefixes = dict.fromkeys("" if folder == "." else f"{folder}/" for folder in folders)
        for number, line in enumerate(lines, start=2):
            file, label, split = columns.read(line)
            where = f"{name} row {number}"
            if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
                problems.append((where, "its file is outside the folder"))
                continue
            path = next((known[prefix + file] for prefix in prefixes if prefix + file in known), None)
            if path is None:
                problems.append((where, f"no picture {file}; remove the row or add the picture"))
            elif not label:
                problems.append((where, "not exactly one label; give each picture one"))
            else:
                own = split_named(split) or split_of.get(path.rpartition("/")[0]) or default
                if rows.setdefault(own, {}).setdefault(path, normal(label)) != normal(label):
                    problems.append((where, f"another label for {path}; keep one"))
    if "train" not in rows and not problems:
        raise DataError(
            f"{root}: {'; '.join(without_labels) or 'its tables have no rows'}; expected a file column "
            f"({', '.join(FILE_COLUMNS)}) and a label column ({', '.join(LABEL_COLUMNS)}); rename yours, or move the "
            "table away where the folders are the classes"
        )
    notes = _without_label(rows, pictures)
    notes += [f"{folder} has no labels; it is ignored" for split, folder in parts.items() if rows and split not in rows]
    classes = set(rows.get("train", {}).values())
    return Labels(rows, classes, tuple(problems), tuple(notes))


def names_pictures(table: Path) -> bool:
    """Whether a table has a column for files, as far as its first line tells."""
    header = _read(table, 1)[0]
    return not _is_form(table) and not {*map(_plain, header)}.isdisjoint(FILE_COLUMNS)


def split_named(text: str) -> str | None:
    """The split that is named by one of the words of a text such as `train_labels`."""
    return next((PARTS[word] for word in re.split(r"[^a-z]+", text.lower()) if word in PARTS), None)


def _is_form(table: Path) -> bool:
    """Whether this is Kaggle's form for answers, whose labels stand for nothing."""
    return "submission" in table.stem.lower()


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _without_label(rows: dict[str, dict[str, str]], pictures: list[str]) -> list[str]:
    """A note on the pictures that no row names, in the folders of those that a row names."""
    labelled = {path for own in rows.values() for path in own}
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


def _columns(header: list[str], *, one_hot: bool) -> _Columns | None:
    names = [*map(_plain, header)]
    if one_hot:
        return _Columns(0, -1, -1, tuple(name.strip() for name in header[1:]))
    file, label, split = (
        next((names.index(name) for name in wanted if name in names), -1)
        for wanted in (FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS)
    )
    others = [at for at in range(len(names)) if at not in {file, split}]
    if label < 0 and len(others) == 1:
        label = others[0]
    return None if -1 in (file, label) else _Columns(file, label, split)


def _read(path: Path, most: int | None = None) -> tuple[list[str], list[list[str]]]:
    """The header and the rows, of at most so many lines, of a CSV in UTF-8, with or without BOM."""
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: more than {MAX_BYTES:,} bytes; expected a table of file names and labels")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = max(",;\t", key=file.readline().count)
            file.seek(0)
            lines = [line for line in islice(csv.reader(file, delimiter=separator), most) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV in UTF-8: {error}; save it as one") from None
    return (lines[0], lines[1:]) if lines else ([], [])
