"""When an answer counts as unsure: a threshold on the network's outputs, calibrated on images of the run.

The score is the maximum logit of D. Hendrycks et al., "Scaling out-of-distribution detection for real-world settings",
ICML 2022. Where we differ: it is measured from the mean logit, so that log-probabilities are enough, and so that a
constant added to all logits, which changes no answer, changes no score.
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
SHARE = 0.01  # of the images that the threshold is calibrated on
FEWEST, MOST = 100, 10_000  # images: of fewer, no hundredth can be told; more take time and move the threshold little


@dataclass(frozen=True)
class UnsureRule:
    """When an answer counts as unsure: where its lead is below `least_lead`.

    Attributes:
        least_lead: in nats; see `leads`.
        share: of the images below, the share whose lead is lower at most.
        part: which they are: `validation`, or `training` in a run that holds none out.
        images: how many.
    """

    least_lead: Annotated[float, Field(allow_inf_nan=False)]
    share: float
    part: str
    images: int

    def is_unsure(self, log_probabilities: NDArray[np.float32]) -> bool:
        """Whether the answer is unsure that one image's log-probabilities give, float32 of shape (classes,)."""
        return bool(leads(log_probabilities[None])[0] < self.least_lead)

    def to_json(self) -> bytes:
        """As the run directory keeps it."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()


def leads(log_probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """The log-probability of each answer minus the mean of all classes'; nats, shape (N,), of shape (N, classes)."""
    wide = log_probabilities.astype(np.float64)
    lead: NDArray[np.float64] = wide.max(1) - wide.mean(1)
    return lead


def calibrate(network: Network, weights: Weights, splits: Splits, threads: int | None = None) -> UnsureRule | None:
    """The rule that calls one in a hundred of the held-out images unsure; None where there are fewer than a hundred.

    Args:
        network: one that classifies.
        weights: its trained weights.
        splits: as it was trained; the validation part, else the training images, at most 10,000, spread evenly. Never
            the test part.
        threads: as for training.
    """
    part = splits.validation or splits.train
    chosen = np.unique(np.linspace(0, len(part) - 1, min(len(part), MOST)).astype(np.int64))
    if len(chosen) < FEWEST:
        return None
    found = np.sort(leads(predict_log_probabilities(network, weights, part.take(chosen), threads)))
    least = float(found[int(SHARE * len(found))])
    return UnsureRule(least, SHARE, "validation" if splits.validation else "training", len(found))
