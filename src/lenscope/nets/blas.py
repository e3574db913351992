"""The library that multiplies numpy's matrices: which one it is, and kept to one thread while we use our own."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator


_lock, _limits = Lock(), list[Any]()  # one limit per use; the first of them knows what there was before


@contextmanager
def one_thread() -> Iterator[None]:
    """Multiply matrices on the calling thread alone; a BLAS that threadpoolctl does not know decides for itself.

    The matrices of a LeNet are small: on two processors an epoch takes a fifth longer with two threads of OpenBLAS
    than with one, and several times as long where another process uses the processors too. Several threads of Python
    may use it at once.
    """
    with _lock:
        _limits.append(_libraries().limit(limits=1))
    try:
        yield
    finally:
        with _lock:
            _limits.pop().restore_original_limits()


def describe() -> str:
    """Name, version, and as far as known the processor type that the BLAS has chosen its code for."""
    build: dict[str, Any] = np.show_config(mode="dicts")  # type: ignore[assignment]
    known = build["Build Dependencies"]["blas"]
    chosen = next((library.get("architecture") for library in _libraries().info()), None)  # numpy's was loaded first
    return " ".join(filter(None, (known.get("name", "unknown"), known.get("version"), chosen)))


@cache
def _libraries() -> Any:
    """The BLAS libraries that are loaded, as threadpoolctl controls them."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
