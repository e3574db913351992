"""Untrusted text (names of classes, files, runs and data sets, messages of libraries), made safe to display.

Such text may contain characters that control a terminal (escape sequences, line feeds), reverse the reading direction
(U+202E), or cannot be encoded (Python represents bytes of a file name that are not UTF-8 by lone surrogates).
`printable` replaces them by escapes; `screen` applies it to the standard streams of a process.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from numbers import Real
from typing import TYPE_CHECKING, Any, TextIO, cast
from unicodedata import category

if TYPE_CHECKING:
    from collections.abc import Callable

# Replacements for our own characters in encodings that lack them, such as cp1252 or ISO-8859-9.
PLAIN = dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True)) | {
    "×": "x", "−": "-", "–": "-", "━": "-", "─": "-", "…": "...", "→": "->", "·": ".", "\u00a0": " ", "\u202f": " ",
}  # fmt: skip
_STYLES = re.compile(r"([\n\t]|\x1b\[[0-9;]*m)")  # SGR: colours and weights, as in help texts on a terminal
HANDLER = "lenscope.plain"


def is_printable(character: str) -> bool:
    """Whether a character can be displayed: not a control, format, line separator, surrogate or private character."""
    return character.isprintable() or category(character) == "Zs"


def escape(character: str) -> str:
    r"""The Python escape of a character; of a lone surrogate in a file name, the escape of its byte.

    >>> escape("\x1b"), escape("\u202e"), escape("\udcff")
    ('\\x1b', '\\u202e', '\\xff')
    """
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()


def printable(text: str, shows: Callable[[str], bool] = is_printable) -> str:
    r"""A text on one line, with escapes for characters that cannot be displayed.

    >>> printable("a\x1b[2J\nb\u202ec, 3 × 日")
    'a\\x1b[2J\\nb\\u202ec, 3 × 日'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if shows(character) else escape(character) for character in text)


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, in the singular or plural.

    >>> counted(1, "class", "classes"), counted(1_000, "step")
    ('1 class', '1,000 steps')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def encodable(text: str) -> str:
    """A text with escapes for lone surrogates, which cannot be encoded as UTF-8; otherwise unchanged."""
    return printable(text, lambda character: category(character) != "Cs")


def in_encoding(text: str, encoding: str) -> str:
    """A text with replacements for the characters that an encoding lacks.

    >>> in_encoding("5×5 …", "ascii")
    '5x5 ...'
    """
    return text.encode(encoding, HANDLER).decode(encoding)


def for_stdout(text: str) -> str:
    """A text that `print` can write, also where no `screen` replaces what standard output's encoding lacks."""
    return in_encoding(text, getattr(sys.stdout, "encoding", None) or "utf-8")


def to_json(value: object, encoding: str = "utf-8") -> str:
    """A JSON document of printable characters of an encoding; numbers that are not finite become null."""

    def shown(line: str) -> str:
        if line.isascii() and line.isprintable():
            return line
        shows = (is_printable(character) and _has(encoding, character) for character in line)
        return "".join(c if show else json.dumps(c)[1:-1] for c, show in zip(line, shows, strict=True))

    text = json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False, default=str)
    return "\n".join(map(shown, text.split("\n")))


class Screened:
    """A stream that writes printable text, line feeds, tabs and styles; other characters are escaped.

    Args:
        stream: the target. The attribute's name lets rich find it, since `watch.screen` handles what rich draws.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        parts = _STYLES.split(text)
        self.rich_proxied_file.write("".join(part if at % 2 else printable(part) for at, part in enumerate(parts)))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def screen() -> ExitStack:
    """Make standard output and error write printable text only, and never fail because of their encoding.

    Returns:
        A context whose exit restores the streams.
    """
    end = ExitStack()
    for stream, redirect in ((sys.stdout, redirect_stdout), (sys.stderr, redirect_stderr)):
        if stream is None:  # the process has no such stream, and print does nothing
            continue
        if hasattr(stream, "reconfigure"):
            end.callback(stream.reconfigure, errors=stream.errors)
            stream.reconfigure(errors=HANDLER)
        end.enter_context(redirect(cast("TextIO", Screened(stream))))
    return end


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """An error handler of Python's codecs: replacements for characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(character) or escape(character) for character in lacking), error.end


codecs.register_error(HANDLER, _plainer)


def _has(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _finite(value: object) -> object:
    """A value for JSON, with None for each number that is not finite, also in dictionaries, lists and tuples."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, Real) and not math.isfinite(value) else value
