"""The page's scripts and styles, kept as readable files and put into the page as they are."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

# In the order of their imports; a page is one module, so that it opens from a disk.
SCRIPTS = (
    *("arrays", "elements", "tiles", "parts", "chart", "kernels", "films", "section"),
    *("paper", "rules", "components", "ink", "prepare", "form"),
    *("network", "draw", "trace", "marks", "ask", "pass", "switches", "choose", "stages", "look"),
    *("mistakes", "main"),
)
STYLES = ("page", "charts", "kernels", "look", "mistakes")
HERE = files("lenscope.reports")
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async function|function|const|class)", re.MULTILINE)


@cache
def script() -> str:
    """All scripts as one module: without their imports of each other."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", read(f"js/{name}.js"))) for name in SCRIPTS)


@cache
def style() -> str:
    """All styles."""
    return "\n".join(read(f"css/{name}.css") for name in STYLES)


def read(path: str) -> str:
    """A file of this package."""
    return (HERE / path).read_text(encoding="utf-8")
