from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from lenscope.watch.packing import PackingBar

if TYPE_CHECKING:
    from lenscope.data.dataset import Splits


def shown(*, terminal: bool) -> str:
    stream = io.StringIO()
    with PackingBar(Console(file=stream, force_terminal=terminal, width=100)) as bar:
        bar("waiting for another process", 0, 0)
        for done in range(3_001):
            bar("packing x[y]", done, 3_000)
    return stream.getvalue()


def test_one_line_per_task_without_a_terminal_and_a_bar_in_one() -> None:
    assert shown(terminal=False) == "waiting for another process …\npacking x[y] (3,000 pictures) …\n"
    text = shown(terminal=True)
    assert "3000/3000" in text
    assert "\x1b[2K" in text[-40:]


def test_only_skipped_files_are_noted(tiny: Splits) -> None:
    stream = io.StringIO()
    bar = PackingBar(Console(file=stream))
    bar.note(tiny)
    assert not stream.getvalue()
    bar.note(replace(tiny, skipped=(("train/a/[1].png", "broken"),)))
    assert stream.getvalue() == "left out 1 unreadable picture: train/a/[1].png: broken\n"


def test_notes_are_said_as_text(tiny: Splits) -> None:
    stream = io.StringIO()
    PackingBar(Console(file=stream)).note(replace(tiny, notes=("one [red] note", "another")))
    assert stream.getvalue() == "one [red] note\nanother\n"
