"""Verbs that measure a run or a network and return plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lenscope.api.data import split_to_measure
from lenscope.errors import needed_by
from lenscope.runs.run import opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch

    from lenscope.api.data import DataLike, RunLike
    from lenscope.config import Preparation
    from lenscope.errors import DataError
    from lenscope.insight.answers import Pictures, Prediction
    from lenscope.insight.insight import Insight
    from lenscope.insight.mistakes import Evaluation
    from lenscope.insight.reconstructions import Reconstructions
    from lenscope.nets.layers import Network
    from lenscope.nets.summary import Summary


def evaluate(run: RunLike, data: DataLike | None = None, *, data_dir: str | Path | None = None) -> Evaluation:
    """Measure a run's trained network on labelled images.

    Args:
        run: the run, its directory or its name.
        data: a data set, or a name, a folder or arrays as for `load` (its test split, else its validation split, else
            its training split, such as `(images, labels)`); labels of arrays that are whole numbers count the run's
            classes. By default the run's own data: test, else validation, else training.
        data_dir: as for `load`.

    Raises:
        RunError: a run without trained weights.
        UsageError: data whose classes or channels differ from the network's.
        DataError: data that cannot be used, or that are not the data that the run was trained on.
    """
    from lenscope.insight.answers import evaluate_run

    run = opened(run)
    return evaluate_run(run, split_to_measure(run, data, data_dir))


def predict(run: RunLike, files: Pictures, *, prepare: Preparation = "auto") -> list[Prediction]:
    """Classify pictures with a run's network, after preparing them like its training images.

    A network trained on digits that are centred on an even background, as MNIST's are, accepts any picture of a
    digit: dark on light or light on dark, of any size and colour. For other data, pictures are resized like the
    data set.

    Args:
        run: the run, its directory or its name.
        files: the path of a picture; or of a folder, for the pictures in it and its subfolders, sorted by name,
            without hidden files; or of a file `.npy` of images as bytes; or an array: one image of shape (H, W) or
            (H, W, C), or several, (N, H, W), (N, H, W, C) or (N, C, H, W), of bytes or of floats from 0 to 1; or any
            number of these.
        prepare: `auto` chooses by the form of the training images, which was measured before training; `digit` and
            `resize` force one preparation.

    Returns:
        One Prediction per picture, in order; its `source` is the path, or `image 0`, `image 1`, … for arrays.

    Raises:
        DataError: the first picture that cannot be read, or that is blank, a folder without pictures, or an array that
            does not contain images; `predict_each` continues after it.
        RunError: a run without trained weights.
        UsageError: an unknown preparation, or an autoencoder.
    """
    from lenscope.insight.answers import predict_pictures

    return predict_pictures(opened(run), files, prepare)


def predict_each(run: RunLike, files: Pictures, *, prepare: Preparation = "auto") -> Iterator[Prediction | DataError]:
    """Like `predict`, as an iterator; a picture that cannot be used yields its DataError.

    Of a folder, a list or an array, up to 64 pictures are read before their predictions are yielded, or as many as take
    0.1 seconds; of an iterator, one at a time.
    """
    from lenscope.insight.answers import predict_each

    return predict_each(opened(run), files, prepare)


def reconstruct(run: RunLike, data: DataLike | None = None, *, data_dir: str | Path | None = None) -> Reconstructions:
    """Reconstruct images with a run's autoencoder, and measure the error; `data` and errors as for `evaluate`."""
    from lenscope.insight.reconstructions import reconstruct_run

    run = opened(run)
    return reconstruct_run(run, split_to_measure(run, data, data_dir))


def examine(run: RunLike, *, data: DataLike | None = None, data_dir: str | Path | None = None) -> Insight:
    """Analyse a run: how its kernels developed, which operators they resemble, how much accuracy each contributes.

    Args:
        run: the run, its directory or its name; a run without trained weights yields its film only.
        data: as for `evaluate`.
        data_dir: as for `load`.

    Raises:
        RunError, UsageError, DataError: as for `evaluate`.
    """
    from lenscope.insight.insight import examine_run

    run = opened(run)
    return examine_run(run, None if run.status.state == "running" else split_to_measure(run, data, data_dir))


def compare(runs: Sequence[RunLike]) -> dict[str, Any]:
    """Compare the settings and results of runs.

    Args:
        runs: the runs or their directories, at least one.

    Returns:
        Plain values by name, None where one does not apply:
            `equal`: the settings, versions and hashes of data that are equal in all runs.
            `differing`: the others, each with a list of one value per run.
            `results`: lists of one value per run: state, epochs, losses (nats per image), accuracies (fractions) and
                their 95 % Wilson intervals, numbers of images, reconstruction errors, seconds.
            `difference`: of two runs with the same test images, the first `test_accuracy` minus the second, and the
                number of `test_images`; else None.

    Raises:
        RunError: not a run directory, or a broken one.
    """
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
