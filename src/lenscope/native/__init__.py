"""The native half of the fused engine: whether it is installed, and its instruction set."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from lenscope.environment import install_command
from lenscope.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

COMPILERS = ("c++", "g++", "clang++")


def load() -> ModuleType:
    """The extension `lenscope.native._core`; raises UsageError with the reason if it cannot be loaded."""
    try:
        return import_module("lenscope.native._core")
    except ImportError as error:
        raise UsageError(_why(error)) from None


def reason() -> str | None:
    """Why the extension cannot be loaded, in one line; None if it can."""
    try:
        load()
    except UsageError as error:
        return str(error)
    return None


def instruction_set() -> str:
    """The best instruction set of this processor, or the one named by the environment variable LENSCOPE_ISA.

    Raises:
        UsageError: LENSCOPE_ISA is unknown or not supported by this processor, or the extension cannot be loaded.
    """
    available: list[str] = load().instruction_sets()
    wanted = os.environ.get("LENSCOPE_ISA") or available[0]
    if wanted not in available:
        raise UsageError(f"LENSCOPE_ISA: got {wanted[:40]!r}, this processor supports: {', '.join(available)}")
    return wanted


def report_cut_files() -> None:
    """From now on, exit with a one-line message and code 1 if a mapped file is truncated while it is read.

    Does nothing without the extension or if a handler of SIGBUS is installed: then the process ends by SIGBUS.
    """
    with suppress(UsageError):
        load().report_cut_files()


def _why(error: ImportError) -> str:
    if not isinstance(error, ModuleNotFoundError):
        return f"the native engine cannot be loaded: {str(error).splitlines()[0]}; run: {install_command()}"
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        return (
            f"the native engine was not built, for lack of a C++ compiler; install g++, then run: {install_command()}"
        )
    return f"the native engine is not built, but {compiler} is installed now; run: {install_command()}"
