"""Lenscope trains a LeNet in seconds on an ordinary CPU and shows what it learned.

>>> import lenscope
>>> data = lenscope.load("mnist")
>>> run = lenscope.train(data, epochs=10)  # doctest: +SKIP
>>> run.metrics.test_accuracy  # doctest: +SKIP
>>> lenscope.kernels(run, "conv1")  # doctest: +SKIP

Names are loaded when first used: importing lenscope imports neither torch nor matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lenscope import forks as _forks  # noqa: F401 - from now on forked children are looked after

if TYPE_CHECKING:
    from lenscope.api import (
        compare,
        confusion,
        curves,
        evaluate,
        examine,
        film,
        kernels,
        load,
        mistakes,
        plot,
        predict,
        predict_each,
        reconstruct,
        reconstructions,
        report,
        resume,
        show_preparation,
        summary,
        train,
        verify,
    )
    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset, Splits
    from lenscope.errors import (
        DataError,
        Interrupted,
        LenscopeError,
        NonFiniteError,
        RunError,
        SizeMismatchError,
        StorageError,
        UsageError,
    )
    from lenscope.nets.catalogue import build
    from lenscope.nets.lenet import LeNet
    from lenscope.nets.lenet1998 import LeNet1998
    from lenscope.runs.run import Run, list_runs, open_run
    from lenscope.training.choice import choose_engine
    from lenscope.training.fit import fit
    from lenscope.training.fused_engine import FusedEngine
    from lenscope.training.torch_engine import TorchEngine

_HOMES = {
    "compare": "api", "confusion": "api", "curves": "api", "evaluate": "api", "examine": "api", "film": "api",
    "kernels": "api", "load": "api", "mistakes": "api", "plot": "api", "predict": "api", "predict_each": "api",
    "reconstruct": "api", "reconstructions": "api", "report": "api", "resume": "api",
    "show_preparation": "api", "summary": "api", "train": "api", "verify": "api",
    "TrainConfig": "config",
    "Dataset": "data.dataset", "Splits": "data.dataset",
    "DataError": "errors", "Interrupted": "errors", "LenscopeError": "errors", "NonFiniteError": "errors",
    "RunError": "errors", "SizeMismatchError": "errors", "StorageError": "errors", "UsageError": "errors",
    "build": "nets.catalogue", "LeNet": "nets.lenet", "LeNet1998": "nets.lenet1998",
    "Run": "runs.run", "list_runs": "runs.run", "open_run": "runs.run",
    "FusedEngine": "training.fused_engine", "TorchEngine": "training.torch_engine", "choose_engine": "training.choice",
    "fit": "training.fit",
}  # fmt: skip

__all__ = [
    "DataError",
    "Dataset",
    "FusedEngine",
    "Interrupted",
    "LeNet",
    "LeNet1998",
    "LenscopeError",
    "NonFiniteError",
    "Run",
    "RunError",
    "SizeMismatchError",
    "Splits",
    "StorageError",
    "TorchEngine",
    "TrainConfig",
    "UsageError",
    "build",
    "choose_engine",
    "compare",
    "confusion",
    "curves",
    "evaluate",
    "examine",
    "film",
    "fit",
    "kernels",
    "list_runs",
    "load",
    "mistakes",
    "open_run",
    "plot",
    "predict",
    "predict_each",
    "reconstruct",
    "reconstructions",
    "report",
    "resume",
    "show_preparation",
    "summary",
    "train",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lenscope' has no attribute '{name}'")
    return getattr(import_module(f"lenscope.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
