"""Images and labels in arrays, as numpy, PyTorch, Keras and pandas have them, as a data set."""

from __future__ import annotations

import math
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lenscope.data.checks import CHANNELS, MOST_CLASSES, SHOWN, check_labels, require_images, require_labels
from lenscope.data.dataset import Dataset, Splits
from lenscope.data.mapped import collect, stretches
from lenscope.errors import DataError
from lenscope.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NAME = "arrays"  # of the data set
SPLITS = {1: ("train",), 2: ("train", "test"), 3: ("train", "validation", "test")}  # by the number of pairs
_BLOCK_BYTES = 2**24


def load_arrays(data: Any, classes: Sequence[str] | None = None) -> Splits:
    """Images and labels as a data set.

    Args:
        data: `(images, labels)`, or two such pairs for train and test, or three for train, validation and test. Images
            as for `as_images`; labels are whole numbers from 0 or text, shape (N,) or (N, 1).
        classes: their names, which whole numbers count; by default those of the training labels: texts are sorted, by
            number if all are whole numbers, and whole numbers name the classes from 0 to the largest.

    Returns:
        Images uint8 (N, C, H, W); labels uint8 or int64 (N,). `notes` says what was converted.

    Raises:
        DataError: anything else: what was got and expected, and the line that converts it.
    """
    pairs = data if _is_sequence(data) and all(map(_is_pair, data)) else (data,)
    if len(pairs) not in SPLITS or not all(map(_is_pair, pairs)):
        got = counted(len(data), "value") if _is_sequence(data) else type(data).__name__
        raise DataError(
            f"data: got {got}, expected a name, a folder, (images, labels), or such pairs for train, [validation,] test"
        )
    splits, notes, given = dict[str, Dataset](), dict[str, None](), classes is not None
    for split, (images, labels) in zip(SPLITS[len(pairs)], pairs, strict=True):
        source = NAME if given else f"{NAME}: {split}"
        pixels, said = as_images(images, f"{source} images")
        named = _as_labels(labels, f"{source} labels")
        if classes is None:
            classes, more = _classes_of(named, source)
            said += more
        numbers = _numbered(named, classes, f"{source} labels")
        check_labels(numbers, pixels, len(classes), source)
        splits[split] = Dataset(pixels, numbers, tuple(classes), NAME)
        notes |= dict.fromkeys(said)
    return Splits(splits["train"], splits.get("validation"), splits.get("test"), notes=tuple(notes))


def as_images(value: Any, what: str = "images") -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Images as bytes in the layout of a data set.

    Args:
        value: an array, a list of equal arrays, or a tensor of PyTorch on any device; shape (N, H, W), (N, C, H, W) or
            (N, H, W, C) with 1 or 3 channels. Bytes; whole numbers from 0 to 255 of another type; floats from 0 to 1,
            which are multiplied by 255 and rounded; or bool.
        what: what a message calls them.

    Returns:
        uint8, shape (N, C, H, W), not copied where they have this form already; what was converted, in one line each.

    Raises:
        DataError: other values, or a shape of more than one meaning: what was got and expected, and what to pass.
    """
    array = _as_array(value, what)
    if array.dtype == object and array.ndim:  # a column of arrays
        array = _as_array([*array], what)
    array, layout = _with_channels(array, what)
    convert, conversion = _conversion(array, what)
    if array.dtype == np.uint8 and array.flags.c_contiguous:
        return array, layout
    image_bytes = math.prod(array.shape[1:]) * array.itemsize
    blocks = (convert(array[rows]).astype(np.uint8) for rows in stretches(len(array), image_bytes, _BLOCK_BYTES))
    return collect(blocks, array.shape), layout + conversion


def _is_sequence(value: Any) -> bool:
    return isinstance(value, tuple | list)


def _is_pair(value: Any) -> bool:
    """Whether this may be images and labels, rather than one of them."""
    sized = _is_sequence(value) and len(value) == 2 and all(hasattr(one, "__len__") for one in value)
    return sized and not any(isinstance(one, str) for one in value)


def _as_array(value: Any, what: str, dtype: type | None = None) -> NDArray[Any]:
    plain = [_detached(one) for one in value] if _is_sequence(value) else _detached(value)
    try:
        return np.asarray(plain, dtype)
    except (TypeError, ValueError, RuntimeError) as error:  # of several sizes, or of a type that numpy does not have
        reason = str(error).partition(". ")[0]
        raise DataError(
            f"{what} cannot be read as one array: {reason}; pass one numpy array, of images of one size"
        ) from None


def _detached(value: Any) -> Any:
    """A tensor of PyTorch on the CPU and without its gradient; anything else as it is."""
    return value.detach().cpu() if hasattr(value, "detach") else value


def _with_channels(array: NDArray[Any], what: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The array as (N, C, H, W), and a note if channels came last."""
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim == 4:
        first, last = array.shape[1], array.shape[3]
        if first in CHANNELS and last in CHANNELS:
            raise DataError(
                f"{what} have shape {array.shape}, which may be (N, C, H, W) or (N, H, W, C); pass "
                "lenscope.Splits(lenscope.Dataset(images, labels, classes, name)) with images as (N, C, H, W)"
            )
        if first not in CHANNELS and 4 in (first, last):
            line = "images[..., :3]" if last == 4 else "images[:, :3]"
            raise DataError(f"{what} have shape {array.shape}, 4 channels (RGBA), expected 1 or 3; pass {line}")
        if last in CHANNELS:
            size = ", ".join(map(str, array.shape[1:]))
            return array.transpose(0, 3, 1, 2), (f"images (N, {size}) are taken as N, H, W, C",)
    require_images(np.broadcast_to(np.uint8(0), array.shape), what)
    return array, ()


