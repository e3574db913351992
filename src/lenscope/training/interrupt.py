"""Ctrl-C and SIGTERM as a flag that training checks between steps."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class StopFlag:
    """A callable that returns whether a stop was requested; `signal` is the signal that requested it."""

    signal: int | None = None

    def __call__(self) -> bool:
        """Whether a stop was requested."""
        return self.signal is not None


@contextmanager
def listen_for_stop() -> Iterator[StopFlag]:
    """Turn the first SIGINT or SIGTERM into a flag; a second signal of either kind has its usual effect.

    Outside the main thread, where Python cannot handle signals, the flag is never set. A signal that the process
    ignores, as a shell sets for background processes, is still ignored.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def raise_flag(number: int, _frame: Any) -> None:
        signal.signal(number, before[number])  # not the other's: Python may have received it already, and would lose it
        if flag():
            signal.raise_signal(number)
        else:
            flag.signal = number

    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, raise_flag)
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
