"""PyTorch's threads and its generator, also in a forked child (`forks.py`)."""

from __future__ import annotations

import os
from threading import RLock

import torch

from lenscope import forks
from lenscope.errors import UsageError

# Held while torch's one generator is used. Two threads that ask for its state can wait for one another for ever: one
# holds it and waits for Python's lock, which it gave away to collect garbage; the other does the reverse (torch 2.13).
# A fork waits for it: a child whose parent's other thread held it at that moment would never get it.
GENERATOR = RLock()


def set_threads(threads: int) -> None:
    """Use this many threads in PyTorch's operations; raises UsageError for several in a forked child."""
    if threads > 1 and forks.is_limited():
        raise UsageError(
            f"threads: got {threads} in a forked process, where PyTorch can use 1; pass threads=1 or start processes "
            "with multiprocessing's spawn"
        )
    torch.set_num_threads(threads)


def usable(device: torch.device) -> torch.device:
    """The device; raises UsageError for a GPU that the parent of this forked process has used."""
    if device.type == "cuda" and torch.cuda._is_in_bad_fork():  # noqa: SLF001 - it has no public name
        raise UsageError(
            "device cuda: a forked process cannot use the GPU of its parent; pass device cpu or start processes with "
            "multiprocessing's spawn"
        )
    return device


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=GENERATOR.acquire, after_in_parent=GENERATOR.release, after_in_child=GENERATOR.release)
