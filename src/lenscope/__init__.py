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

from lenscope import forks as _forks  # noqa: F401 - from now on PyTorch works in forked children

if TYPE_CHECKING:  # with `as`, type checkers treat the names as this module's own
    from lenscope.api import *  # noqa: F403
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

_NAMES = {
    "api": "compare confusion curves evaluate examine film kernels load mistakes plot predict predict_each reconstruct "
    "reconstructions report resume show_preparation summary train verify",
    "config": "TrainConfig",
    "data.dataset": "Dataset Splits",
    "engines": "choose_engine",
    "errors": "DataError Interrupted LenscopeError NonFiniteError RunError SizeMismatchError StorageError UsageError",
    "nets.initialisation": "initial_weights",
    "nets.layers": "Layer Network",
    "pytorch.engine": "TorchEngine",
    "pytorch.nets.build": "build",
    "runs.run": "Run list_runs open_run",
    "training.fit": "fit",
    "training.fused_engine": "FusedEngine",
    "training.numpy_engine": "NumpyEngine",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__ = [name for name, home in _HOMES.items() if not home.startswith("pytorch")]  # those need PyTorch


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lenscope' has no attribute '{name}'")
    return getattr(import_module(f"lenscope.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
