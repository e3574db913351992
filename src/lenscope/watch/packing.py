"""Progress of packing: a bar on stderr, and afterwards which files were left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lenscope.data.folders.listing import skipped_note
from lenscope.text import printable
from lenscope.watch.screen import Screen, say

if TYPE_CHECKING:
    from rich.console import Console

    from lenscope.data.dataset import Splits

EACH = 1_000  # files between two updates; a terminal is redrawn ten times per second at most


class PackingBar:
    """A progress bar while a folder is packed, where stderr is a terminal; else one line at the beginning.

    Args:
        console: where to write; by default stderr.
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

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show what is being done, and how much of it; a total of 0 is unknown."""
        if what != self._what:
            self._what = what
            say(self._console, f"{what}{f' ({total:,} pictures)' if total else ''} …")
            self._progress.start()
            self._task = self._progress.add_task(printable(what), total=total or None)
        if self._task is not None and (done % EACH == 0 or done == total):
            self._progress.update(self._task, completed=done)

    def note(self, splits: Splits) -> None:
        """Say how the data were read, and name the files that were left out."""
        for note in splits.notes:
            say(self._console, note)
        if splits.skipped:
            say(self._console, skipped_note(splits.skipped))
