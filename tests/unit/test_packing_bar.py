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
        for done in range(40, 3_001):
            bar("packing x[y]", done, 3_000)
    return stream.getvalue()


def test_without_a_terminal_there_is_a_line_for_each_thing_that_is_done() -> None:
    assert shown(terminal=False) == (
        "waiting for another process …\npacking x[y] (3,000 pictures, 40 of them already done) …\n"
    )


def test_in_a_terminal_there_is_a_bar_that_goes() -> None:
    told = shown(terminal=True)
    assert "3000/3000" in told
    assert told.endswith("\x1b[?25h\r\x1b[1A\x1b[2K") or "\x1b[2K" in told[-40:]


def test_what_was_left_out_is_told_and_nothing_else(tiny: Splits) -> None:
    stream = io.StringIO()
    bar = PackingBar(Console(file=stream))
    bar.note(tiny)
    assert not stream.getvalue()
    bar.note(replace(tiny, skipped=(("train/a/[1].png", "broken"),)))
    assert stream.getvalue() == "left out 1 unreadable picture: train/a/[1].png: broken\n"
