"""Watching data being packed: a bar on stderr, and afterwards what was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lenscope.data.listing import tell_skipped
from lenscope.text import printable
from lenscope.watch.screen import Screen, say

if TYPE_CHECKING:
    from rich.console import Console

    from lenscope.data.dataset import Splits

EACH = 1_000  # files; a terminal is drawn ten times a second, whatever comes


class PackingBar:
    """A bar while a set is packed, where stderr is a terminal; else a line at the beginning.

    Args:
        console: where to; by default stderr.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Screen()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(bar_width=32), MofNCompleteColumn(),
            TextColumn("pictures"), TimeRemainingColumn(), console=self._console, transient=True,
            disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._what = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int, of: int) -> None:
        """Show what is being done, how much of it is done, and of how much; 0 where nobody knows."""
        if what != self._what:
            self._what = what
            size = f" ({of:,} pictures{f', {done:,} of them already done' if done else ''})" if of else ""
            self._say(f"{what}{size} …")
            self._progress.start()
            self._task = self._progress.add_task(printable(what), total=of or None)
        if self._task is not None and (done % EACH == 0 or done == of):
            self._progress.update(self._task, completed=done)

    def note(self, splits: Splits) -> None:
        """Say which files were left out."""
        if splits.skipped:
            self._say(tell_skipped(splits.skipped))

    def _say(self, text: str) -> None:
        say(self._console, text)
