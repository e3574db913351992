"""Our engines as contestants, driven by the training loop itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from lenscope import native
from lenscope.bench.task import RATE, Contestant, Task
from lenscope.config import TrainConfig
from lenscope.data.dataset import Splits
from lenscope.nets.catalogue import build
from lenscope.nets.lenet import LeNet
from lenscope.training.device_steps import uncaptured
from lenscope.training.events import EpochDone
from lenscope.training.fit import fit
from lenscope.training.fused_engine import FusedEngine
from lenscope.training.torch_engine import TorchEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.config import DeviceName
    from lenscope.data.dataset import Dataset
    from lenscope.training.engine import Engine


def fused(task: Task) -> Contestant:
    """The fused engine."""
    return _contestant(task, FusedEngine)


def torch_on_cpu(task: Task) -> Contestant:
    """The torch engine on the CPU."""
    return _contestant(task, TorchEngine)


def torch_on_cuda(task: Task) -> Contestant:
    """The torch engine on the GPU, its steps captured."""
    return _contestant(task, TorchEngine, "cuda")


def torch_on_cuda_uncaptured(task: Task) -> Contestant:
    """The torch engine on the GPU, each kernel of a step started by the host."""
    return _contestant(task, lambda network, train, config: TorchEngine(network, train, config, uncaptured), "cuda")


def why_no_cuda() -> str | None:
    """Why there is no GPU for PyTorch; None where there is one."""
    return None if torch.cuda.is_available() else f"PyTorch {torch.__version__} finds no CUDA device here"


def default_engines() -> tuple[str, ...]:
    """Those to time where nobody names any: with a GPU also those on it."""
    return tuple(name for name in ENGINES if "cuda" not in name or why_no_cuda() is None)


ENGINES: dict[str, tuple[Callable[[Task], Contestant], Callable[[], str | None]]] = {
    "fused": (fused, native.reason),
    "torch": (torch_on_cpu, lambda: None),
    "torch-cuda": (torch_on_cuda, why_no_cuda),
    "torch-cuda-uncaptured": (torch_on_cuda_uncaptured, why_no_cuda),
}


def _contestant(
    task: Task, make: Callable[[LeNet, Dataset, TrainConfig], Engine], device: DeviceName = "cpu"
) -> Contestant:
    config = TrainConfig(
        learning_rate=RATE, batch_size=task.batch_size, threads=task.threads, device=device, epochs=1_000_000
    )
    train, test = task.train.resized(LeNet.image_size), task.test.resized(LeNet.image_size)
    engine = make(cast("LeNet", build("lenet", train.channels, len(train.classes), seed=0)), train, config)
    events = fit(config, Splits(train), engine)

    def epoch() -> float:
        done = (event.metrics.train_loss for event in events if isinstance(event, EpochDone))
        return next(loss for loss in done if loss is not None)  # the first row is of the untrained network

    return Contestant(epoch, lambda: engine.evaluate(test).loss, engine.device)
