"""What decides the last bits of a run beside its settings and the packages' versions, as data."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lenscope.training.engine import Engine


def describe_numerics(engine: Engine) -> dict[str, str]:
    """What an engine's last bits depend on; a run that resumes elsewhere compares it."""
    return {"cosines and powers": _functions(), **engine.numerics()}


def _functions() -> str:
    """What the C library's cosine and power give: learning rates and Adam's bias corrections are made with them.

    glibc chooses them by the processor: with and without FMA, some values differ in the last bit.
    """
    steps = np.arange(4096)
    powers = [base**step for base in (0.9, 0.999) for step in range(1000)]
    return hashlib.sha256(np.cos(np.pi * steps / 4096).tobytes() + np.array(powers).tobytes()).hexdigest()[:12]
