"""The command line in one of some processes, without the pictures of a run.

Where FLOAT64 names a file, the network is one of float64, and the losses of its steps go there as float64.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from lenscope import cli
from lenscope.cli.train import Train
from lenscope.runs import follow, record
from lenscope.training.torch_engine import TorchEngine


def in_float64() -> list[float]:
    """Make what is trained from here on one of float64; returns where the losses of its steps will be."""
    losses: list[float] = []
    prepare, find = record.prepare, TorchEngine._find_gradients

    def prepared(*arguments: Any) -> Any:
        made = prepare(*arguments)
        made.network.double()
        return made

    def found(*arguments: Any) -> float | None:
        loss = find(*arguments)
        losses.extend([] if loss is None else [loss])
        return loss

    record.prepare = follow.prepare = prepared
    TorchEngine._find_gradients = found
    return losses


if __name__ == "__main__":
    Train._draw = lambda *_: None
    path = os.environ.get("FLOAT64")
    losses = in_float64() if path else []
    code = cli.main()
    if path and os.environ.get("RANK", "0") == "0":
        np.array(losses).tofile(path)
    sys.exit(code)
