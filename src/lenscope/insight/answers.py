"""The predictions of a run's trained network: for a labelled set, and for single pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from lenscope.config import Preparation
from lenscope.data.checks import class_difference
from lenscope.data.dataset import Dataset
from lenscope.data.digits.form import MNIST, Form
from lenscope.engines import predict_log_probabilities
from lenscope.errors import DataError, UsageError, unknown_name
from lenscope.insight.mistakes import evaluate_answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from lenscope.data.digits.digit import DigitSteps
    from lenscope.insight.mistakes import Evaluation
    from lenscope.runs.run import DataMetadata, Run

# Data sets that were cropped, scaled and centred as MNIST was: for runs of releases that did not measure this.
CENTRED_SETS = ("mnist", "kmnist", "qmnist", "emnist")


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction of a network for one picture.

    Attributes:
        source: the picture's path.
        answer: the most probable class.
        probability: its probability.
        probabilities: of each class; float32, shape (classes,).
        classes: the names of the classes.
        unsure: whether the prediction is unsure by the run's rule; None where the run has no rule.
        form: the form of the prepared picture; its `centred` is None for a picture that was only resized.
        prepared: the input of the network; uint8, shape (C, H, W).
    """

    source: str
    answer: str
    probability: float
    probabilities: NDArray[np.float32]
    classes: tuple[str, ...]
    unsure: bool | None
    form: Form
    prepared: NDArray[np.uint8]

    @property
    def steps(self) -> DigitSteps | None:
        """The steps of its preparation; None for a picture that was only resized.

        The file is read again each time: the steps of a photo take 40 MB, and are rarely used.
        """
        from lenscope.data.digits.digit import prepare_digit
        from lenscope.data.formats.pictures import read_picture

        if self.form.centred is None:
            return None
        return prepare_digit(read_picture(Path(self.source), contrast=True), self.source)


def evaluate_run(run: Run, split: Dataset) -> Evaluation:
    """Evaluate a run's trained network on labelled images.

    Raises:
        UsageError: the images differ in classes or channels from its training images, or it is an autoencoder.
        RunError: the run has no trained weights.
    """
    own = run.data
    require_answers(run)
    difference = class_difference(split.classes, own.classes)
    if difference or split.channels != own.channels:
        raise UsageError(
            f"{split.name}: got {_described(split.classes, split.channels)}, expected those of the training "
            f"images of {run.name}, {_described(own.classes, own.channels)}{f': {difference}' if difference else ''}"
        )
    network = run.architecture
    sized = split.resized(network.image_size)
    return evaluate_answers(predict_log_probabilities(network, run.checked_weights(), sized), split)


def predict_each(run: Run, files: Iterable[Path], prepare: str = "auto") -> Iterator[Prediction | DataError]:
    """The prediction for each picture, one at a time; for a picture that cannot be used, the error.

    Args:
        run: the run.
        files: pictures.
        prepare: `auto` brings each into the form of the training images, `digit` prepares it as a digit, `resize` only
            resizes it.

    Raises:
        UsageError: an unknown preparation, or an autoencoder, which does not classify.
        RunError: the run has no trained weights.
    """
    require_answers(run)
    form = form_for(run.data, prepare)
    facts, network, weights, rule = run.data, run.architecture, run.checked_weights(), run.unsure_rule

    def predict(file: Path) -> Prediction | DataError:
        try:
            image = _prepare(form, facts.channels, file)
        except DataError as error:
            return error
        alone = Dataset(image[None], np.zeros(1, np.uint8), facts.classes, facts.name).resized(network.image_size)
        log_probabilities = predict_log_probabilities(network, weights, alone)[0]
        probabilities = np.exp(log_probabilities)
        best = int(probabilities.argmax())
        return Prediction(
            source=str(file),
            answer=facts.classes[best],
            probability=float(probabilities[best]),
            probabilities=probabilities,
            classes=facts.classes,
            unsure=None if rule is None else rule.is_unsure(log_probabilities),
            form=form,
            prepared=alone.images[0],
        )

    return map(predict, files)


def predict_pictures(run: Run, files: Iterable[Path], prepare: str = "auto") -> list[Prediction]:
    """The predictions for pictures; as `predict_each`, but raises the first DataError."""
    predictions = []
    for found in predict_each(run, files, prepare):
        if isinstance(found, DataError):
            raise found
        predictions.append(found)
    return predictions


def form_for(facts: DataMetadata, prepare: str = "auto") -> Form:
    """The form of a prepared picture for a network that was trained on these data; raises UsageError."""
    known_ways = get_args(Preparation)
    if prepare not in known_ways:
        raise unknown_name("prepare", prepare, known_ways)
    known = facts.form or (MNIST if _has_known_name(facts) else Form())
    if prepare == "digit":
        return known.for_digits()
    return Form() if prepare == "resize" else known


def describe_preparation(facts: DataMetadata, prepare: str = "auto") -> str:
    """How pictures are prepared for a network that was trained on these data, and the reason."""
    form = form_for(facts, prepare)
    done = "prepared as digits" if form.centred else "only resized"
    how = f": {form.described}" if form.centred else ""
    if prepare != "auto":
        return f"pictures are {done} (--prepare {prepare}){how}"
    if facts.form:
        return f"pictures are {done}: the training images are {facts.form.described}"
    if form.centred:
        return f"pictures are {done}: the data set is {facts.name}; this run has no measurement of its images"
    return f"pictures are {done}: this run has no measurement of its images; for digits add --prepare digit"


def require_answers(run: Run) -> None:
    """Raise UsageError for a run of an autoencoder."""
    if run.config.reconstructs:
        raise UsageError(
            f"{run.name}: an autoencoder does not classify; train a classifier with --init-from {run.path}, "
            "or see its reconstructions in plots/reconstructions.png"
        )


def _prepare(form: Form, channels: int, file: Path) -> NDArray[np.uint8]:
    """A picture in the form of its data set's images: uint8, shape (C, H, W)."""
    from lenscope.data.digits.digit import prepare_digit
    from lenscope.data.formats.pictures import read_picture

    pixels = read_picture(file, contrast=form.centred is not None)
    if form.centred:
        pixels = form.place(prepare_digit(pixels, str(file)).centred)
    return _with_channels(pixels, channels)


def _has_known_name(facts: DataMetadata) -> bool:
    return facts.channels == 1 and facts.name.split("-", maxsplit=1)[0] in CENTRED_SETS


def _with_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Grey (H, W) or colour (H, W, 3) as (channels, H, W)."""
    if pixels.ndim == 2:
        return np.repeat(pixels[None], channels, 0)
    if channels == 3:
        return pixels.transpose(2, 0, 1)
    from lenscope.data.digits.digit import to_grey

    return to_grey(pixels)[None]


def _described(classes: tuple[str, ...], channels: int) -> str:
    names = ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
    return f"{len(classes)} classes ({names}) and {channels} channel{'' if channels == 1 else 's'}"
