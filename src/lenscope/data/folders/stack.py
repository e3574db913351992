"""Pictures of one shape, one after another in a file; the shape is known when the last picture has been added.

They are grey until the first picture in colour, and keep their size until a second size occurs; then all are 32×32. In
either case, which occurs at most once, the pictures so far are written to another file, block by block.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.folders.decoding import shrunk
from lenscope.data.resize import resize

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from numpy.typing import NDArray

    File = io.BytesIO | io.BufferedRandom

_BLOCK_BYTES = 2**22


class Stack:
    """Pictures in a file.

    Args:
        new_file: returns a new empty file.

    Attributes:
        file: the current file.
        shape: channels, height and width of each picture.
        count: of pictures.
        is_mixed: whether two sizes have occurred, so that further pictures are wanted at 32×32.
    """

    def __init__(self, new_file: Callable[[], File]) -> None:
        self._new_file = new_file
        self.file = new_file()
        self.shape, self.count, self.is_mixed = (1, 0, 0), 0, False

    @property
    def nbytes(self) -> int:
        """The size of all pictures so far."""
        return self.count * math.prod(self.shape)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def images(self) -> NDArray[np.uint8]:
        """All of them, (N, C, H, W), in memory."""
        images = np.empty((self.count, *self.shape), np.uint8)
        self.file.seek(0)
        self.file.readinto(images.data.cast("B"))
        return images

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Append a picture, (H, W) or (H, W, 3)."""
        channels = max(self.shape[0], 1 if picture.ndim == 2 else 3)
        if not self.count:
            self.shape = (channels, *picture.shape[:2])
        if picture.shape[:2] != self.shape[1:]:
            self.is_mixed = True
            picture = shrunk(picture)
        self._convert((channels, *picture.shape[:2]))
        layers = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
        self.file.write(np.ascontiguousarray(np.broadcast_to(layers, self.shape)).data)
        self.count += 1

    def _convert(self, shape: tuple[int, int, int]) -> None:
        """Write all pictures so far to another file, at 32×32 or in three channels, if `shape` is not theirs."""
        if shape == self.shape:
            return
        before, self.file = self.file, self._new_file()
        before.seek(0)
        each = math.prod(self.shape)
        while content := before.read(each * max(1, _BLOCK_BYTES // each)):
            images = np.frombuffer(content, np.uint8).reshape(-1, *self.shape)
            sized = images if shape[1:] == self.shape[1:] else resize(images, shape[1])
            self.file.write(np.ascontiguousarray(np.broadcast_to(sized, (len(images), *shape))).data)
        before.close()
        self.shape = shape
