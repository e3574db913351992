"""How a picture of a digit was prepared, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lenscope.plots.display import GREY, Display, bare, new_figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lenscope.insight.answers import Prediction


@dataclass(frozen=True, eq=False)
class PreparationDisplay(Display):
    """Each step from a picture to what the network saw, and the probabilities that came of it."""

    prediction: Prediction

    def draw(self) -> Figure:
        """A new figure."""
        prediction = self.prediction
        images = _steps(prediction)
        figure = new_figure(1.9 * len(images) + 3.4, 2.9)
        title = f"{prediction.source}: {prediction.answer} ({prediction.probability:.1%})"
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        *places, bars = figure.subplots(1, len(images) + 1, width_ratios=[1] * len(images) + [1.6])
        for axes, (label, image) in zip(places, images, strict=True):
            bare(axes)
            axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(label, fontsize=9, fontweight="normal", loc="center")
            axes.set_xlabel(f"{image.shape[1]}×{image.shape[0]}", fontsize=8)
        order = prediction.probabilities.argsort()[::-1][:10][::-1]
        bars.barh([prediction.classes[label] for label in order], 100 * prediction.probabilities[order], color=GREY)
        bars.set(title="probability", xlabel="%", xlim=(0, 100))
        bars.tick_params(labelsize=8)
        return figure


def _steps(prediction: Prediction) -> list[tuple[str, NDArray[np.uint8]]]:
    seen = ("as the network\nsees it", prediction.prepared.transpose(1, 2, 0))
    steps = prediction.steps
    if steps is None:
        return [seen]
    return [
        ("grey", steps.grey),
        ("ink on black", steps.on_black),
        ("cropped", steps.cropped),
        ("in a 20×20 box", steps.boxed),
        ("centred by mass", steps.centred),
        seen,
    ]
