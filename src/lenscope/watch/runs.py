"""Progress of many runs, with the remaining time."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lenscope.numbers_as_text import duration
from lenscope.text import counted
from lenscope.watch.screen import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

TENTHS = 10


class RunsBar:
    """A bar on a terminal; elsewhere one line per tenth of all epochs.

    Args:
        console: the output.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=32), TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("runs", total=1)
        self._epochs: dict[str, int] = {}
        self._wanted: dict[str, int] = {}
        self._started, self._earlier, self._tenth = monotonic(), 0, 0

    def announce(self, text: str) -> None:
        """Print what will be trained, before it is."""
        say(self._console, text)

    def expect(self, epochs: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Add runs, by name the number of epochs that are wanted, and of those that are already done."""
        self._wanted |= epochs
        self._epochs |= done
        self._started, self._earlier = monotonic(), sum(self._epochs.values())
        self._tenth = TENTHS * self._earlier // max(1, self._total)
        self._progress.start()
        self._show()

    def advance(self, run: str, epoch: int) -> None:
        """Report the number of epochs of a run that are done."""
        jump = epoch - self._epochs.get(run, 0)
        self._earlier += jump if jump > 1 else 0  # a resumed run, whose earlier epochs took no time now
        self._epochs[run] = epoch
        self._show()

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()

    @property
    def _total(self) -> int:
        return sum(self._wanted.values())

    def _show(self) -> None:
        done, total = sum(self._epochs.values()), self._total
        finished = sum(self._epochs.get(run, 0) >= epochs for run, epochs in self._wanted.items())
        words = f"{finished} of {counted(len(self._wanted), 'run')}"
        self._progress.update(self._task, completed=done, total=total, description=words)
        tenth = TENTHS * done // max(1, total)
        if not self._console.is_terminal and tenth > self._tenth:
            self._tenth = tenth
            words = f"{words}, {done:,} of {counted(total, 'epoch')}"
            say(self._console, f"{words}{self._left(done, total)}")

    def _left(self, done: int, total: int) -> str:
        if done >= total or done <= self._earlier:
            return ""
        seconds = (monotonic() - self._started) / (done - self._earlier) * (total - done)
        return f", about {duration(seconds)} left"
