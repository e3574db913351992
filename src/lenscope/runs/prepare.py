"""Settings, data and network of one experiment, found to fit each other before anything is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from safetensors.numpy import save

from lenscope.data.form import measure_form
from lenscope.environment import describe_environment
from lenscope.errors import UsageError
from lenscope.nets.initialisation import initial_weights
from lenscope.nets.layers import Network, first_broken
from lenscope.runs.manifest import entry_of
from lenscope.runs.numerics import describe_numerics
from lenscope.runs.run import DataFacts, open_run
from lenscope.runs.unsure import UnsureRule, calibrate
from lenscope.training.fit import check_batch_size

if TYPE_CHECKING:
    from typing import Any

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.nets.layers import Weights
    from lenscope.training.engine import Engine


@dataclass(frozen=True, eq=False)
class Prepared:
    """What an experiment begins with.

    Attributes:
        config: its settings.
        whole: the data at their own size, as loaded.
        sized: the same at the network's size, with the validation part held out, and what is trained on of the rest.
        network: what is trained.
        weights: its initial weights as the seed gives them.
    """

    config: TrainConfig
    whole: Splits
    sized: Splits
    network: Network
    weights: Weights


def prepare(config: TrainConfig, splits: Splits) -> Prepared:
    """All that an experiment begins with; raises UsageError for settings that do not fit the data."""
    network = Network(config.network, splits.train.channels, len(splits.classes))
    weights = initial_weights(network, config.seed, config.init)
    sized = _sized(config, splits, network.image_size)
    check_batch_size(config, len(sized.train))
    return Prepared(config, splits, sized, network, weights)


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
    facts |= {"threads": engine.threads, "ranks": engine.ranks, "gpu": engine.gpu}
    facts["numerics"] = describe_numerics(engine)
    return describe_environment() | facts | {"data": asdict(data_facts(prepared))}


def unsure_rule(prepared: Prepared, weights: Weights) -> UnsureRule | None:
    """When answers of the trained weights count as unsure; None for an autoencoder, or where there are few images."""
    config = prepared.config
    return None if config.reconstructs else calibrate(prepared.network, weights, prepared.sized, config.threads)


def start_from(source: str | None, network: Network, weights: Weights) -> tuple[Weights, dict[str, Any]]:
    """The weights to start from: those of a trained run, if one is named, else `weights`.

    Of an autoencoder, a network that names classes takes the layers that both have, and keeps its own initial weights
    in the others. Else all arrays must agree.

    Returns:
        The weights, and what `environment.json` is to say of them: the SHA-256 of the file that they come from.

    Raises:
        UsageError: weights that cannot be a start.
    """
    if source is None:
        return weights, {}
    run = open_run(source)
    theirs = run.weights()
    origin = {"init_from": {"sha256": entry_of(save(theirs)).sha256}}
    own = network.shapes
    if run.config.reconstructs and network.has_classes:
        own = {name: shape for name, shape in own.items() if name in theirs}
        theirs = {name: array for name, array in theirs.items() if name in own}
        if not own:
            raise UsageError(
                f"--init-from {source}: {_described(run.config.network)} has no layer of {_described(network.name)}; "
                "choose an autoencoder for a lenet, an mlp-autoencoder for an mlp"
            )
    shapes = {name: array.shape for name, array in theirs.items()}
    if own != shapes:
        name, _ = min(own.items() ^ shapes.items())
        raise UsageError(
            f"--init-from {source}: {name} is {shapes.get(name, 'not there')}, expected {own.get(name, 'none')}; "
            "choose a run of the same network, channels and classes"
        )
    broken = first_broken(theirs)
    if broken:
        raise UsageError(f"--init-from {source}: {broken} is not finite; choose a run whose weights are")
    return {name: theirs.get(name, array) for name, array in weights.items()}, origin


def _described(network: str) -> str:
    return f"an {network}" if network[0] in "aeiou" or network.startswith("mlp") else f"a {network}"


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
