"""Lenscope trains a LeNet in seconds on an ordinary CPU and shows what it learned.

>>> import lenscope
>>> data = lenscope.load("mnist")
>>> run = lenscope.train(data, epochs=10)  # doctest: +SKIP
>>> run.metrics.test_accuracy  # doctest: +SKIP
>>> lenscope.kernels(run, "conv1")  # doctest: +SKIP

Names are loaded when first used: importing lenscope imports neither torch nor matplotlib. `build` and
`TorchEngine` need PyTorch, the extra `torch`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lenscope import forks as _forks  # noqa: F401 - from now on forked children are looked after

if TYPE_CHECKING:  # `as`, so that type checkers take the names for this module's own
    from lenscope.api import compare as compare
    from lenscope.api import confusion as confusion
    from lenscope.api import curves as curves
    from lenscope.api import evaluate as evaluate
    from lenscope.api import examine as examine
    from lenscope.api import film as film
    from lenscope.api import kernels as kernels
    from lenscope.api import load as load
    from lenscope.api import mistakes as mistakes
    from lenscope.api import plot as plot
    from lenscope.api import predict as predict
    from lenscope.api import predict_each as predict_each
    from lenscope.api import reconstruct as reconstruct
    from lenscope.api import reconstructions as reconstructions
    from lenscope.api import report as report
    from lenscope.api import resume as resume
    from lenscope.api import show_preparation as show_preparation
    from lenscope.api import summary as summary
    from lenscope.api import train as train
    from lenscope.api import verify as verify
    from lenscope.config import TrainConfig as TrainConfig
    from lenscope.data.dataset import Dataset as Dataset
    from lenscope.data.dataset import Splits as Splits
    from lenscope.engines import choose_engine as choose_engine
    from lenscope.errors import DataError as DataError
    from lenscope.errors import Interrupted as Interrupted
    from lenscope.errors import LenscopeError as LenscopeError
    from lenscope.errors import NonFiniteError as NonFiniteError
    from lenscope.errors import RunError as RunError
    from lenscope.errors import SizeMismatchError as SizeMismatchError
    from lenscope.errors import StorageError as StorageError
    from lenscope.errors import UsageError as UsageError
    from lenscope.nets.initialisation import initial_weights as initial_weights
    from lenscope.nets.layers import Layer as Layer
    from lenscope.nets.layers import Network as Network
    from lenscope.pytorch.engine import TorchEngine as TorchEngine
    from lenscope.pytorch.nets.build import build as build
    from lenscope.runs.run import Run as Run
    from lenscope.runs.run import list_runs as list_runs
    from lenscope.runs.run import open_run as open_run
    from lenscope.training.fit import fit as fit
    from lenscope.training.fused_engine import FusedEngine as FusedEngine
    from lenscope.training.numpy_engine import NumpyEngine as NumpyEngine

_HOMES = {
    "compare": "api", "confusion": "api", "curves": "api", "evaluate": "api", "examine": "api", "film": "api",
    "kernels": "api", "load": "api", "mistakes": "api", "plot": "api", "predict": "api", "predict_each": "api",
    "reconstruct": "api", "reconstructions": "api", "report": "api", "resume": "api",
    "show_preparation": "api", "summary": "api", "train": "api", "verify": "api",
    "TrainConfig": "config",
    "Dataset": "data.dataset", "Splits": "data.dataset",
    "DataError": "errors", "Interrupted": "errors", "LenscopeError": "errors", "NonFiniteError": "errors",
    "RunError": "errors", "SizeMismatchError": "errors", "StorageError": "errors", "UsageError": "errors",
    "Layer": "nets.layers", "Network": "nets.layers", "initial_weights": "nets.initialisation",
    "build": "pytorch.nets.build",
    "Run": "runs.run", "list_runs": "runs.run", "open_run": "runs.run",
    "FusedEngine": "training.fused_engine", "NumpyEngine": "training.numpy_engine",
    "TorchEngine": "pytorch.engine", "choose_engine": "engines",
    "fit": "training.fit",
}  # fmt: skip

__all__ = [name for name, home in _HOMES.items() if not home.startswith("pytorch")]  # those need PyTorch


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lenscope' has no attribute '{name}'")
    return getattr(import_module(f"lenscope.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
