"""The choice of the engine that trains a network, and predictions without PyTorch.

PyTorch is imported only when its engine is chosen: a LeNet is trained and used without it.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from lenscope import native
from lenscope.errors import UsageError, needed_by
from lenscope.nets import numpy_pass
from lenscope.training import fused_engine
from lenscope.training.fused_engine import FusedEngine
from lenscope.training.numpy_engine import NumpyEngine
from lenscope.training.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Network, Weights
    from lenscope.pytorch.ranks import ProcessGroup
    from lenscope.training.engine import Engine

Backend = Literal["fused", "numpy", "torch"]


def choose_backend(network: Network, config: TrainConfig, ranks: ProcessGroup | None = None) -> Backend:
    """The engine that a config names; `auto` is fused for a LeNet on the CPU, numpy where fused cannot be used.

    Raises:
        UsageError: an engine that cannot train this network, on this device, or with these ranks.
    """
    wanted = config.engine
    if wanted in {"fused", "numpy"}:
        problem = _unsupported_reason(wanted, network, config, ranks)
        if problem:
            raise UsageError(f"--engine {wanted}: {problem}; leave it out")
        return wanted
    if wanted == "torch" or ranks or network.name != "lenet" or config.device in {"cuda", "mps"}:
        return "torch"
    return "numpy" if _unsupported_reason("fused", network, config, ranks) else "fused"


def require_backend(network: Network, config: TrainConfig, ranks: ProcessGroup | None = None) -> Backend:
    """As `choose_backend`; raises UsageError as well where the engine is torch and PyTorch is not installed."""
    backend = choose_backend(network, config, ranks)
    if backend == "torch":
        with needed_by(_reason_for_torch(network, config, ranks)):
            import_module("lenscope.pytorch")
    return backend


def choose_engine(
    network: Network, weights: Weights, train: Dataset, config: TrainConfig, ranks: ProcessGroup | None = None
) -> Engine:
    """The engine that `choose_backend` names, with a note for the user if it is not the fastest one.

    Args:
        network: a network of the catalogue.
        weights: its initial weights; copied.
        train: images at the network's size.
        config: engine and device, and the engine's settings.
        ranks: processes that share each step; only the torch engine supports them.

    Raises:
        UsageError: an engine that cannot train this network, a device that this machine lacks, an unsupported
            LENSCOPE_ISA, or PyTorch is needed and not installed.
    """
    native.report_cut_files()
    backend = require_backend(network, config, ranks)
    if backend == "torch":
        from lenscope.pytorch.engine import TorchEngine
        from lenscope.pytorch.nets.build import build_module

        return TorchEngine(build_module(network, weights), train, config, ranks=ranks)
    if backend == "fused":
        return FusedEngine(network, weights, train, config)
    if fused_engine.unsupported_reason(network) is None:
        native.instruction_set()  # predictions are native: refuse a wrong LENSCOPE_ISA before training
    engine = NumpyEngine(network, weights, train, config)
    if config.engine == "auto":
        reason = _unsupported_reason("fused", network, config, ranks)
        engine.note = f"the engine is numpy, several times as slow as fused: {reason}"
    return engine


@contextmanager
def engine_for(
    network: Network, weights: Weights, train: Dataset, config: TrainConfig, ranks: ProcessGroup | None = None
) -> Iterator[Engine]:
    """The engine of `choose_engine`; inside the context the caller's defaults of PyTorch have no effect on it."""
    with ExitStack() as stack:
        if require_backend(network, config, ranks) == "torch":
            from lenscope.pytorch.numerics import settled

            stack.enter_context(settled())
        yield choose_engine(network, weights, train, config, ranks)


def predict_log_probabilities(
    network: Network, weights: Weights, dataset: Dataset, threads: int | None = None
) -> NDArray[np.float32]:
    """A network's log-probabilities for each image; float32, shape (N, classes).

    Args:
        network: one that classifies.
        weights: its weights.
        dataset: images at the network's size.
        threads: of the native code; by default one per processor that this process may use.
    """
    native.report_cut_files()
    if fused_engine.unsupported_reason(network):
        return numpy_pass.log_probabilities(network, weights, dataset.images)
    return fused_engine.log_probabilities(network, weights, dataset.images, threads)


def _unsupported_reason(engine: str, network: Network, config: TrainConfig, ranks: ProcessGroup | None) -> str | None:
    """Why the fused or the numpy engine cannot train this; None where it can."""
    if ranks:
        return f"trains only in one process, got {ranks.count} ranks"
    if config.device not in {"auto", "cpu"}:
        return f"runs only on the CPU, got --device {config.device}"
    if engine == "fused":
        lacks = None if OPTIMIZERS[config.optimizer].native else f"does not support the optimiser {config.optimizer}"
        return lacks or fused_engine.unsupported_reason(network)
    return None if network.name == "lenet" else f"trains only a LeNet, got {network.title}"


def _reason_for_torch(network: Network, config: TrainConfig, ranks: ProcessGroup | None) -> str:
    """The setting that needs PyTorch, for an error message."""
    if ranks:
        return "training by several ranks"
    if config.engine == "torch":
        return "--engine torch"
    return f"--device {config.device}" if network.name == "lenet" else f"the network {network.name}"
