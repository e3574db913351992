"""The predictions of a network for a labelled set: overall, by class, and its most confident mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.insight.intervals import Interval, wilson_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.data.dataset import Dataset


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class.

    Attributes:
        name: the class.
        images: number of its images.
        recall: the fraction of its images that are predicted as this class.
        recall_interval: its 95 % Wilson interval.
        precision: the fraction of the predictions of this class that are right; None without any.
        precision_interval: its 95 % Wilson interval; from 0 to 1 without any.
    """

    name: str
    images: int
    recall: float
    recall_interval: Interval
    precision: float | None
    precision_interval: Interval


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A network's predictions for a labelled set.

    Attributes:
        dataset: the name of the set.
        split: `training`, `validation`, `test`, or an empty string.
        classes: the name of each class.
        labels: int64, shape (N,).
        predicted: int64, shape (N,), the most probable class.
        confidence: float32, shape (N,), its probability.
        loss: mean negative log-likelihood per image, nats.
    """

    dataset: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    loss: float
    split: str = ""

    @property
    def shown(self) -> str:
        """The name of the images, such as `mnist test images`."""
        return " ".join(filter(None, (self.dataset, self.split, "images")))

    @property
    def right(self) -> int:
        """The number of images that are classified correctly."""
        return int((self.labels == self.predicted).sum())

    @property
    def accuracy(self) -> float:
        """The fraction of the images that are classified correctly."""
        return self.right / len(self.labels)

    @property
    def accuracy_interval(self) -> Interval:
        """The 95 % Wilson interval of the accuracy: the uncertainty from the finite set, not from the seed."""
        return wilson_interval(self.right, len(self.labels))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts, shape (classes, classes): row the label, column the prediction."""
        count = len(self.classes)
        return np.bincount(self.labels * count + self.predicted, minlength=count * count).reshape(count, count)

    @property
    def by_class(self) -> tuple[ClassScore, ...]:
        """The scores of each class that has an image in the set."""
        return tuple(self._class_score(label) for label in np.unique(self.labels))

    def worst(self, count: int) -> NDArray[np.int64]:
        """The indices of the most confident mistakes, the most confident first; int64, at most (count,)."""
        wrong = np.flatnonzero(self.labels != self.predicted)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")[:count]]

    def _class_score(self, label: int) -> ClassScore:
        mine, called = self.labels == label, self.predicted == label
        found, images, answers = int((mine & called).sum()), int(mine.sum()), int(called.sum())
        return ClassScore(
            name=self.classes[label],
            images=images,
            recall=found / images,
            recall_interval=wilson_interval(found, images),
            precision=found / answers if answers else None,
            precision_interval=wilson_interval(found, answers),
        )


def evaluate_answers(log_probabilities: NDArray[np.float32], dataset: Dataset) -> Evaluation:
    """The evaluation of log-probabilities, float32 of shape (N, classes), of the images of this set."""
    labels = dataset.labels.astype(np.int64)
    predicted = log_probabilities.argmax(1)
    own = np.take_along_axis(log_probabilities, labels[:, None], 1)
    confidence = np.exp(np.take_along_axis(log_probabilities, predicted[:, None], 1))[:, 0]
    loss = float(-own.mean(dtype=np.float64))
    return Evaluation(dataset.name, dataset.classes, labels, predicted, confidence, loss, dataset.split)
