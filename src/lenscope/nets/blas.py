"""numpy's BLAS: its description, and its limit to one thread while we use threads of our own."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator


_lock, _limits = Lock(), list[Any]()  # one limit per use; the first one has the original limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit the BLAS to the calling thread; a BLAS unknown to threadpoolctl is not limited.

    The matrices of a LeNet are small: on two processors an epoch takes a fifth longer with two threads of OpenBLAS
    than with one, and several times as long if another process uses the processors, too. Several Python threads may
    use it at the same time.
    """
    with _lock:
        _limits.append(_libraries().limit(limits=1))
    try:
        yield
    finally:
        with _lock:
            _limits.pop().restore_original_limits()


def describe() -> str:
    """Name, version and, where known, the processor type whose code the BLAS has chosen."""
    build: dict[str, Any] = np.show_config(mode="dicts")  # type: ignore[assignment]
    known = build["Build Dependencies"]["blas"]
    chosen = next((library.get("architecture") for library in _libraries().info()), None)  # numpy's was loaded first
    return " ".join(filter(None, (known.get("name", "unknown"), known.get("version"), chosen)))


@cache
def _libraries() -> Any:
    """The loaded BLAS libraries, as threadpoolctl controls them."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
