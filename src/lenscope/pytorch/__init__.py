"""Everything that needs PyTorch, an optional dependency: networks other than the LeNet, GPUs, ranks, and modules.

Importing this package imports PyTorch, and raises an error of one line where it is missing.
"""

from __future__ import annotations

import atexit
import gc
import sys
from importlib import import_module

from lenscope.environment import install_command
from lenscope.errors import UsageError


def _import_torch() -> None:
    """Import PyTorch, and exclude its 165,000 objects, which are never freed, from garbage collection.

    Scanning them repeatedly took 0.8 s: 0.2 s during the import, 0.1 s while pictures were drawn, 0.5 s at the end of
    the process (cloud CPU, 2026-11).

    Raises:
        UsageError: PyTorch is not installed, or cannot be loaded.
    """
    if sys.modules.get("torch"):  # imported before: a process may run several commands
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        import_module("torch")
    except (ImportError, OSError) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "torch"
        said = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        why = "is not installed" if missing else f"cannot be loaded ({said})"
        raise UsageError(f"needs PyTorch, which {why}; run: {install_command('torch')}") from None
    finally:
        gc.freeze()
        if collects:
            gc.enable()
    atexit.register(gc.freeze)


_import_torch()
