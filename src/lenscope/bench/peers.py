"""The peers by name, and whether they are here."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lenscope.bench.own_process import in_own_process
from lenscope.bench.results import BASELINE
from lenscope.bench.torch_peers import compiled, eager, lecture

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.bench.task import Contestant, Task

PEERS: dict[str, dict[str, Callable[[Task], Contestant]]] = {
    "eager": {BASELINE: eager},
    "compiled": {"PyTorch compiled": compiled},
    "lecture": {f"lecture's script, {n} workers": partial(lecture, workers=n) for n in (2, 4)},
    "jax": {"JAX": partial(in_own_process, "jax_peer")},
    "keras": {"Keras on JAX": partial(in_own_process, "keras_peer")},
}
_NEEDS = {"jax": ("jax",), "keras": ("jax", "keras")}


def why_no_peer(name: str) -> str | None:
    """Which package a peer lacks and how to install it; None where it lacks none. Imports nothing."""
    lacking = [package for package in _NEEDS.get(name, ()) if find_spec(package) is None]
    return f"not installed: {', '.join(lacking)}; pip install 'lenscope[bench]'" if lacking else None
