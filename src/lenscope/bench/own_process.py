"""A contestant in a process of its own: threads that JAX has started must not be forked by another's DataLoader."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from multiprocessing import get_context
from typing import TYPE_CHECKING

from lenscope.bench.task import Contestant, Task
from lenscope.errors import LenscopeError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

STOP_SECONDS = 5


def in_own_process(module: str, task: Task) -> Contestant:
    """The contestant of a module of this package; raises LenscopeError where it cannot be made."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, module, task), daemon=True)
    process.start()
    theirs.close()

    def ask() -> float:
        ours.send(True)
        return _answer(ours, module)

    def close() -> None:
        process.terminate()
        process.join(STOP_SECONDS)
        ours.close()

    try:
        _answer(ours, module)
    except BaseException:
        close()
        raise
    return Contestant(ask, close=close)


def _answer(connection: Connection, module: str) -> float:
    try:
        answer = connection.recv()
    except (EOFError, OSError):
        raise LenscopeError(f"{module}: its process ended, expected an answer; see what it printed") from None
    if isinstance(answer, str):
        raise LenscopeError(f"{module}: {answer}")
    return float(answer)


def _serve(connection: Connection, module: str, task: Task) -> None:
    """Make the contestant, then train for an epoch whenever asked; an error is sent back as its text."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the other process's to handle
    if hasattr(os, "sched_setaffinity"):  # JAX has no setting for its number of threads: it takes a processor each
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])
    try:
        train = import_module(f"lenscope.bench.{module}").contestant(task).train
        connection.send(0.0)
        while connection.recv():
            connection.send(train())
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001 - whatever a library of others raises
        connection.send(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
