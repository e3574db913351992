"""Settings, data and network of one experiment, found to fit each other before anything is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.numpy import save

from lenscope.data.form import measure_form
from lenscope.environment import describe_environment
from lenscope.errors import UsageError
from lenscope.nets.autoencoder import Reconstructs
from lenscope.nets.catalogue import NETWORKS, build, load_weights
from lenscope.runs.manifest import entry_of
from lenscope.runs.numerics import describe_numerics
from lenscope.runs.run import DataFacts, open_run
from lenscope.runs.unsure import UnsureRule, calibrate
from lenscope.training.devices import describe_gpu
from lenscope.training.fit import check_batch_size

if TYPE_CHECKING:
    from typing import Any

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.nets.catalogue import Network
    from lenscope.training.engine import Engine
    from lenscope.training.events import Weights


@dataclass(frozen=True, eq=False)
class Prepared:
    """What an experiment begins with.

    Attributes:
        config: its settings.
        whole: the data at their own size, as loaded.
        sized: the same at the network's size, with the validation part held out, and what is trained on of the rest.
        network: with its initial weights.
    """

    config: TrainConfig
    whole: Splits
    sized: Splits
    network: Network


def prepare(config: TrainConfig, splits: Splits) -> Prepared:
    """All that an experiment begins with; raises UsageError for settings that do not fit the data."""
    network = build(config.network, splits.train.channels, len(splits.classes), config.seed, config.init)
    sized = _sized(config, splits, network.image_size)
    check_batch_size(config, len(sized.train))
    return Prepared(config, splits, sized, network)


def _sized(config: TrainConfig, splits: Splits, size: int) -> Splits:
    """The parts at the network's size.

    All images are resized first, since the data keep them so: the next run on the same data, and one that is held out
    otherwise, begin at once. Only where a few are trained on, these alone are resized.
    """
    whole = splits.resized(size) if config.train_images is None else splits
    divided = whole.hold_out(config.validation, config.seed, stratify=config.stratify)
    return divided.keep(config.train_images, config.seed).resized(size)


def environment_of(engine: Engine, prepared: Prepared) -> dict[str, Any]:
    """What `environment.json` says of an experiment: the machine, the engine and the data."""
    facts: dict[str, Any] = {"engine": engine.name, "device": engine.device, "isa": engine.isa}
    facts |= {"threads": engine.threads, "ranks": engine.ranks, "gpu": describe_gpu(engine.device)}
    facts["numerics"] = describe_numerics(engine)
    return describe_environment() | facts | {"data": asdict(data_facts(prepared))}


def unsure_rule(prepared: Prepared, weights: Weights) -> UnsureRule | None:
    """When answers of the trained weights count as unsure; None for an autoencoder, or where there are few images."""
    config, splits = prepared.config, prepared.sized
    if config.reconstructs:
        return None
    network = build(config.network, splits.train.channels, len(splits.classes), config.seed)
    load_weights(network, weights)
    return calibrate(network.eval(), splits, config.threads)


def start_from(source: str | None, network: Network) -> dict[str, Any]:
    """Give a network the trained weights of a run, if one is named.

    Of an autoencoder a network that names classes takes the layers that both have, and keeps its own initial weights
    in the others. Else all tensors must agree.

    Returns:
        What `environment.json` is to say of it: the SHA-256 of the file of weights.

    Raises:
        UsageError: weights that cannot be a start.
    """
    if source is None:
        return {}
    run = open_run(source)
    weights = run.weights()
    origin = {"init_from": {"sha256": entry_of(save(weights)).sha256}}
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if run.config.reconstructs and not isinstance(network, Reconstructs):
        own = {name: shape for name, shape in own.items() if name in weights}
        weights = {name: array for name, array in weights.items() if name in own}
        if not own:
            raise UsageError(
                f"--init-from {source}: {_described(run.config.network)} has no layer of {_described(network)}; "
                "choose an autoencoder for a lenet, an mlp-autoencoder for an mlp"
            )
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
    tensors = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
    network.load_state_dict(dict(network.state_dict()) | tensors)
    return origin


def _described(network: str | Network) -> str:
    name = network if isinstance(network, str) else next(key for key, kind in NETWORKS.items() if kind is type(network))
    return f"an {name}" if name[0] in "aeiou" or name.startswith("mlp") else f"a {name}"


def data_facts(prepared: Prepared) -> DataFacts:
    """What a run is to know of its data."""
    whole, splits, train = prepared.whole, prepared.sized, prepared.whole.train
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
        form=measure_form(train.images),
    )
