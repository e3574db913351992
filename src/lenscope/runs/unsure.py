"""When an answer counts as unsure: a threshold on the network's outputs, calibrated on the run's images.

The score is the maximum logit of D. Hendrycks et al., "Scaling out-of-distribution detection for real-world settings",
ICML 2022. Where we differ: the mean logit is subtracted, so that log-probabilities suffice, and a constant added
to all logits, which does not change the answer, does not change the score.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from lenscope.engines import predict_log_probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.data.dataset import Splits
    from lenscope.nets.layers import Network, Weights

FILE = "unsure.json"
SHARE = 0.01  # of the calibration images count as unsure
FEWEST, MOST = 100, 10_000  # images: a hundredth needs a hundred; more take time and barely move the threshold


@dataclass(frozen=True)
class UnsureRule:
    """An answer counts as unsure if its lead is below `least_lead`.

    Attributes:
        least_lead: in nats; see `leads`.
        share: of the calibration images, the largest share with a lower lead.
        part: the split they are from: `validation`, or `training` in a run without a validation split.
        images: number of calibration images.
    """

    least_lead: Annotated[float, Field(allow_inf_nan=False)]
    share: float
    part: str
    images: int

    def is_unsure(self, log_probabilities: NDArray[np.float32]) -> bool:
        """Whether the answer to one image is unsure, given its log-probabilities, float32 of shape (classes,)."""
        return bool(leads(log_probabilities[None])[0] < self.least_lead)

    def to_json(self) -> bytes:
        """The rule as its file holds it."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()


def leads(log_probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """The log-probability of each answer minus the mean over classes, in nats; (N, classes) to (N,)."""
    wide = log_probabilities.astype(np.float64)
    lead: NDArray[np.float64] = wide.max(1) - wide.mean(1)
    return lead


def calibrate(network: Network, weights: Weights, splits: Splits, threads: int | None = None) -> UnsureRule | None:
    """The rule by which one in a hundred held-out images is unsure; None if there are fewer than a hundred.

    Args:
        network: a classifier.
        weights: its trained weights.
        splits: the data as trained. The validation split is used, else the training split, at most 10,000 images
            at even distances; never the test split.
        threads: number of threads, as for training.
    """
    part = splits.validation or splits.train
    chosen = np.unique(np.linspace(0, len(part) - 1, min(len(part), MOST)).astype(np.int64))
    if len(chosen) < FEWEST:
        return None
    found = np.sort(leads(predict_log_probabilities(network, weights, part.take(chosen), threads)))
    least = float(found[int(SHARE * len(found))])
    return UnsureRule(least, SHARE, "validation" if splits.validation else "training", len(found))
