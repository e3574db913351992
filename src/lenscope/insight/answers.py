"""The predictions of a run's trained network: for a labelled set, and for single pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast, get_args

import numpy as np

from lenscope import native
from lenscope.config import Preparation
from lenscope.data.arrays import as_images
from lenscope.data.checks import CHANNELS, class_difference
from lenscope.data.dataset import Dataset
from lenscope.data.digits.form import MNIST, Form
from lenscope.data.fit import fit_square
from lenscope.data.folders.below import pictures_below
from lenscope.data.resize import resize
from lenscope.engines import predict_log_probabilities
from lenscope.errors import DataError, UsageError, unknown_name
from lenscope.insight.mistakes import evaluate_answers
from lenscope.training import fused_engine

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    from lenscope.data.digits.digit import DigitSteps
    from lenscope.insight.mistakes import Evaluation
    from lenscope.runs.run import DataMetadata, Run

    # A file, a folder, an array of one image or of several, or any number of these.
    Pictures: TypeAlias = str | Path | NDArray[Any] | Iterable[str | Path | NDArray[Any]]

Item = TypeVar("Item")

# Pictures per pass of the network, and the seconds after which a pass begins with fewer, so that results come soon.
BATCH, SOON = 64, 0.1
# Data sets that were cropped, scaled and centred as MNIST was: for runs of releases that did not measure this.
CENTRED_SETS = ("mnist", "kmnist", "qmnist", "emnist")


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction of a network for one picture.

    Attributes:
        source: the picture's path; `images.npy[0]` of a file of arrays; `image 0`, `image 1`, … of arrays.
        answer: the most probable class.
        probability: its probability.
        probabilities: of each class; float32, shape (classes,).
        classes: the names of the classes.
        unsure: whether the prediction is unsure by the run's rule; None where the run has no rule.
        form: the form of the prepared picture; its `centred` is None for a picture that was only resized.
        prepared: the input of the network; uint8, shape (C, H, W).
        pixels: the image that was given in an array, uint8, shape (H, W) or (H, W, C); None for a picture file.
    """

    source: str
    answer: str
    probability: float
    probabilities: NDArray[np.float32] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    unsure: bool | None
    form: Form = field(repr=False)
    prepared: NDArray[np.uint8] = field(repr=False)
    pixels: NDArray[np.uint8] | None = field(default=None, repr=False)

    @property
    def steps(self) -> DigitSteps | None:
        """The steps of its preparation; None for a picture that was only resized.

        They are computed each time, and the file is read again: those of a photo take 40 MB, and are rarely used.
        """
        from lenscope.data.digits.digit import prepare_digit
        from lenscope.data.formats.pictures import read_picture

        if self.form.centred is None:
            return None
        pixels = read_picture(Path(self.source), contrast=True) if self.pixels is None else self.pixels
        return prepare_digit(pixels, self.source)


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


def predict_each(run: Run, pictures: Pictures, prepare: str = "auto") -> Iterator[Prediction | DataError]:
    """The prediction for each picture, in order; for a picture that cannot be used, the error.

    Pictures pass through the network in batches of at most 64, with the same probabilities, bit for bit, as each
    alone; those of an iterator one at a time.

    Args:
        run: the run.
        pictures: as for `lenscope.predict`.
        prepare: `auto` brings each into the form of the training images, `digit` prepares it as a digit, `resize` only
            resizes it.

    Raises:
        UsageError: an unknown preparation, or an autoencoder, which does not classify.
        RunError: the run has no trained weights.
    """
    return (found for _, found in predict_named(run, pictures, prepare))


def predict_named(run: Run, pictures: Pictures, prepare: str = "auto") -> Iterator[tuple[str, Prediction | DataError]]:
    """As `predict_each`, each with the picture's path, or `image 0` and so on for arrays."""
    require_answers(run)
    form = form_for(run.data, prepare)
    facts, network, weights, rule = run.data, run.architecture, run.checked_weights(), run.unsure_rule

    def prepared(given: _Given) -> _Prepared:
        try:
            image = _prepare(form, run, given)
        except DataError as error:
            return _Prepared(given, error)
        return _Prepared(given, resize(image[None], network.image_size)[0])

    def predict(batch: list[_Prepared]) -> Iterator[tuple[str, Prediction | DataError]]:
        usable = [one.image for one in batch if not isinstance(one.image, DataError)]
        labels = np.zeros(len(usable), np.uint8)
        rows = iter(
            predict_log_probabilities(network, weights, Dataset(np.stack(usable), labels, facts.classes, facts.name))
            if usable
            else ()
        )
        for (name, content), image in batch:
            yield name, image if isinstance(image, DataError) else answer(name, content, image, next(rows))

    def answer(
        name: str, content: Path | NDArray[np.uint8] | DataError, image: NDArray[np.uint8], row: NDArray[np.float32]
    ) -> Prediction:
        probabilities = np.exp(row)
        best = int(probabilities.argmax())
        return Prediction(
            source=name,
            answer=facts.classes[best],
            probability=float(probabilities[best]),
            probabilities=probabilities,
            classes=facts.classes,
            unsure=None if rule is None else rule.is_unsure(row),
            form=form,
            prepared=image,
            pixels=content if isinstance(content, np.ndarray) else None,
        )

    # The last bits of numpy's matrix products depend on the size of the batch, those of the fused engine do not.
    alone = isinstance(pictures, Iterator) or fused_engine.unsupported_reason(network)
    batches = _batches(map(prepared, _each_given(pictures)), 1 if alone else BATCH)
    return chain.from_iterable(map(predict, batches))


