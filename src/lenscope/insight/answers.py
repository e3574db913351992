"""What a run's trained network says: of a labelled set, and of single pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from lenscope.config import Preparation
from lenscope.data.checks import class_difference
from lenscope.data.dataset import Dataset
from lenscope.data.form import MNIST, Form
from lenscope.engines import predict_log_probabilities
from lenscope.errors import DataError, UsageError, unknown_name
from lenscope.insight.mistakes import evaluate_answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from lenscope.data.digit import DigitSteps
    from lenscope.insight.mistakes import Evaluation
    from lenscope.nets.layers import Network, Weights
    from lenscope.runs.run import DataFacts, Run
    from lenscope.runs.unsure import UnsureRule

# Sets that were cropped, scaled and centred as MNIST was: for runs of releases that did not measure it.
CENTRED_SETS = ("mnist", "kmnist", "qmnist", "emnist")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of one picture.

    Attributes:
        source: the picture's path.
        answer: the most probable class.
        probability: its probability.
        probabilities: each class's, float32, shape (classes,).
        classes: their names.
        unsure: whether the answer counts as unsure by the run's rule; None where the run keeps none.
        form: the form into which the picture was brought; of one that was only resized, centred by nothing.
        prepared: what the network saw; uint8, shape (C, H, W).
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
        """How the picture was prepared, step by step; None where it was only resized.

        Its file is read again each time: the steps of a photo take 40 MB, and few are looked at.
        """
        from lenscope.data.digit import prepare_digit
        from lenscope.data.pictures import read_picture

        if self.form.centred is None:
            return None
        return prepare_digit(read_picture(Path(self.source), contrast=True), self.source)


def evaluate_run(run: Run, part: Dataset) -> Evaluation:
    """A run's trained network on labelled images.

    Raises:
        UsageError: images of other classes or channels than those it was trained on, or an autoencoder.
        RunError: a run without trained weights.
    """
    own = run.data
    require_answers(run)
    difference = class_difference(part.classes, own.classes)
    if difference or part.channels != own.channels:
        raise UsageError(
            f"{part.name}: got {_described(part.classes, part.channels)}, expected those that {run.name} was trained "
            f"on, {_described(own.classes, own.channels)}{f': {difference}' if difference else ''}"
        )
    network = run.architecture
    sized = part.resized(network.image_size)
    return evaluate_answers(predict_log_probabilities(network, run.checked_weights(), sized), part)


def predict_each(run: Run, files: Iterable[Path], prepare: str = "auto") -> Iterator[Prediction | DataError]:
    """What a run's trained network says of each picture, one at a time; of one that cannot be used, the error.

    Args:
        run: the run.
        files: pictures.
        prepare: `auto` prepares each as the training images are drawn, `digit` as a digit, `resize` only resizes it.

    Raises:
        UsageError: another preparation, or an autoencoder, which says nothing of a picture.
        RunError: a run without trained weights.
    """
    require_answers(run)
    form = form_for(run.data, prepare)
    predictor = _Predictor(run.architecture, run.checked_weights(), run.unsure_rule, run.data, form)
    return map(predictor.try_predict, files)


def predict_pictures(run: Run, files: Iterable[Path], prepare: str = "auto") -> list[Prediction]:
    """What a run's trained network says of pictures; as `predict_each`, but raises the first DataError."""
    predictions = []
    for found in predict_each(run, files, prepare):
        if isinstance(found, DataError):
            raise found
        predictions.append(found)
    return predictions


def form_for(facts: DataFacts, prepare: str = "auto") -> Form:
    """The form into which a picture is brought for a network that was trained on these data; raises UsageError."""
    known_ways = get_args(Preparation)
    if prepare not in known_ways:
        raise unknown_name("prepare", prepare, known_ways)
    known = facts.form or (MNIST if _has_known_name(facts) else Form())
    if prepare == "digit":
        return known.for_digits()
    return Form() if prepare == "resize" else known


def describe_preparation(facts: DataFacts, prepare: str = "auto") -> str:
    """How pictures are prepared for a network that was trained on these data, and why."""
    form = form_for(facts, prepare)
    done = "prepared as digits" if form.centred else "only resized"
    how = f": {form.described}" if form.centred else ""
    if prepare != "auto":
        return f"pictures are {done}, as --prepare {prepare} asks{how}"
    if facts.form:
        return f"pictures are {done}, since the training images are {facts.form.described}"
    if form.centred:
        return (
            f"pictures are {done}, since the data are called {facts.name}: this run kept no measurement of its images"
        )
    return (
        f"pictures are {done}: this run kept no measurement of its images; if they are of digits, add --prepare digit"
    )


def require_answers(run: Run) -> None:
    """Raise UsageError for a run of an autoencoder."""
    if run.config.reconstructs:
        raise UsageError(
            f"{run.name}: an autoencoder names no classes; train one that does with --init-from {run.path}, "
            "or see what it gives back in plots/reconstructions.png"
        )


@dataclass(frozen=True, eq=False)
class _Predictor:
    """All that a run's answer to a picture takes."""

    network: Network
    weights: Weights
    rule: UnsureRule | None
    facts: DataFacts
    form: Form

    def try_predict(self, file: Path) -> Prediction | DataError:
        """The prediction, or why the picture cannot be used."""
        try:
            return self._predict(file)
        except DataError as error:
            return error

    def _predict(self, file: Path) -> Prediction:
        image, facts, rule = _prepare(self.form, self.facts.channels, file), self.facts, self.rule
        alone = Dataset(image[None], np.zeros(1, np.uint8), facts.classes, facts.name).resized(self.network.image_size)
        log_probabilities = predict_log_probabilities(self.network, self.weights, alone)[0]
        probabilities = np.exp(log_probabilities)
        best = int(probabilities.argmax())
        return Prediction(
            source=str(file),
            answer=facts.classes[best],
            probability=float(probabilities[best]),
            probabilities=probabilities,
            classes=facts.classes,
            unsure=None if rule is None else rule.is_unsure(log_probabilities),
            form=self.form,
            prepared=alone.images[0],
        )


def _prepare(form: Form, channels: int, file: Path) -> NDArray[np.uint8]:
    """A picture in the form of its data set's images: uint8, shape (C, H, W)."""
    from lenscope.data.digit import prepare_digit
    from lenscope.data.pictures import read_picture

    pixels = read_picture(file, contrast=form.centred is not None)
    if form.centred:
        pixels = form.place(prepare_digit(pixels, str(file)).centred)
    return _with_channels(pixels, channels)


def _has_known_name(facts: DataFacts) -> bool:
    return facts.channels == 1 and facts.name.split("-", maxsplit=1)[0] in CENTRED_SETS


def _with_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Grey (H, W) or colour (H, W, 3) as (channels, H, W)."""
    if pixels.ndim == 2:
        return np.repeat(pixels[None], channels, 0)
    if channels == 3:
        return pixels.transpose(2, 0, 1)
    from lenscope.data.digit import to_grey

    return to_grey(pixels)[None]


def _described(classes: tuple[str, ...], channels: int) -> str:
    names = ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
    return f"{len(classes)} classes ({names}) and {channels} channel{'' if channels == 1 else 's'}"
