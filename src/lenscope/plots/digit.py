"""The steps of the preparation of a picture of a digit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.colors import to_rgba_array

from lenscope.data.digits.form import MNIST
from lenscope.plots.display import FAINT, GREY, ORANGE, Display, new_figure
from lenscope.plots.letters import short_each

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lenscope.insight.answers import Prediction


@dataclass(frozen=True, eq=False)
class PreparationDisplay(Display):
    """Each step from a picture to the input of the network, and the predicted probabilities."""

    prediction: Prediction

    def draw(self) -> Figure:
        """A new figure."""
        prediction = self.prediction
        images = _steps(prediction)
        unsure = "unsure: " if prediction.unsure else ""
        title = f"{Path(prediction.source).name}: {unsure}{prediction.answer} ({100 * prediction.probability:.1f} %)"
        figure = new_figure(1.85 * len(images) + 3.4, 3, title)
        *places, bars = figure.subplots(1, len(images) + 1, width_ratios=[1] * len(images) + [1.6])
        for axes, (label, image) in zip(places, images, strict=True):
            _show(axes, label, image)
        self.plot_probabilities(bars)
        return figure

    def plot_probabilities(self, axes: Axes) -> None:
        """Draw the most probable classes, at most ten, on existing axes."""
        likely = self.prediction.probabilities.argsort(kind="stable")[-10:]
        names = short_each((self.prediction.classes[label] for label in likely), 18)
        axes.barh(range(len(likely)), 100 * self.prediction.probabilities[likely], color=GREY)
        axes.set(xlabel="Probability (%)", xlim=(0, 100), yticks=range(len(likely)), yticklabels=names)
        axes.tick_params(labelsize=8)


def _show(axes: Axes, label: str, image: NDArray[np.uint8]) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color=FAINT, linewidth=0.8)  # white paper has no edge of its own
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(label, fontsize=9, fontweight="normal", loc="center")
    axes.set_xlabel(f"{image.shape[1]}×{image.shape[0]} pixels", fontsize=8)


def _coloured(found: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paper white, ink that was left out ORANGE, the digit's ink black; shape (H, W, 3)."""
    return (255 * to_rgba_array(["white", ORANGE, "black"])[found, :3]).astype("uint8")


def _steps(prediction: Prediction) -> list[tuple[str, NDArray[np.uint8]]]:
    seen = ("input of the network", prediction.prepared.transpose(1, 2, 0))
    steps, form = prediction.steps, prediction.form
    if steps is None:
        return [seen]
    return [
        ("grey", steps.grey),
        ("paper", steps.paper),
        ("ink (orange: left out)", _coloured(steps.found)),
        ("cropped", steps.cropped),
        ("in a 20×20 box", steps.boxed),
        ("centred by mass", steps.centred),
        *([] if form == MNIST else [("in the form of the training images", form.place(steps.centred))]),
        seen,
    ]
