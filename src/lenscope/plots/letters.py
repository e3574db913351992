"""The characters that the installed fonts can draw; others are drawn as escapes, never as boxes."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

from lenscope.text import is_printable, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEJAVU = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew and many signs
# Fonts of other scripts on macOS, Windows and Linux; the first one with a character draws it.
OTHERS = (
    "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Arial Unicode MS",
    "Yu Gothic", "Meiryo", "MS Gothic", "Microsoft YaHei", "SimHei", "Malgun Gothic", "Nirmala UI", "Leelawadee UI",
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR", "Source Han Sans",
    "IPAexGothic", "IPAGothic", "TakaoPGothic", "VL PGothic", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Droid Sans Fallback", "NanumGothic", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Bengali",
    "Noto Sans Tamil", "Noto Sans", "Noto Emoji", "Unifont",
)  # fmt: skip


@cache
def families() -> list[str]:
    """The font families, in the order in which they are searched for a character."""
    installed = {font.name for font in fontManager.ttflist}
    return [DEJAVU, *(name for name in OTHERS if name in installed)]


@contextmanager
def quiet_about_weights() -> Iterator[None]:
    """Suppress matplotlib's line on stderr for each family without bold letters."""
    log = logging.getLogger("matplotlib.font_manager")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def drawable(text: str) -> str:
    r"""A text as a picture can show it: characters that no font has become escapes; line feeds stay.

    >>> drawable("a\n\x1b")
    'a\n\\x1b'
    """
    return printable(text, lambda character: character == "\n" or _has_letter(character))


def short(name: str, letters: int) -> str:
    """A name on one line, shortened in its middle to at most `letters` letters.

    >>> short("a class with a long name 7", 13)
    'a clas…name 7'
    """
    name = drawable(printable(name))
    tail = (letters - 1) // 2
    return name if len(name) <= letters else f"{name[: letters - 1 - tail]}…{name[len(name) - tail :]}"


def short_each(names: Iterable[str], letters: int) -> list[str]:
    """Names shortened to at most `letters` letters; those that would look the same get their number, from 0.

    >>> short_each(["a very long one", "a very lost one"], 9)
    ['a v…ne #0', 'a v…ne #1']
    """
    names = list(names)
    cut = [short(name, letters) for name in names]
    times = Counter(cut)
    marks = [f" #{number}" if times[name] > 1 else "" for number, name in enumerate(cut)]
    return [short(name, letters - len(mark)) + mark for name, mark in zip(names, marks, strict=True)]


@cache
def _has_letter(character: str) -> bool:
    return is_printable(character) and any(ord(character) in _letters(family) for family in families())


@cache
def _letters(family: str) -> frozenset[int]:
    """The code points that both the regular and the bold font of a family have."""
    fonts = [FontProperties(family=family, weight=weight) for weight in ("normal", "bold")]
    with quiet_about_weights():
        return frozenset.intersection(*(_code_points(findfont(font)) for font in fonts))


def _code_points(path: str) -> frozenset[int]:
    return frozenset(get_font(path).get_charmap())
