"""What a run's trained network says: of a labelled set, and of single pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.dataset import Dataset
from lenscope.data.digit import prepare_digit, to_grey
from lenscope.data.pictures import read_picture
from lenscope.errors import UsageError
from lenscope.insight.mistakes import evaluate_answers
from lenscope.training.choice import predict_log_probabilities

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from lenscope.data.digit import DigitSteps
    from lenscope.insight.mistakes import Evaluation
    from lenscope.nets.catalogue import Network
    from lenscope.runs.run import DataFacts, Run

CENTRED_SETS = ("mnist", "kmnist", "qmnist", "emnist")  # made by cropping, scaling and centring, as MNIST was


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of one picture.

    Attributes:
        source: the picture's path.
        answer: the most probable class.
        probability: its probability.
        probabilities: each class's, float32, shape (classes,).
        classes: their names.
        steps: how the picture was prepared, step by step; None where it was only resized.
        prepared: what the network saw; uint8, shape (C, H, W).
    """

    source: str
    answer: str
    probability: float
    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]
    steps: DigitSteps | None
    prepared: NDArray[np.uint8]


def evaluate_run(run: Run, part: Dataset) -> Evaluation:
    """A run's trained network on labelled images.

    Raises:
        UsageError: images of other classes or channels than those it was trained on, or an autoencoder.
        RunError: a run without trained weights.
    """
    own = run.data
    require_answers(run)
    if part.classes != own.classes or part.channels != own.channels:
        raise UsageError(
            f"{part.name}: got {_described(part.classes, part.channels)}, expected those that {run.name} was trained "
            f"on, {_described(own.classes, own.channels)}"
        )
    network = run.network()
    return evaluate_answers(predict_log_probabilities(network, part.resized(network.image_size)), part)


def predict_pictures(run: Run, files: list[Path]) -> list[Prediction]:
    """What a run's trained network says of each picture; raises DataError for one that cannot be used.

    Raises:
        UsageError: an autoencoder, which says nothing of a picture.
    """
    require_answers(run)
    network, facts = run.network(), run.data
    return [_predict(network, facts, file) for file in files]


def require_answers(run: Run) -> None:
    """Raise UsageError for a run of an autoencoder."""
    if run.config.reconstructs:
        raise UsageError(
            f"{run.name}: an autoencoder names no classes; train one that does with --init-from {run.path}, "
            "or see what it gives back in plots/reconstructions.png"
        )


def _predict(network: Network, facts: DataFacts, file: Path) -> Prediction:
    steps, image = _prepare(facts, file)
    alone = Dataset(image[None], np.zeros(1, np.uint8), facts.classes, facts.name).resized(network.image_size)
    probabilities = np.exp(predict_log_probabilities(network, alone)[0])
    best = int(probabilities.argmax())
    return Prediction(
        source=str(file),
        answer=facts.classes[best],
        probability=float(probabilities[best]),
        probabilities=probabilities,
        classes=facts.classes,
        steps=steps,
        prepared=alone.images[0],
    )


def _prepare(facts: DataFacts, file: Path) -> tuple[DigitSteps | None, NDArray[np.uint8]]:
    """A picture as the images of its data set are: uint8, shape (C, H, W)."""
    centred = is_centred(facts.name, facts.channels)
    pixels = read_picture(file, contrast=centred)
    if centred:
        steps = prepare_digit(pixels, str(file))
        return steps, steps.centred[None]
    return None, _with_channels(pixels, facts.channels)


def is_centred(name: str, channels: int) -> bool:
    """Whether the images of a data set were cropped, scaled and centred as MNIST's, so that a drawing must be, too."""
    return channels == 1 and name.split("-", maxsplit=1)[0] in CENTRED_SETS


def _with_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Grey (H, W) or colour (H, W, 3) as (channels, H, W)."""
    if pixels.ndim == 2:
        return np.repeat(pixels[None], channels, 0)
    if channels == 3:
        return pixels.transpose(2, 0, 1)
    return to_grey(pixels)[None]


def _described(classes: tuple[str, ...], channels: int) -> str:
    names = ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
    return f"{len(classes)} classes ({names}) and {channels} channel{'' if channels == 1 else 's'}"
