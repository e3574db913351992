"""Checks of images and labels: tables of rules, each with a message that says what is wrong and what to do.

A rule reads types, shapes or labels, so that mapped images are not read. Only if images are refused for their type are
their values read, to say how to convert them to bytes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rules = tuple[
        tuple[Callable[[Any], bool], Callable[[Any], str]], ...
    ]  # a condition, and the message where it holds

CHANNELS = (1, 3)
MOST_CLASSES = 100_000
SHOWN = 10  # names of classes in a message


def check_dataset(
    images: Any, labels: Any, classes: Any, name: object
) -> tuple[NDArray[np.uint8] | NDArray[np.int64], tuple[str, ...]]:
    """The labels as uint8 or int64, and the names of the classes as a tuple.

    Raises:
        DataError: images, labels or classes that `Dataset` does not accept: what was got and expected, and what to do.
    """
    if not isinstance(name, str):
        raise DataError(f"name: got {type(name).__name__}, expected text, such as 'mnist'")
    require_images(images, f"{name}: images")
    require_labels(labels, f"{name}: labels")
    _apply(CLASSES, classes, f"{name}: classes")
    check_labels(labels, images, len(classes), name)
    return labels if labels.dtype == np.uint8 else labels.astype(np.int64, copy=False), tuple(classes)


def require_images(images: Any, what: str) -> None:
    """Raise DataError unless these are images as `Dataset` accepts them; the message calls them `what`."""
    _apply(IMAGES, images, what)


def require_labels(labels: Any, what: str) -> None:
    """Raise DataError unless these are whole numbers of shape (N,); the message calls them `what`."""
    _apply(LABELS, labels, what)


def check_labels(labels: NDArray[Any], images: NDArray[Any], classes: int, source: str) -> None:
    """Raise DataError unless there is one label per image and each is at least 0 and below `classes`."""
    if labels.ndim != 1:
        raise DataError(f"{source}: shape {labels.shape} where labels (N,) were expected; is it a file of images?")
    if len(labels) != len(images):
        raise DataError(f"{source}: {len(labels)} labels for {len(images)} images; expected as many of each")
    if not 0 <= labels.min() <= labels.max() < classes:
        first = np.flatnonzero((labels < 0) | (labels >= classes))[0]
        raise DataError(f"{source}: label {labels[first]} of image {first} is outside 0 to {classes - 1}")


def normal(name: str) -> str:
    """A class name as it is compared: in Unicode's NFC, so that the encoding of accents does not matter."""
    return unicodedata.normalize("NFC", name)


def class_difference(got: Sequence[str], expected: Sequence[str]) -> str:
    """How two lists of class names differ, in a few words; empty if they do not."""
    ours, theirs = [*map(normal, got)], [*map(normal, expected)]
    if ours == theirs:
        return ""
    known, needed = set(ours), set(theirs)
    missing = [name for name in theirs if name not in known]
    more = [name for name in ours if name not in needed]
    found = [f"{what} {_named(names)}" for what, names in (("missing", missing), ("not expected", more)) if names]
    return ", ".join(found) or f"in another order, beginning with {_named(ours)}, expected {_named(theirs)}"


def _named(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _apply(rules: Rules, value: Any, what: str) -> None:
    """Raise DataError for the first rule that a value violates."""
    for is_wrong, says in rules:
        if is_wrong(value):
            raise DataError(f"{what} {says(value)}")


def _numbers(images: NDArray[Any]) -> str:
    got = f"are {images.dtype}"
    if not np.isfinite(images).all():
        return f"{got} and some are not finite; expected uint8 from 0 to 255: replace them, then pass images as bytes"
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 255:
        scaled = "((images - images.min()) / (images.max() - images.min()) * 255).round()"
    elif images.dtype.kind != "f":
        scaled = "images"
    else:
        scaled = "(images * 255).round()" if high <= 1 else "images.round()"
    return f"{got} from {low:.5g} to {high:.5g}, expected uint8 from 0 to 255; pass {scaled}.astype(numpy.uint8)"


def _no_array(value: Any) -> str:
    return f"are of type {type(value).__name__}, expected a numpy array; pass them through numpy.asarray"


def _is_no_array(value: Any) -> bool:
    return not isinstance(value, np.ndarray)


_LAYOUT = "expected (N, C, H, W)"
IMAGES: Rules = (
    (_is_no_array, _no_array),
    (lambda a: not a.size, lambda a: f"have shape {a.shape}: there are none; {_LAYOUT}"),
    (lambda a: a.dtype == bool, lambda _: "are bool, expected uint8; pass images.astype(numpy.uint8) * 255"),
    (lambda a: a.dtype != np.uint8 and a.dtype.kind in "iuf", _numbers),
    (
        lambda a: a.dtype != np.uint8,
        lambda a: f"are {a.dtype}, expected uint8; pass one array of numbers, all images of one size",
    ),
    (
        lambda a: a.ndim == 3,
        lambda a: f"have shape {a.shape}, {_LAYOUT}; pass images[:, None] for grey ones",
    ),
    (
        lambda a: a.ndim != 4,
        lambda a: f"have shape {a.shape}, {_LAYOUT}; pass images.reshape(-1, channels, height, width)",
    ),
    (
        lambda a: a.shape[1] not in CHANNELS and a.shape[3] in CHANNELS,
        lambda a: f"have shape {a.shape}, {_LAYOUT}; pass images.transpose(0, 3, 1, 2)",
    ),
    (
        lambda a: a.shape[1] not in CHANNELS,
        lambda a: f"have shape {a.shape}, {a.shape[1]} channels, expected 1 (grey) or 3 (red, green, blue)",
    ),
)
LABELS: Rules = (
    (_is_no_array, _no_array),
    (
        lambda a: a.dtype.kind not in "iu",
        lambda a: f"are {a.dtype}, expected whole numbers from 0; pass labels.astype(numpy.int64) where they are whole",
    ),
    (
        lambda a: a.ndim == 2 and a.shape[1] == 1,
        lambda a: f"have shape {a.shape}, expected (N,); pass labels[:, 0]",
    ),
    (
        lambda a: a.ndim != 1,
        lambda a: f"have shape {a.shape}, expected (N,); pass labels.argmax(axis=1) where they are one-hot",
    ),
)
CLASSES: Rules = (
    (
        lambda names: isinstance(names, str) or not isinstance(names, Sequence | np.ndarray),
        lambda names: f"are {str(names)[:40]!r}, expected the name of each class, such as ('cat', 'dog')",
    ),
    (
        lambda names: not all(isinstance(name, str) for name in names),
        lambda _: "are not all text, expected the name of each class; pass tuple(map(str, classes))",
    ),
    (
        lambda names: len(set(names)) < len(names),
        lambda names: f"name {max(names, key=list(names).count)!r} twice, expected a different name for each class",
    ),
)
