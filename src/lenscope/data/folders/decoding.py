"""Pictures decoded by a pool of processes, in the order of their files.

Threads would take turns: most of the time for a small picture is spent in Python. The processes are plain ones;
`multiprocessing` would import the user's script again in each of them, and use pickle. Process k of n decodes every
n-th file of a list and writes the pictures to its pipe, which blocks it while it is ahead of the reader, so that memory
stays bounded. A picture that crashes its process counts as unreadable.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from lenscope.data.fit import fit_square
from lenscope.data.formats.pictures import read_picture
from lenscope.data.resize import resize
from lenscope.errors import DataError
from lenscope.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from lenscope.config import FitName

    # A picture and its height and width before it was changed, or why it cannot be read.
    Decoded = tuple[NDArray[np.uint8], tuple[int, ...]] | str

MIXED_SIZE = 32
READY = b"ready\n"
CRASHED = "broken picture: it crashed the process that decoded it; replace or remove it"
_PROGRAM = """
import sys
sys.path[:] = {path!r}
from lenscope.data.folders.decoding import serve
serve(*{arguments!r}, sys.stdout.buffer)
"""


def decode(path: Path, *, shrink: bool = False, fit: FitName = "squeeze") -> Decoded:
    """A picture made square by `fit`, at 32×32 if `shrink` is set, with its size before; or why it cannot be read."""
    try:
        picture = read_picture(path)
    except DataError as error:
        return str(error).removeprefix(printable(f"{path}: "))
    square = fit_square(picture, fit)
    return shrunk(square) if shrink else square, picture.shape[:2]


def shrunk(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W) or (H, W, 3) at 32×32, as by Pillow's `BILINEAR`."""
    if picture.shape[:2] == (MIXED_SIZE, MIXED_SIZE):
        return picture
    layers = picture.reshape(*picture.shape[:2], -1).transpose(2, 0, 1)
    small: NDArray[np.uint8] = resize(layers[None], MIXED_SIZE)[0].transpose(1, 2, 0)
    return small.reshape(MIXED_SIZE, MIXED_SIZE, *picture.shape[2:])


def decode_all(
    paths: Path, count: int, processes: int, shrink: Callable[[], bool] = lambda: False, fit: FitName = "squeeze"
) -> Iterator[Decoded]:
    """The result of `decode` for each file of a list, in order.

    Args:
        paths: a file with the path of a picture on each line, as a JSON string.
        count: the number of lines.
        processes: how many decode at the same time.
        shrink: whether pictures are wanted at 32×32; may change once, while the results are read.
        fit: how pictures are made square.

    Raises:
        DataError: the processes could not be started.
    """
    done = 0
    while done < count:
        small = shrink()
        with closing(_decode_range(paths, range(done, count), processes, shrink=small, fit=fit)) as pictures:
            for picture in pictures:
                yield picture
                done += 1
                if shrink() != small:
                    break


def _decode_range(paths: Path, numbers: range, processes: int, *, shrink: bool, fit: FitName) -> Generator[Decoded]:
    step, pool = min(processes, len(numbers)), list[subprocess.Popen[bytes]]()
    try:
        pool.extend(_start(paths, first, step, shrink=shrink, fit=fit) for first in numbers[:step])
        for process in pool:
            _check_started(process)
        for number in numbers:
            place = (number - numbers.start) % step
            picture: Decoded = CRASHED
            for restart in (number, number + step):  # a process that was killed from outside reads its picture again
                try:
                    picture = _read(pool[place].stdout)
                    break
                except EOFError:
                    _end(pool[place])
                    pool[place] = _start(paths, restart, step, shrink=shrink, fit=fit)
                    _check_started(pool[place])
            yield picture
    finally:
        for process in pool:
            _end(process)


def _start(paths: Path, first: int, step: int, *, shrink: bool, fit: FitName) -> subprocess.Popen[bytes]:
    """A process that decodes the file `first` of a list and every `step`-th after it."""
    program = _PROGRAM.format(path=sys.path, arguments=(str(paths), first, step, shrink, fit))
    try:
        # In a session of its own, Ctrl-C does not reach it.
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise DataError(f"{sys.executable}: no process for decoding could be started: {error}") from None


def _check_started(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is None or process.stdout.readline() != READY:
        raise DataError(f"{sys.executable}: a process for decoding ended at once; is Lenscope installed there?")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def _read(source: IO[bytes] | None) -> Decoded:
    """The next answer of a process; raises EOFError where it is missing or cut."""
    line = source.readline() if source else b""
    if not source or not line.endswith(b"\n"):
        raise EOFError
    answer: str | list[list[int]] = json.loads(line)
    if isinstance(answer, str):
        return answer
    shape, size = answer
    content = source.read(math.prod(shape))
    if len(content) < math.prod(shape):
        raise EOFError
    return np.frombuffer(content, np.uint8).reshape(shape), tuple(size)


def serve(  # noqa: PLR0913, PLR0917 - in a program
    paths: str,
    first: int,
    step: int,
    shrink: bool,  # noqa: FBT001
    fit: FitName,
    sink: IO[bytes],
) -> None:
    """Decode the file `first` of a list and every `step`-th after it: what a process of the pool does.

    An answer is a line of JSON, the reason why a picture cannot be read or its shape and its size before, and then its
    bytes.
    """
    sink.write(READY)
    sink.flush()
    with Path(paths).open("rb") as lines:
        for line in islice(lines, first, None, step):
            found = decode(Path(json.loads(line)), shrink=shrink, fit=fit)
            if isinstance(found, str):
                sink.write(json.dumps(found).encode() + b"\n")
            else:
                sink.write(json.dumps([found[0].shape, found[1]]).encode() + b"\n" + found[0].tobytes())
            sink.flush()
