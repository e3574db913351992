"""The native half of the fused engine: whether it is here, and with which instruction set."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from lenscope.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

COMPILERS = ("c++", "g++", "clang++")


def load() -> ModuleType:
    """The extension `lenscope.native._core`; raises UsageError with the reason where it is not here."""
    try:
        return import_module("lenscope.native._core")
    except ImportError as error:
        raise UsageError(_why(error)) from None


def reason() -> str | None:
    """Why the extension is not here, in one line; None where it is."""
    try:
        load()
    except UsageError as error:
        return str(error)
    return None


def instruction_set() -> str:
    """The best instruction set of this processor, or the one that the environment's LENSCOPE_ISA names.

    Raises:
        UsageError: LENSCOPE_ISA names one that is unknown or that this processor lacks, or the extension is not here.
    """
    there: list[str] = load().instruction_sets()
    wanted = os.environ.get("LENSCOPE_ISA")
    if not wanted:
        return there[0]
    if wanted not in there:
        raise UsageError(f"LENSCOPE_ISA: got {wanted[:40]!r}, which does not run here; choose from: {', '.join(there)}")
    return wanted


def report_cut_files() -> None:
    """From here on say in one line, with exit code 1, that a mapped file became shorter while it was read.

    Without the extension such a read ends the process by SIGBUS without a word, as it does for whoever handles SIGBUS
    already; nothing is put in the place of the bytes that are gone, since they would be trained on.
    """
    with suppress(UsageError):
        load().report_cut_files()


def _why(error: ImportError) -> str:
    if not isinstance(error, ModuleNotFoundError):
        return f"the native engine cannot be loaded: {str(error).splitlines()[0]}; run pip install again"
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        return "the native engine was built without a C++ compiler; install g++ and run pip install again"
    return f"the native engine is not built, though {compiler} is here now; run pip install again, with -v"
