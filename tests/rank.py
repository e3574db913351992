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
from lenscope.pytorch.engine import TorchEngine
from lenscope.pytorch.nets import build


def in_float64() -> list[float]:
    """Make what is trained from here on one of float64; returns where the losses of its steps will be."""
    losses: list[float] = []
    made, find = build.build_module, TorchEngine._find_gradients

    def found(*arguments: Any) -> float | None:
        loss = find(*arguments)
        losses.extend([] if loss is None else [loss])
        return loss

    build.build_module = lambda *arguments: made(*arguments).double()
    TorchEngine._find_gradients = found
    return losses


if __name__ == "__main__":
    Train._draw = Train._write_report = lambda *_: None
    path = os.environ.get("FLOAT64")
    losses = in_float64() if path else []
    code = cli.main()
    if path and os.environ.get("RANK", "0") == "0":
        np.array(losses).tofile(path)
    sys.exit(code)
