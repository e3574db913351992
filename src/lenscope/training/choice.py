"""Which engine takes the updates of a network, and which way its predictions are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lenscope import native
from lenscope.errors import UsageError
from lenscope.training import fused_engine, torch_engine
from lenscope.training.devices import choose_device
from lenscope.training.fused_engine import FusedEngine
from lenscope.training.torch_engine import TorchEngine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Dataset
    from lenscope.nets.lenet import LeNet
    from lenscope.training.engine import Engine
    from lenscope.training.ranks import Ranks


def choose_engine(network: nn.Module, train: Dataset, config: TrainConfig, ranks: Ranks | None = None) -> Engine:
    """The engine that a config names; for `auto`, fused for a LeNet on the CPU where it is built, else torch.

    Args:
        network: its parameters are trained in place.
        train: images at the network's size.
        config: names engine and device; `fused` takes the CPU where the device is left open.
        ranks: processes that are to share each step, which torch alone can.

    Raises:
        UsageError: `fused` where it cannot be, a device that this machine lacks, or a wrong LENSCOPE_ISA.
    """
    native.report_cut_files()
    if ranks and config.engine == "fused":
        raise UsageError(f"--engine fused: trains in one process, got {ranks.count} ranks; choose --engine torch")
    if config.engine == "torch" or ranks:
        return TorchEngine(network, train, config, ranks=ranks)
    why_not = _obstacle(network, config)
    if why_not is None:
        return FusedEngine(cast("LeNet", network), train, config)
    if config.engine == "fused":
        raise UsageError(f"--engine fused: {why_not}")
    return TorchEngine(network, train, config)


def predict_log_probabilities(network: nn.Module, dataset: Dataset, threads: int | None = None) -> NDArray[np.float32]:
    """What a network says of each image: log-probabilities, float32, shape (N, classes); native where it can be.

    Args:
        network: on any device.
        dataset: images at the network's size.
        threads: of the native code; by default as many as this process may use processors.
    """
    native.report_cut_files()
    if fused_engine.obstacle(network) is None:
        return fused_engine.predict_log_probabilities(cast("LeNet", network), dataset, threads)
    return torch_engine.predict_log_probabilities(network, dataset)


def _obstacle(network: nn.Module, config: TrainConfig) -> str | None:
    on_cpu = config.engine == "fused" and config.device == "auto"
    device = "cpu" if on_cpu else choose_device(config.device).type
    if device != "cpu":
        return f"runs on the CPU, got --device {device}; leave it out, or choose --engine torch"
    return fused_engine.obstacle(network)
