"""Everything measured about a run, computed once: what the report draws and `lenscope insight` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.insight.activations import ablate_kernels
from lenscope.insight.answers import evaluate_run
from lenscope.insight.curves import trace_curves
from lenscope.insight.drift import choose_frames, measure_drift
from lenscope.insight.intervals import Interval
from lenscope.insight.kernels import common_scale
from lenscope.insight.operators import FAMILIES, Match, best_match, random_scores
from lenscope.insight.reconstructions import reconstruct_run
from lenscope.insight.story import tell
from lenscope.training.fit import steps_per_epoch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lenscope.data.dataset import Dataset
    from lenscope.insight.activations import Ablation, Ablations
    from lenscope.insight.curves import Curves
    from lenscope.insight.drift import LayerDrift
    from lenscope.insight.mistakes import Evaluation
    from lenscope.insight.reconstructions import Reconstructions
    from lenscope.nets.layers import Network, Weights
    from lenscope.runs.run import Run

FRAMES = 60
TRAINED = "weights/final.safetensors"  # missing from a run that is training or was killed


@dataclass(frozen=True, eq=False)
class LayerInsight:
    """The kernels of a layer through training.

    Attributes:
        layer: such as `conv1`.
        steps: number of steps before each frame; int64, shape (S,).
        epochs: number of epochs before each frame; float64, shape (S,).
        frames: float32, shape (S, out, in, height, width); the first is the initial weights, the last the latest.
        scale: the largest magnitude of an initial or latest weight or of their difference: one scale for all pictures.
        drift: how far its kernels, and their slices for each input channel, moved from their initial weights.
        matches: the best match of each slice, by `trained` or `difference` and by family of operators; arrays of shape
            (out, in).
        courses: the scores at each frame, by the same keys; float64, shape (S, out, in).
        chance: by family, the interval of the scores of 90 % of random kernels.
        dead: the fraction of images on which each map is zero everywhere, float64 of shape (out,); None without ReLU.
        ablations: the accuracy without each kernel; empty where it was not measured.
    """

    layer: str
    steps: NDArray[np.int64]
    epochs: NDArray[np.float64]
    frames: NDArray[np.float32]
    scale: float
    drift: LayerDrift
    matches: dict[str, dict[str, Match]]
    courses: dict[str, dict[str, NDArray[np.float64]]]
    chance: dict[str, Interval]
    dead: NDArray[np.float64] | None
    ablations: tuple[Ablation, ...]


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of a trained network on labelled images.

    Attributes:
        network: the network.
        weights: its trained weights.
        split: the labelled images.
        evaluation: its predictions for them.
        ablations: its accuracy with each kernel ablated; None for a network without kernels.
    """

    network: Network
    weights: Weights
    split: Dataset
    evaluation: Evaluation
    ablations: Ablations | None


@dataclass(frozen=True, eq=False)
class Insight:
    """Everything measured about a run.

    Attributes:
        run: the run.
        sentence: the result, in words.
        curves: loss and accuracy against epoch.
        layers: each convolution.
        measured: the measurements of its trained network; None without trained weights, and for an autoencoder.
        reconstructions: those of a trained autoencoder; None for other networks.
    """

    run: Run
    sentence: str
    curves: Curves
    layers: tuple[LayerInsight, ...]
    measured: Measured | None
    reconstructions: Reconstructions | None = None

    @property
    def result(self) -> Evaluation | Reconstructions | None:
        """The result of the training, where it was measured."""
        return self.evaluation or self.reconstructions

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation of the trained network, where it was measured."""
        return self.measured.evaluation if self.measured else None


def examine_run(run: Run, split: Dataset | None, frames: int = FRAMES) -> Insight:
    """Analyse a run: its kernels through training, what they do, and its mistakes.

    Args:
        run: finished or not.
        split: labelled images to measure it on, usually its test images; None to skip the measurements.
        frames: the most frames of the film, 2 or more.

    Raises:
        RunError: a run whose files are missing or broken.
        UsageError: the images differ in classes or channels from its training images.
    """
    labelled = split if TRAINED in run.committed.static else None
    reconstructions = reconstruct_run(run, labelled) if labelled and run.config.reconstructs else None
    measured = _measure(run, labelled) if labelled and not run.config.reconstructs else None
    layers = tuple(_analyse_layers(run, measured, frames))
    sentence = tell(run, measured.evaluation if measured else reconstructions)
    return Insight(run, sentence, trace_curves(run), layers, measured, reconstructions)


def _measure(run: Run, split: Dataset) -> Measured:
    network, weights, evaluation = run.architecture, run.checked_weights(), evaluate_run(run, split)
    ablations = ablate_kernels(network, weights, split) if network.has_maps else None
    return Measured(network, weights, split, evaluation, ablations)


def _analyse_layers(run: Run, measured: Measured | None, most: int) -> Iterator[LayerInsight]:
    film, per_epoch = run.film, steps_per_epoch(run.config, run.data.train_images)
    if not film.kernels:
        return
    ablations = measured.ablations if measured else None
    drift, kept = measure_drift(film, per_epoch), choose_frames(film, most)
    for layer, kernels in film.kernels.items():
        frames = kernels[kept]
        changed = {"trained": frames, "difference": frames - frames[0]}
        found = {
            source: {family: best_match(values, family) for family in FAMILIES} for source, values in changed.items()
        }
        yield LayerInsight(
            layer=layer,
            steps=film.steps[kept],
            epochs=film.steps[kept] / per_epoch,
            frames=frames,
            scale=common_scale(frames),
            drift=drift[layer],
            matches={source: {name: _last(match) for name, match in by.items()} for source, by in found.items()},
            courses={source: {name: match.scores for name, match in by.items()} for source, by in found.items()},
            chance={family: _chance(frames, family) for family in FAMILIES},
            dead=ablations.dead[layer] if ablations and ablations.dead else None,
            ablations=tuple(one for one in ablations.kernels if one.layer == layer) if ablations else (),
        )


def _last(match: Match) -> Match:
    """The matches of the last frame, from those of all frames."""
    return Match(match.scores[-1], match.templates[-1], match.signs[-1], match.p_values[-1])


def _chance(frames: NDArray[np.float32], family: str) -> Interval:
    """The interval of the scores of 90 % of random kernels."""
    return Interval(*np.quantile(random_scores(*frames.shape[-2:], family), (0.05, 0.95)).tolist())
