"""Pictures one after another in a file, of one shape: what all of them have in common shows when the last is there.

They are grey until the first that is not, and keep their size until a second size turns up; then all are 32×32. Either
happens once at most, and the file is written anew then, block by block. In memory and on a disk it is the same bytes.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.dataset import resize
from lenscope.data.decoding import MIXED_SIZE, shrunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_BLOCK_BYTES = 2**22

File = io.BytesIO | io.BufferedRandom


class Stack:
    """Pictures in a file.

    Args:
        new_file: gives an empty file for images of a shape, and takes it as the stack's from then on.
        file: what is there already, to go on with; None for none.
        shape: of its images, channels, height and width.
        count: how many they are.
    """

    def __init__(
        self,
        new_file: Callable[[tuple[int, int, int]], File],
        file: File | None = None,
        shape: tuple[int, int, int] = (0, 0, 0),
        count: int = 0,
    ) -> None:
        self._new_file = new_file
        self.file, self.shape, self.count = file, shape, count
        self.mixed = False

    @property
    def nbytes(self) -> int:
        """Of all images so far."""
        return self.count * math.prod(self.shape)

    def images(self) -> NDArray[np.uint8]:
        """All of them, (N, C, H, W), as a copy in memory; at least one."""
        assert self.file is not None  # noqa: S101 - for the type checker
        images = np.empty((self.count, *self.shape), np.uint8)
        self.file.seek(0)
        self.file.readinto(images.data.cast("B"))
        return images

    def add(self, picture: NDArray[np.uint8]) -> None:
        """One more, (H, W) or (H, W, 3)."""
        if self.file is None:
            self.shape = (1 if picture.ndim == 2 else 3, *picture.shape[:2])
            self.file = self._new_file(self.shape)
        if picture.shape[:2] != self.shape[1:]:
            self.mixed = True
            picture = shrunk(picture)
            if self.shape[1:] != (MIXED_SIZE, MIXED_SIZE):
                self._write_anew((self.shape[0], MIXED_SIZE, MIXED_SIZE))
        if picture.ndim == 3 and self.shape[0] == 1:
            self._write_anew((3, *self.shape[1:]))
        layers = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
        self.file.write(np.ascontiguousarray(np.broadcast_to(layers, self.shape)).data)
        self.count += 1

    def _write_anew(self, shape: tuple[int, int, int]) -> None:
        """All images so far in another shape: of 32×32 pixels, or in three channels."""
        before, new = self.file, self._new_file(shape)
        assert before is not None  # noqa: S101 - for the type checker
        before.seek(0)
        each = math.prod(self.shape)
        block_bytes = each * max(1, _BLOCK_BYTES // each)
        while content := before.read(block_bytes):
            images = np.frombuffer(content, np.uint8).reshape(-1, *self.shape)
            sized = images if shape[1:] == self.shape[1:] else resize(images, shape[1])
            new.write(np.ascontiguousarray(np.broadcast_to(sized, (len(images), *shape))).data)
        before.close()
        self.file, self.shape = new, shape
