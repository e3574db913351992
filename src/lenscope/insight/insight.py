"""All that can be told of a run, computed once: what the report draws and `lenscope insight` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.insight.activations import ablate_kernels
from lenscope.insight.answers import evaluate_run
from lenscope.insight.curves import trace_curves
from lenscope.insight.intervals import Interval
from lenscope.insight.kernels import common_scale
from lenscope.insight.movement import choose_frames, measure_movement
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
    from lenscope.insight.mistakes import Evaluation
    from lenscope.insight.movement import LayerMovement
    from lenscope.insight.reconstructions import Reconstructions
    from lenscope.nets.layers import Network, Weights
    from lenscope.runs.run import Run

FRAMES = 60
TRAINED = "weights/final.safetensors"  # a run that was killed, or is not so far yet, has none, which is no fault


@dataclass(frozen=True, eq=False)
class LayerInsight:
    """The kernels of a layer through the film.

    Attributes:
        layer: such as `conv1`.
        steps: after which each frame was taken; int64, shape (S,).
        epochs: the same in epochs; float64, shape (S,).
        frames: float32, shape (S, out, in, height, width); the first is the start, the last the end so far.
        scale: the largest magnitude of a weight or a difference of start and end: one scale for all pictures.
        movement: how far its kernels have come, and their parts for each input channel.
        matches: by `trained` or `difference` and by family of operators; arrays of shape (out, in).
        courses: the scores at each frame, float64 of shape (S, out, in), by the same names.
        chance: by family, between which scores nine of ten random kernels lie.
        dead: the share of images on which each map is zero everywhere, float64 of shape (out,); None without ReLU.
        ablations: what becomes of the accuracy without each kernel; empty where it was not measured.
    """

    layer: str
    steps: NDArray[np.int64]
    epochs: NDArray[np.float64]
    frames: NDArray[np.float32]
    scale: float
    movement: LayerMovement
    matches: dict[str, dict[str, Match]]
    courses: dict[str, dict[str, NDArray[np.float64]]]
    chance: dict[str, Interval]
    dead: NDArray[np.float64] | None
    ablations: tuple[Ablation, ...]


@dataclass(frozen=True, eq=False)
class Measured:
    """What labelled images tell of a trained network.

    Attributes:
        network: which.
        weights: its trained weights.
        part: the images.
        evaluation: how it did on them.
        ablations: how it did with each kernel switched off; None for a network without kernels.
    """

    network: Network
    weights: Weights
    part: Dataset
    evaluation: Evaluation
    ablations: Ablations | None


@dataclass(frozen=True, eq=False)
class Insight:
    """A run, seen through.

    Attributes:
        run: which.
        sentence: what happened, in words.
        curves: loss and accuracy against epoch.
        layers: each convolution.
        measured: what its trained network does; None where it has no trained weights yet, and for an autoencoder.
        reconstructions: what a trained autoencoder gives back; None for other networks.
    """

    run: Run
    sentence: str
    curves: Curves
    layers: tuple[LayerInsight, ...]
    measured: Measured | None
    reconstructions: Reconstructions | None = None

    @property
    def result(self) -> Evaluation | Reconstructions | None:
        """What came of the training, where it was measured."""
        return self.evaluation or self.reconstructions

    @property
    def evaluation(self) -> Evaluation | None:
        """How the trained network did, where it was measured."""
        return self.measured.evaluation if self.measured else None


def examine_run(run: Run, part: Dataset | None, frames: int = FRAMES) -> Insight:
    """See through a run: its kernels' course, what they do, and where it is wrong.

    Args:
        run: finished or not.
        part: labelled images to measure it on, as a rule its test images; None for its course alone.
        frames: of the film, at most; 2 or more.

    Raises:
        RunError: a run whose files are missing or broken.
        UsageError: images of other classes or channels than those it was trained on.
    """
    there = part if TRAINED in run.committed.static else None
    returned = reconstruct_run(run, there) if there and run.config.reconstructs else None
    measured = _measure(run, there) if there and not run.config.reconstructs else None
    layers = tuple(_see_layers(run, measured, frames))
    sentence = tell(run, measured.evaluation if measured else returned)
    return Insight(run, sentence, trace_curves(run), layers, measured, returned)


def _measure(run: Run, part: Dataset) -> Measured:
    network, weights, evaluation = run.architecture, run.checked_weights(), evaluate_run(run, part)
    ablations = ablate_kernels(network, weights, part) if network.has_maps else None
    return Measured(network, weights, part, evaluation, ablations)


def _see_layers(run: Run, measured: Measured | None, most: int) -> Iterator[LayerInsight]:
    film, per_epoch = run.film, steps_per_epoch(run.config, run.data.train_images)
    if not film.kernels:
        return
    ablations = measured.ablations if measured else None
    movement, kept = measure_movement(film, per_epoch), choose_frames(film, most)
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
            movement=movement[layer],
            matches={source: {name: _last(match) for name, match in by.items()} for source, by in found.items()},
            courses={source: {name: match.scores for name, match in by.items()} for source, by in found.items()},
            chance={family: _chance(frames, family) for family in FAMILIES},
            dead=ablations.dead[layer] if ablations and ablations.dead else None,
            ablations=tuple(one for one in ablations.kernels if one.layer == layer) if ablations else (),
        )


def _last(match: Match) -> Match:
    """Of matches through a film, those of the last frame."""
    return Match(match.scores[-1], match.templates[-1], match.signs[-1], match.p_values[-1])


def _chance(frames: NDArray[np.float32], family: str) -> Interval:
    """Between which scores nine of ten random kernels lie."""
    return Interval(*np.quantile(random_scores(*frames.shape[-2:], family), (0.05, 0.95)).tolist())
