"""The page of an experiment: its conclusions first, then the charts, tables and kernels that they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.insight.operators import best_match
from lenscope.reports.data import packed, plain
from lenscope.reports.html import Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lenscope.insight.findings import Chart, Findings, LayerFilm, Line, Pictures, Section

WIDEST = 9  # pixels of a kernel that is compared with operators: larger ones are no kernels of a convolution


def render_findings(findings: Findings, settings: Mapping[str, object]) -> str:
    """The whole page; `settings` are those of the experiment, by name."""
    sections = tuple((section.anchor, section.title) for section in findings.sections)
    data = {"findings": {section.anchor: _section_data(section) for section in findings.sections}}
    page = Page("findings", findings.title, findings.question, (*sections, ("made", "How it was made")), data)
    shown = {name: _shown(value) for name, value in settings.items()}
    return page.render(conclusions=findings.conclusions, parts=findings.sections, settings=shown)


def _shown(value: object) -> str:
    """A setting on one line: lists by commas, tables as the command line takes them.

    >>> _shown({"epochs": [5], "augment": ["none", "shift=1,rotation=5"]})
    'epochs=5; augment=none | shift=1,rotation=5'
    """
    if isinstance(value, dict):
        return "; ".join(f"{name}={_listed(one)}" for name, one in value.items()) or "none"
    return _listed(value)


def _listed(value: object) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    words = [_shown(one) for one in value]
    return (" | " if any("," in word for word in words) else ", ").join(words) or "none"


def _section_data(section: Section) -> dict[str, Any]:
    charts, films, pictures = section.charts, section.films, section.pictures
    scale = max((float(np.abs(film.frames).max()) for film in films), default=0.0)
    return {
        "charts": [_chart(chart) for chart in charts],
        "runs": [{"name": film.name, "layers": [_layer(film, scale)]} for film in films],
        "pictures": [_pictures(row) for row in pictures],
    }


def _pictures(row: Pictures) -> dict[str, Any]:
    count, channels, height, width = row.images.shape
    shape = {"count": count, "channels": channels, "height": height, "width": width}
    return {"name": row.name, **shape, "pixels": packed(row.images)}


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "title": chart.title,
        "xLabel": chart.x_label,
        "yLabel": chart.y_label,
        "band": chart.band,
        "format": chart.format,
        "logX": chart.log_x,
        "logY": chart.log_y,
        "apart": chart.apart,
        "lines": [_line(line) for line in chart.lines],
    }


def _line(line: Line) -> dict[str, Any]:
    arrays = {"xs": line.xs, "ys": line.ys, "low": line.low, "high": line.high}
    return {"name": line.name, "points": line.points} | {
        name: plain(np.array(own, float), 6) for name, own in arrays.items()
    }


def _layer(film: LayerFilm, scale: float) -> dict[str, Any]:
    """The kernels as the page of a comparison has them."""
    outputs, inputs, height, width = film.frames.shape[1:]
    nothing = np.full((outputs, inputs), np.nan)
    match = best_match(film.frames[-1], "first") if max(height, width) <= WIDEST else None
    return {
        "name": film.layer,
        "outputs": outputs,
        "inputs": inputs,
        "height": height,
        "width": width,
        "scale": scale,
        "epochs": plain(film.epochs, 7),
        "initial": packed(film.frames[0].astype("<f4")),
        "trained": packed(film.frames[-1].astype("<f4")),
        "frames": packed((film.frames / (scale or 1)).astype("<f2")),
        "score": plain(match.scores if match else nothing, 4),
        "p": plain(match.p_values if match else nothing, 4),
    }
