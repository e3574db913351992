"""Settings, data and network of one experiment, found to fit each other before anything is written."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from lenscope.environment import describe_environment
from lenscope.errors import UsageError
from lenscope.nets.catalogue import build
from lenscope.runs.run import DataFacts, open_run
from lenscope.training.fit import check_batch_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.nets.catalogue import Network
    from lenscope.training.engine import Engine


@dataclass(frozen=True, eq=False)
class Prepared:
    """What an experiment begins with.

    Attributes:
        config: its settings.
        whole: the data at their own size, as loaded.
        held: the same with the validation part held out, and what is trained on of the rest.
        sized: the same at the network's size.
        network: with its initial weights.
    """

    config: TrainConfig
    whole: Splits
    held: Splits
    sized: Splits
    network: Network


def prepare(config: TrainConfig, splits: Splits) -> Prepared:
    """All that an experiment begins with; raises UsageError for settings that do not fit the data."""
    held = splits.hold_out(config.validation, config.seed).keep(config.train_images, config.seed)
    check_batch_size(config, len(held.train))
    network = build(config.network, held.train.channels, len(held.classes), config.seed, config.init)
    return Prepared(config, splits, held, held.resized(network.image_size), network)


def environment_of(engine: Engine, prepared: Prepared) -> dict[str, Any]:
    """What `environment.json` says of an experiment: the machine, the engine and the data."""
    facts = {"engine": engine.name, "device": engine.device, "isa": engine.isa, "threads": engine.threads}
    return describe_environment() | facts | {"data": asdict(_facts(prepared.whole, prepared.held))}


def start_from(source: str | None, network: Network) -> None:
    """Give a network the trained weights of a run, if one is named; raises UsageError for what cannot be a start."""
    if source is None:
        return
    weights = open_run(source).weights()
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    theirs = {name: array.shape for name, array in weights.items()}
    if own != theirs:
        name, _ = min(own.items() ^ theirs.items())
        raise UsageError(
            f"--init-from {source}: {name} is {theirs.get(name, 'not there')}, expected {own.get(name, 'none')}; "
            "choose a run of the same network, channels and classes"
        )
    broken = [name for name, array in weights.items() if not np.isfinite(array).all()]
    if broken:
        raise UsageError(f"--init-from {source}: {broken[0]} is not finite; choose a run whose weights are")
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})


@contextmanager
def threads_kept() -> Iterator[None]:
    """Give PyTorch back the number of threads that it had."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _facts(whole: Splits, splits: Splits) -> DataFacts:
    train = whole.train
    return DataFacts(
        name=train.name,
        source=train.source,
        licence=train.licence,
        train_sha256=train.sha256,
        test_sha256=whole.test.sha256 if whole.test else None,
        classes=train.classes,
        channels=train.channels,
        image_size=(train.images.shape[2], train.images.shape[3]),
        train_images=len(splits.train),
        validation_images=len(splits.validation or ()),
        test_images=len(splits.test or ()),
    )