def predict_pictures(run: Run, pictures: Pictures, prepare: str = "auto") -> list[Prediction]:
    """The predictions for pictures; as `predict_each`, but raises the first DataError."""
    predictions = []
    for found in predict_each(run, pictures, prepare):
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


class _Given(NamedTuple):
    """A picture as it was given: its name, and its file, its pixels ((H, W) or (H, W, C)), or why there are none."""

    name: str
    content: Path | NDArray[np.uint8] | DataError


class _Prepared(NamedTuple):
    """A picture as the network takes it, uint8 of shape (C, H, W), or why it cannot be used."""

    given: _Given
    image: NDArray[np.uint8] | DataError


def _each_given(pictures: Pictures) -> Iterator[_Given]:
    """Each picture: a file, those below a folder in sorted order, the images of an array."""
    count = 0
    several = isinstance(pictures, Iterable) and not isinstance(pictures, str) and not hasattr(pictures, "shape")
    for one in cast("Iterable[Any]", pictures) if several else [pictures]:
        if isinstance(one, str | Path):
            yield from _files(Path(one))
            continue
        for image in _images(one, f"image {count}"):
            yield _Given(f"image {count}", image)
            count += 1


def _files(path: Path) -> Iterator[_Given]:
    if path.suffix == ".npy" and os.path.isfile(path):  # noqa: PTH113 - as in find_run
        yield from _in_npy(path)
        return
    below = pictures_below(path) if os.path.isdir(path) else [(path, None)]  # noqa: PTH112 - as in find_run
    yield from (_Given(str(file), error or file) for file, error in below)


def _in_npy(path: Path) -> Iterator[_Given]:
    from lenscope.data.formats.npy import read_npy

    native.report_cut_files()  # the file is mapped
    try:
        images = _images(read_npy(path), str(path))
    except DataError as error:
        images = [error]
    for number, image in enumerate(images):
        yield _Given(f"{path}[{number}]" if isinstance(image, np.ndarray) else str(path), image)


def _images(value: Any, name: str) -> list[NDArray[np.uint8] | DataError]:
    """The images of an array as (H, W) or (H, W, C); a DataError, which names the first, if they cannot be used."""
    from lenscope.data.formats.pictures import check_size

    try:
        images, _ = as_images(_as_several(value, name), f"{name}: images")
        check_size((images.shape[3], images.shape[2]), name)
    except DataError as error:
        return [error]
    return [image[0] if len(image) == 1 else image.transpose(1, 2, 0) for image in images]


def _as_several(value: Any, name: str) -> Any:
    """An array of several images, of one that was given alone; raises DataError."""
    shape = tuple(getattr(value, "shape", ()))
    if len(shape) < 2:
        got = f"shape {shape}" if shape else type(value).__name__
        raise DataError(f"{name}: got {got}, expected a path or an array (H, W), (H, W, C) or (N, …)")
    if len(shape) == 3 and shape[0] == 3 and shape[2] not in CHANNELS:
        raise DataError(
            f"{name}: shape {shape} may be 3 grey images or one in colour; "
            "pass images[:, None] for grey ones, image[None] for one in colour"
        )
    return value[None] if len(shape) == 2 or (len(shape) == 3 and shape[2] <= 4) else value


def _prepare(form: Form, run: Run, given: _Given) -> NDArray[np.uint8]:
    """A picture in the form of its run's images: uint8, shape (C, H, W); raises DataError."""
    from lenscope.data.digits.digit import prepare_digit
    from lenscope.data.formats.pictures import read_picture

    name, pixels = given
    if isinstance(pixels, DataError):
        raise pixels
    if isinstance(pixels, Path):
        pixels = read_picture(pixels, contrast=form.centred is not None)
    if form.centred:
        pixels = form.place(prepare_digit(pixels, name).centred)
    return _with_channels(fit_square(pixels, run.config.fit), run.data.channels)


def _batches(items: Iterator[Item], most: int) -> Iterator[list[Item]]:
    """Lists of at most `most` items, shorter where these took longer than SOON."""
    batch, start = list[Item](), monotonic()
    for item in items:
        batch.append(item)
        if len(batch) == most or monotonic() - start > SOON:
            yield batch
            batch, start = [], monotonic()
    yield batch


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
