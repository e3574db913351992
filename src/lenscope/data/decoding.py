"""Pictures decoded by as many processes as there are processors, in the order in which they are asked for.

Threads would take turns: most of what a small picture takes is Python. The processes are plain ones that read requests
from their input and answer with bytes: `multiprocessing` would import the user's script again in each of them, and
pickle. A picture that ends the process that reads it is a picture that cannot be read.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from lenscope.data.dataset import resize
from lenscope.data.pictures import read_picture
from lenscope.errors import DataError
from lenscope.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    Decoded = NDArray[np.uint8] | str  # a picture, or why it cannot be read

MIXED_SIZE = 32
MOST_FILES, MOST_FILE_BYTES = 64, 2**20  # of a request
ANSWER_BYTES = 2**22  # an answer that has reached them ends, and the rest is asked for again
READY = b"ready\n"
ENDED = "broken picture: it ended the process that read it; replace or remove it"
_PROGRAM = """
import sys
sys.path[:] = {path!r}
from lenscope.data.decoding import serve
serve(sys.stdin.buffer, sys.stdout.buffer)
"""


def decode(path: Path, *, shrink: bool = False) -> Decoded:
    """A picture, shrunk to 32×32 where that is asked for, or why it cannot be read."""
    try:
        picture = read_picture(path)
    except DataError as error:
        return str(error).removeprefix(printable(f"{path}: "))
    return shrunk(picture) if shrink else picture


def shrunk(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W) or (H, W, 3) at 32×32, as Pillow's `BILINEAR` does it."""
    if picture.shape[:2] == (MIXED_SIZE, MIXED_SIZE):
        return picture
    layers = picture.reshape(*picture.shape[:2], -1).transpose(2, 0, 1)
    small: NDArray[np.uint8] = resize(layers[None], MIXED_SIZE)[0].transpose(1, 2, 0)
    return small.reshape(MIXED_SIZE, MIXED_SIZE, *picture.shape[2:])


def decode_all(
    files: Iterable[tuple[str, int]], processes: int, shrink: Callable[[], bool] = lambda: False
) -> Iterator[Decoded]:
    """What `decode` says of each file, in their order.

    No more than a few hundred files are on the way at any time, of a few megabytes for each process; where pictures are
    larger, one for each.

    Args:
        files: paths and sizes in bytes.
        processes: how many.
        shrink: whether pictures are wanted at 32×32 from now on; others come as they are.

    Raises:
        DataError: the processes could not be started.
    """
    with _Decoders(processes) as decoders:
        waiting: deque[tuple[list[str], Future[list[Decoded]]]] = deque()
        for batch in _batches(files):
            waiting.append((batch, decoders.ask(batch, shrink=shrink())))
            if len(waiting) > processes + 1:
                yield from _finish(decoders, *waiting.popleft(), shrink=shrink())
        while waiting:
            yield from _finish(decoders, *waiting.popleft(), shrink=shrink())


def _finish(decoders: _Decoders, batch: list[str], answer: Future[list[Decoded]], *, shrink: bool) -> Iterator[Decoded]:
    """All of a batch, of which an answer may hold the first part."""
    found = answer.result()
    while len(found) < len(batch):
        yield from found
        batch = batch[len(found) :]
        found = decoders.ask(batch, shrink=shrink).result()
    yield from found


def _batches(files: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    batch: list[str] = []
    total = 0
    for path, size in files:
        batch.append(path)
        total += size
        if len(batch) == MOST_FILES or total >= MOST_FILE_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


class _Decoders:
    """Processes that decode, each behind a thread that talks to it."""

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count)
        self._idle: SimpleQueue[Decoder] = SimpleQueue()
        self._all: list[Decoder] = []
        self._count = count

    def __enter__(self) -> Self:
        try:
            for _ in range(self._count):
                self._all.append(Decoder())
                self._idle.put(self._all[-1])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for decoder in self._all:
            decoder.end()
        self._threads.shutdown(cancel_futures=True)  # no thread starts a process from here on
        for decoder in self._all:
            decoder.end()

    def ask(self, batch: list[str], *, shrink: bool) -> Future[list[Decoded]]:
        """The first of these pictures, one at least."""
        return self._threads.submit(self._ask, batch, shrink)

    def _ask(self, batch: list[str], shrink: bool) -> list[Decoded]:  # noqa: FBT001 - as submit hands it on
        decoder = self._idle.get()
        try:
            return decoder.ask(batch, shrink=shrink)
        finally:
            self._idle.put(decoder)


class Decoder:
    """One process that decodes pictures.

    Raises:
        DataError: it could not be started.
    """

    def __init__(self) -> None:
        self._process = _start()
        self._ended = False

    def ask(self, batch: list[str], *, shrink: bool) -> list[Decoded]:
        """The first of these pictures, one at least; a process that has ended is replaced."""
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None  # noqa: S101 - for the type checker
        assert sink is not None  # noqa: S101
        try:
            sink.write(json.dumps({"paths": batch, "shrink": shrink}).encode() + b"\n")
            sink.flush()
            return _answer(source)
        except (OSError, EOFError, ValueError):  # the last: a pipe that is closed, a line that breaks off
            if self._ended:  # whoever asked has gone
                raise
            _end(self._process)
            self._process = _start()
            return [ENDED] if len(batch) == 1 else self.ask(batch[:1], shrink=shrink)

    def end(self) -> None:
        """End the process; it is not replaced any more."""
        self._ended = True
        _end(self._process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # what was to be written has nobody to read it
            pipe.close()  # type: ignore[union-attr]


def _start() -> subprocess.Popen[bytes]:
    program = [sys.executable, "-c", _PROGRAM.format(path=sys.path)]
    pipe = subprocess.PIPE
    try:
        # In a session of its own, Ctrl-C does not reach it.
        process = subprocess.Popen(  # noqa: S603 - our own program
            program, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{sys.executable}: no process for decoding could be started: {error}") from None
    assert process.stdout is not None  # noqa: S101 - for the type checker
    if process.stdout.readline() != READY:
        _end(process)
        raise DataError(f"{sys.executable}: a process for decoding ended at once; is Lenscope installed there?")
    return process


def _answer(source: IO[bytes]) -> list[Decoded]:
    line = source.readline()
    if not line:
        raise EOFError
    return [_picture(source, found) if isinstance(found, list) else found for found in json.loads(line)]


def _picture(source: IO[bytes], shape: list[int]) -> NDArray[np.uint8]:
    content = source.read(math.prod(shape))
    if len(content) < math.prod(shape):
        raise EOFError
    return np.frombuffer(content, np.uint8).reshape(shape)


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer requests until there are no more: what a process for decoding does."""
    from pathlib import Path

    sink.write(READY)
    sink.flush()
    for line in source:
        request: dict[str, Any] = json.loads(line)
        found: list[Decoded] = []
        for path in islice(request["paths"], MOST_FILES):
            found.append(decode(Path(path), shrink=request["shrink"]))
            if sum(len(each) if isinstance(each, str) else each.nbytes for each in found) >= ANSWER_BYTES:
                break
        told = [each if isinstance(each, str) else list(each.shape) for each in found]
        sink.write(json.dumps(told).encode() + b"\n")
        for each in found:
            if not isinstance(each, str):
                sink.write(np.ascontiguousarray(each).data)
        sink.flush()
