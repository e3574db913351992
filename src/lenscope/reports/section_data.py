"""What the page's scripts read of any section: its charts, films and images as JSON, long arrays as base64."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.insight.kernels import common_scale, is_coloured
from lenscope.insight.operators import best_match

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.insight.section import Chart, LayerFilm, Line, Pictures, Section

WIDEST = 9  # pixels of a kernel that is compared with operators: larger ones are not kernels of a convolution


def section_data(section: Section) -> dict[str, Any]:
    """The charts, the films by run and the images of a section."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for film in section.films:
        runs.setdefault(film.name, []).append(_film(film))
    return {
        "charts": [_chart(chart) for chart in section.charts],
        "logarithmic": [_chart(chart) for chart in section.logarithmic],
        "runs": [{"name": name, "layers": layers} for name, layers in runs.items()],
        "pictures": [_pictures(row) for row in section.pictures],
    }


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "title": chart.title,
        "xLabel": chart.x_label,
        "band": chart.band,
        "format": chart.format,
        "logX": chart.log_x,
        "logY": chart.log_y,
        "dodged": chart.dodged,
        "lines": [_line(line) for line in chart.lines],
    }


def _line(line: Line) -> dict[str, Any]:
    arrays = {"xs": line.xs, "ys": line.ys, "low": line.low, "high": line.high}
    own = {name: plain(np.array(values, float), 6) for name, values in arrays.items()}
    return {"name": line.name, "points": line.points, "split": line.split} | own


def _pictures(row: Pictures) -> dict[str, Any]:
    count, channels, height, width = row.images.shape
    shape = {"count": count, "channels": channels, "height": height, "width": width}
    return {"name": row.name, **shape, "pixels": packed(row.images)}


def _film(film: LayerFilm) -> dict[str, Any]:
    """A layer's kernels through training, and how much each resembles a first derivative at the end."""
    outputs, inputs, height, width = film.frames.shape[1:]
    match = best_match(film.frames[-1], "first") if max(height, width) <= WIDEST else None
    nothing = np.full((outputs, inputs), np.nan)
    return {
        **weights_data(film.layer, film.epochs, film.frames),
        "score": plain(match.scores if match else nothing, 4),
        "p": plain(match.p_values if match else nothing, 4),
    }


def weights_data(layer: str, epochs: NDArray[np.float64], frames: NDArray[np.float32]) -> dict[str, Any]:
    """A layer's kernels through training: `frames` of shape (S, out, in, height, width), after these epochs."""
    outputs, inputs, height, width = frames.shape[1:]
    scale = common_scale(frames)
    return {
        "name": layer,
        "outputs": outputs,
        "inputs": inputs,
        "coloured": is_coloured(layer, inputs),
        "height": height,
        "width": width,
        "scale": scale,
        "epochs": plain(epochs, 7),
        "initial": packed(frames[0].astype("<f4")),
        "trained": packed(frames[-1].astype("<f4")),
        "frames": packed((frames / (scale or 1)).astype("<f2")),  # float16 reaches from 6e-8 to 65,504
    }


def plain(values: NDArray[Any], digits: int) -> Any:
    """An array as nested lists of numbers with this many significant digits; None where one is not finite."""
    if values.ndim:
        return [plain(part, digits) for part in values]
    return float(f"{float(values):.{digits}g}") if np.isfinite(values) else None


def packed(values: NDArray[Any]) -> str:
    """An array's bytes as base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