class _Range(NamedTuple):
    """The range of an array's values, and whether all are whole; NaN where one is not finite."""

    low: float
    high: float
    whole: bool


def _conversion(array: NDArray[Any], what: str) -> tuple[Any, tuple[str, ...]]:
    """The function that converts a block of these images to bytes, and the note on it.

    Raises:
        DataError: values whose meaning is unknown.
    """
    if array.dtype == bool:
        return _stretched, ("images are bool; True is taken as 255 (white), False as 0",)
    if array.dtype != np.uint8 and array.dtype.kind in "iuf":
        low, high, whole = _range_of(array)
        if array.dtype.kind == "f" and 0 <= low <= high <= 1:
            return _stretched, (f"images are {array.dtype} from 0 to 1, and are multiplied by 255 and rounded",)
        if whole and 0 <= low <= high <= 1:
            raise DataError(
                f"{what} are {array.dtype}, all 0 or 1, expected 0 to 255; pass (images * 255).astype(numpy.uint8) if "
                "1 is white, images.astype(numpy.uint8) if 1 is almost black"
            )
        if whole and 0 <= low <= high <= 255:
            numbers = f"images are {array.dtype}, whole numbers from {low:.0f} to {high:.0f}"
            return np.asarray, (f"{numbers}, and are taken as bytes (255 is white)",)
    require_images(array, what)  # refuses all but bytes
    return np.asarray, ()


def _range_of(array: NDArray[Any]) -> _Range:
    image_bytes = math.prod(array.shape[1:]) * array.itemsize
    blocks = [array[rows] for rows in stretches(len(array), image_bytes, _BLOCK_BYTES)]
    low, high = (float(limit([limit(block) for block in blocks])) for limit in (np.min, np.max))
    return _Range(low, high, all((block == np.rint(block)).all() for block in blocks))


def _stretched(block: NDArray[Any]) -> NDArray[Any]:
    """Values from 0 to 1 as 0 to 255."""
    scaled: NDArray[Any] = np.rint(block * np.float32(255))
    return scaled


def _as_labels(value: Any, what: str) -> NDArray[Any]:
    """Labels as whole numbers or text, shape (N,)."""
    is_text = _is_sequence(value) and any(isinstance(one, str) for one in value)
    labels = _as_array(value, what, object if is_text else None)
    if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras has them for CIFAR-10
        labels = labels[:, 0]
    require_labels(np.broadcast_to(0, labels.shape), what)  # their shape, which comes first where they are one-hot
    if labels.dtype == object:  # a column of pandas, or a list of texts
        kinds = {str if isinstance(one, str) else int if isinstance(one, Integral) else type(one) for one in labels}
        if len(kinds) > 1:
            names = " and ".join(sorted(kind.__name__ for kind in kinds))
            raise DataError(f"{what} are {names}, expected whole numbers or text; is one of them missing?")
        try:
            labels = labels.astype(kinds.pop()) if kinds <= {str, int} else labels
        except OverflowError:
            raise DataError(f"{what}: got {max(labels, key=abs)}, expected 0 to {MOST_CLASSES - 1}") from None
    if labels.dtype.kind not in "UT":
        require_labels(labels, what)
    return labels


def _classes_of(labels: NDArray[Any], source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes of training labels, and a note on numbers without images."""
    found = np.unique(labels).tolist()
    if isinstance(found[0], str):
        all_whole = all(name.isascii() and name.isdecimal() and len(name) < 20 for name in found)
        return tuple(sorted(found, key=lambda name: (int(name), name) if all_whole else name)), ()
    if found[-1] >= MOST_CLASSES:
        raise DataError(
            f"{source} labels up to {found[-1]}, expected 0 to {MOST_CLASSES - 1}; pass "
            "numpy.unique(labels, return_inverse=True)[1]"
        )
    numbers = range(max(0, found[-1]) + 1)
    classes, missing = tuple(map(str, numbers)), sorted({*numbers} - {*found})
    if not missing:
        return classes, ()
    names = ", ".join(map(str, missing[:SHOWN])) + (f" and {len(missing) - SHOWN} more" if missing[SHOWN:] else "")
    return classes, (f"no training image has label {names}; the classes are 0 to {found[-1]}",)


def _numbered(labels: NDArray[Any], classes: Sequence[str], what: str) -> NDArray[Any]:
    """Labels as numbers of their classes."""
    if labels.dtype.kind not in "UT":
        if all(map(str.isdecimal, classes)) and [*classes] != [*map(str, range(len(classes)))]:
            names = ", ".join(classes[:SHOWN])
            raise DataError(
                f"{what} are whole numbers, and so are the classes, {names}; pass labels.astype(str) to name classes"
            )
        return labels
    numbers = {name: number for number, name in enumerate(classes)}
    found, places = np.unique(labels, return_inverse=True)
    unknown = [name for name in found.tolist() if name not in numbers]
    if unknown:
        known = ", ".join(map(repr, classes[:SHOWN])) + (", …" if len(classes) > SHOWN else "")
        raise DataError(f"{what}: got {unknown[0]!r}, which is not a class of the training labels, {known}")
    return np.array([numbers[name] for name in found.tolist()], np.int64)[places]
