"""All that needs PyTorch, which is an extra: other networks than the LeNet, GPUs, ranks, and networks as modules.

Beside it only the peers of `lenscope bench` import PyTorch. Importing the room imports it, and where it is missing
says so in one line.
"""

from __future__ import annotations

import atexit
import gc
import sys
from importlib import import_module

from lenscope.errors import UsageError


def _import_torch() -> None:
    """Import PyTorch, and take its objects, which stay until the end, out of the garbage collector's rounds.

    To look through these 165,000 again and again took 0.8 s: 0.2 s during the import, 0.1 s while pictures were drawn,
    0.5 s at the end of the process (cloud CPU, 2026-11).

    Raises:
        UsageError: it is not installed, or cannot be loaded.
    """
    if sys.modules.get("torch"):  # the process may live longer than one command
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        import_module("torch")
    except (ImportError, OSError) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "torch"
        said = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        why = "is not installed" if missing else f"cannot be loaded ({said})"
        raise UsageError(f"needs PyTorch, which {why}; run: pip install 'lenscope[torch]'") from None
    finally:
        gc.freeze()
        if collects:
            gc.enable()
    atexit.register(gc.freeze)


_import_torch()
