"""The command line in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Command:
    """`lenscope VERB …`, and when it said what; made when Lenscope's own code has begun, as /proc tells."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "lenscope", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._lines: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._await(lambda: "pydantic" in Path(f"/proc/{self._process.pid}/maps").read_text())
        self._begun = time.monotonic()

    @property
    def is_there(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        return "".join(line for _, line in self._lines)

    def time_of(self, word: str) -> float:
        """When a line came that begins with this word, 0 where none did; of an empty word when the command began."""
        found = (when for when, line in self._lines if line.split()[:1] == [word])
        return next(found, 0.0) if word else self._begun

    def await_line(self, word: str) -> None:
        """Wait for a line that begins with this word, or for the end."""
        self._await(lambda: self.time_of(word) > 0)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[float, int]:
        """Wait for it: how long that took, and its exit code."""
        begun = time.monotonic()
        code = self._process.wait()
        seconds = time.monotonic() - begun
        self._reader.join()
        return seconds, code

    def _read(self) -> None:
        with self._process.stderr as lines:
            for line in lines:
                self._lines.append((time.monotonic(), line))

    def _await(self, condition: Callable[[], bool]) -> None:
        while self.is_there and not condition():
            time.sleep(0.002)
