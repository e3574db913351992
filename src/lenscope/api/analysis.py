"""Verbs that measure a run or a network and return plain values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lenscope.api.data import split_to_measure
from lenscope.errors import needed_by
from lenscope.runs.run import opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import torch

    from lenscope.api.data import DataLike, RunLike
    from lenscope.config import Preparation
    from lenscope.errors import DataError
    from lenscope.insight.answers import Prediction
    from lenscope.insight.insight import Insight
    from lenscope.insight.mistakes import Evaluation
    from lenscope.insight.reconstructions import Reconstructions
    from lenscope.nets.layers import Network
    from lenscope.nets.summary import Summary


def evaluate(run: RunLike, data: DataLike | None = None, *, data_dir: str | Path | None = None) -> Evaluation:
    """Measure a run's trained network on labelled images.

    Args:
        run: the run or its directory.
        data: a data set, or a name or folder as for `load` (its test split, or its training split if it has none); by
            default the test split of the run's own data, else the validation split, else the training split.
        data_dir: as for `load`.

    Raises:
        RunError: a run without trained weights.
        UsageError: data whose classes or channels differ from the network's.
        DataError: data that cannot be used, or that are not the data that the run was trained on.
    """
    from lenscope.insight.answers import evaluate_run

    run = opened(run)
    return evaluate_run(run, split_to_measure(run, data, data_dir))


def predict(run: RunLike, files: Iterable[str | Path], *, prepare: Preparation = "auto") -> list[Prediction]:
    """Classify pictures with a run's network, after preparing them like its training images.

    A network trained on digits that are centred on an even background, as MNIST's are, accepts any picture of a
    digit: dark on light or light on dark, of any size and colour. For other data, pictures are resized like the
    data set.

    Args:
        run: the run or its directory.
        files: paths of pictures.
        prepare: `auto` chooses by the form of the training images, which was measured before training; `digit` and
            `resize` force one preparation.

    Raises:
        DataError: the first picture that cannot be read, or that is blank; `predict_each` continues after it.
        RunError: a run without trained weights.
        UsageError: an unknown preparation, or an autoencoder.
    """
    from lenscope.insight.answers import predict_pictures

    return predict_pictures(opened(run), map(Path, files), prepare)


def predict_each(
    run: RunLike, files: Iterable[str | Path], *, prepare: Preparation = "auto"
) -> Iterator[Prediction | DataError]:
    """Like `predict`, one picture at a time; a picture that cannot be used yields its DataError."""
    from lenscope.insight.answers import predict_each

    return predict_each(opened(run), map(Path, files), prepare)


def reconstruct(run: RunLike, data: DataLike | None = None, *, data_dir: str | Path | None = None) -> Reconstructions:
    """Reconstruct images with a run's autoencoder, and measure the error; `data` and errors as for `evaluate`."""
    from lenscope.insight.reconstructions import reconstruct_run

    run = opened(run)
    return reconstruct_run(run, split_to_measure(run, data, data_dir))


def examine(run: RunLike, *, data: DataLike | None = None, data_dir: str | Path | None = None) -> Insight:
    """Analyse a run: how its kernels developed, which operators they resemble, how much accuracy each contributes.

    Args:
        run: the run or its directory; a run without trained weights yields its film only.
        data: as for `evaluate`.
        data_dir: as for `load`.

    Raises:
        RunError, UsageError, DataError: as for `evaluate`.
    """
    from lenscope.insight.insight import examine_run

    run = opened(run)
    return examine_run(run, None if run.status.state == "running" else split_to_measure(run, data, data_dir))


def compare(runs: Sequence[RunLike]) -> dict[str, list[str]]:
    """Compare the settings in which runs differ, and their results: one row per name, one printable cell per run."""
    from lenscope.insight.comparison import compare_runs

    return compare_runs([opened(run) for run in runs])


def summary(
    network: str | Network | torch.nn.Module = "lenet",
    *,
    input_shape: Sequence[int] = (1, 32, 32),
    classes: int = 10,
    batch_size: int | None = None,
) -> Summary:
    """Summarise each layer of a network: output size, kernel, parameters, multiply-adds and bytes.

    Args:
        network: the name of one of Lenscope's networks, a `Network`, or any PyTorch module that takes one tensor.
        input_shape: channels, height and width of an image.
        classes: number of classes of a named network.
        batch_size: images per batch, shown as the first dimension of each output.

    Raises:
        UsageError: an unknown network.
        SizeMismatchError: images that do not fit; names the layer.
    """
    from lenscope.nets.layers import Network
    from lenscope.nets.summary import summarise

    if isinstance(network, str):
        return summarise(Network(network, input_shape[0], classes), input_shape, batch_size)
    if isinstance(network, Network):
        return summarise(network, input_shape, batch_size)
    with needed_by("the summary of a module"):
        from lenscope.pytorch.nets.summary import summarise as summarise_module

    return summarise_module(network, input_shape, batch_size)
