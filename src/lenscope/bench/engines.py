"""Our engines as contestants, driven by the training loop itself."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from lenscope import native
from lenscope.bench.task import RATE, Contestant, Task
from lenscope.config import TrainConfig
from lenscope.data.dataset import Splits
from lenscope.engines import choose_engine
from lenscope.errors import UsageError
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network
from lenscope.training.events import EpochDone
from lenscope.training.fit import fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.config import DeviceName, EngineName
    from lenscope.data.dataset import Dataset
    from lenscope.nets.layers import Weights
    from lenscope.training.engine import Engine

    Make = Callable[[Network, Weights, Dataset, TrainConfig], Engine]


def why_no_torch() -> str | None:
    """Why PyTorch is not here; None where it is."""
    try:
        import_module("lenscope.pytorch")
    except UsageError as error:
        return str(error)
    return None


def why_no_cuda() -> str | None:
    """Why there is no GPU for PyTorch; None where there is one."""
    if why_not := why_no_torch():
        return why_not
    import torch

    return None if torch.cuda.is_available() else f"PyTorch {torch.__version__} finds no CUDA device here"


def default_engines() -> tuple[str, ...]:
    """Those to time where nobody names any: all that are quick, with a GPU also those on it."""
    return tuple(name for name in ENGINES if name != "numpy" and ("cuda" not in name or why_no_cuda() is None))


def _uncaptured(network: Network, weights: Weights, train: Dataset, config: TrainConfig) -> Engine:
    from lenscope.pytorch.device_steps import uncaptured
    from lenscope.pytorch.engine import TorchEngine
    from lenscope.pytorch.nets.build import build_module

    return TorchEngine(build_module(network, weights), train, config, uncaptured)


def _contestant(
    task: Task, engine_name: EngineName, device: DeviceName = "cpu", make: Make = choose_engine
) -> Contestant:
    config = TrainConfig(engine=engine_name, device=device, threads=task.threads, epochs=1_000_000)
    config = config.with_settings(learning_rate=RATE, batch_size=task.batch_size)
    network = Network("lenet", task.train.channels, len(task.train.classes))
    train, test = task.train.resized(network.image_size), task.test.resized(network.image_size)
    engine = make(network, initial_weights(network, seed=0), train, config)
    events = fit(config, Splits(train), engine)

    def epoch() -> float:
        done = (event.metrics.train_loss for event in events if isinstance(event, EpochDone))
        return next(loss for loss in done if loss is not None)  # the first row is of the untrained network

    return Contestant(epoch, lambda: engine.evaluate(test).loss, engine.device)


ENGINES: dict[str, tuple[Callable[[Task], Contestant], Callable[[], str | None]]] = {
    "fused": (partial(_contestant, engine_name="fused"), native.reason),
    "numpy": (partial(_contestant, engine_name="numpy"), lambda: None),
    "torch": (partial(_contestant, engine_name="torch"), why_no_torch),
    "torch-cuda": (partial(_contestant, engine_name="torch", device="cuda"), why_no_cuda),
    "torch-cuda-uncaptured": (
        partial(_contestant, engine_name="torch", device="cuda", make=_uncaptured),
        why_no_cuda,
    ),
}
