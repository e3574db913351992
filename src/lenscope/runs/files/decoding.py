"""Errors for broken files: one wording, whatever the format."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lenscope.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRONG_CONTENT = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def broken(source: str | Path, problem: str) -> RunError:
    """The error for a file with content that no run writes."""
    return RunError(f"{source}: {problem}; the run is broken")


@contextmanager
def decoding(source: str | Path, expected: str) -> Iterator[None]:
    """Turn the errors that wrong content causes into the error for a broken file, which is not what is expected."""
    try:
        yield
    except WRONG_CONTENT:
        raise broken(source, f"not {expected}") from None


def require_format(got: object, expected: int, source: str | Path) -> None:
    """Raise RunError for a format number other than the one that this version writes."""
    if got != expected:
        raise RunError(f"{source}: format {json.dumps(got)[:20]}, expected {expected}; use a newer Lenscope")
