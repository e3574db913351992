"""PyTorch in forked children.

PyTorch's OpenMP keeps its threads between operations. A forked child inherits the record of these threads but not the
threads, so its first parallel operation waits for them forever (3 of 3 forks; torch 2.13, libgomp). An operation on
one thread uses no pool; PyTorch's own DataLoader limits its forked workers to one thread, too. The fused engine starts
its threads per call and needs no limit.
"""

from __future__ import annotations

import os
import sys

_limited: list[int] = []  # this process, if it is a forked child of a process that had loaded PyTorch


def is_limited() -> bool:
    """Whether this process is a forked child in which PyTorch can only use one thread."""
    return bool(_limited)


def _limit() -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
        _limited.append(os.getpid())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_limit)
