"""The setting `init_from`: training starts from the weights of a trained run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safetensors.numpy import save

from lenscope.errors import UsageError
from lenscope.nets.layers import first_broken
from lenscope.runs.files.manifest import fingerprint
from lenscope.runs.run import open_run

if TYPE_CHECKING:
    from lenscope.nets.layers import Network, Weights


def start_from(source: str | None, network: Network, weights: Weights) -> tuple[Weights, dict[str, Any]]:
    """The weights that training starts from: those of a trained run, or without one `weights`.

    From an autoencoder, a classifier takes the layers that both have, and keeps its own initial weights in the other
    layers. From any other run, all arrays must agree.

    Args:
        source: directory of the run.
        network: the network to train.
        weights: its own initial weights.

    Returns:
        The weights, and their entry for `environment.json`: the SHA-256 of the run's weights.

    Raises:
        UsageError: weights that do not fit.
    """
    if source is None:
        return weights, {}
    run = open_run(source)
    theirs = run.weights()
    origin = {"init_from": {"sha256": fingerprint(save(theirs)).sha256}}
    own = network.shapes
    if run.config.reconstructs and network.has_classes:
        own = {name: shape for name, shape in own.items() if name in theirs}
        theirs = {name: array for name, array in theirs.items() if name in own}
        if not own:
            raise UsageError(
                f"--init-from {source}: {run.config.network} and {network.name} have no layer in common; "
                "choose a run of autoencoder for lenet, of mlp-autoencoder for mlp"
            )
    shapes = {name: array.shape for name, array in theirs.items()}
    if own != shapes:
        name, _ = min(own.items() ^ shapes.items())
        raise UsageError(
            f"--init-from {source}: {name} is {shapes.get(name, 'missing')}, expected {own.get(name, 'none')}; "
            "choose a run of the same network, channels and classes"
        )
    broken = first_broken(theirs)
    if broken:
        raise UsageError(f"--init-from {source}: {broken} is not finite; choose a run with finite weights")
    return {name: theirs.get(name, array) for name, array in weights.items()}, origin
