"""The console for progress, on which untrusted text appears as printable characters only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from lenscope.text import in_encoding, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType


class Screen(Console):
    """Standard error; rich's own control codes are written, those within a text are escaped.

    Characters that the stream's encoding lacks are replaced, also where no `text.screen` does that.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(file=options.pop("file", sys.stderr), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments that rich draws, with other control codes escaped."""
        for segment in super().render(renderable, options):
            own = segment.control or segment.text == "\n"
            yield segment if own else Segment(in_encoding(printable(segment.text), self.encoding), segment.style)


def say(console: Console, text: str, style: str = "") -> None:
    """Print one line literally, without markup, control codes or line feeds."""
    console.print(Text(printable(text), style), soft_wrap=True)
