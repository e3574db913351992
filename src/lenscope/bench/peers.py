"""The peers by name, and whether they are here."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lenscope.bench.engines import why_no_torch
from lenscope.bench.own_process import in_own_process
from lenscope.bench.results import BASELINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.bench.task import Contestant, Task


def _with_torch(name: str, task: Task, **how: int) -> Contestant:
    """A contestant of `torch_peers`, which needs PyTorch."""
    contestant: Contestant = getattr(import_module("lenscope.bench.torch_peers"), name)(task, **how)
    return contestant


PEERS: dict[str, dict[str, Callable[[Task], Contestant]]] = {
    "eager": {BASELINE: partial(_with_torch, "eager")},
    "compiled": {"PyTorch compiled": partial(_with_torch, "compiled")},
    "lecture": {f"lecture's script, {n} workers": partial(_with_torch, "lecture", workers=n) for n in (2, 4)},
    "jax": {"JAX": partial(in_own_process, "jax_peer")},
    "keras": {"Keras on JAX": partial(in_own_process, "keras_peer")},
}
_NEEDS = {"jax": ("jax",), "keras": ("jax", "keras")}


def why_no_peer(name: str) -> str | None:
    """What a peer lacks and how to install it; None where it lacks nothing. Imports PyTorch alone."""
    if name not in _NEEDS:
        return why_no_torch()
    lacking = [package for package in _NEEDS[name] if find_spec(package) is None]
    return f"not installed: {', '.join(lacking)}; pip install 'lenscope[bench]'" if lacking else None
