"""What a reader of published files gets and returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Opened(NamedTuple):
    """A file's verified content, mapped if it is large, and its name for error messages."""

    content: bytes | memoryview
    source: str


class Labelled(NamedTuple):
    """The images of a split, uint8 (N, C, H, W), and their labels, uint8 (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


# Takes the files of a data set, each opened when it is asked for; returns the training and the test split; raises
# DataError for content of another format.
Reader = Callable[[Iterator[Opened]], tuple[Labelled, Labelled]]
