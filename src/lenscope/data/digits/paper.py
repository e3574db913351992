"""The paper under the ink of a picture: its grey level at each pixel, and its noise.

Integer arithmetic throughout, so that `reports/js/paper.js` has identical results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CELLS = 64  # along the longer side of the grid on which the paper's level is estimated
EVEN = 1  # grey levels
RIM_VOTES = 5
LEAST_PAPER = 4  # shading is compensated down to this fraction of the lightest paper


@dataclass(frozen=True, eq=False)
class Paper:
    """The paper of a picture.

    Attributes:
        level: uint8, shape (H, W), the grey level without ink.
        is_light: whether ink is darker than it.
    """

    level: NDArray[np.uint8]
    is_light: bool


def find_paper(grey: NDArray[np.uint8]) -> Paper:
    """The paper of a picture, dark or light, in even or uneven light.

    The means of square cells are closed (morphologically: the maximum over each window, then the minimum), which fills
    dark strokes narrower than the window, a third of the picture's longer side, and opened, which fills light strokes.
    Ink covers less than paper: it is dark if closing changes the grid less than opening does. Between the cells the
    level is interpolated.

    Args:
        grey: uint8, shape (H, W).
    """
    return _even_paper(grey) or _uneven_paper(grey)


def _even_paper(grey: NDArray[np.uint8]) -> Paper | None:
    """Paper of a single level, the lower median of the border pixels, if that explains the picture.

    Ink is dark if the darkest pixel is farther from that level than the lightest. At least a quarter of all pixels must
    be within EVEN levels of it, and two thirds of all pixels must be that or at least two thirds of the strongest ink.
    """
    ring = np.sort(np.concatenate([grey[0], grey[1:-1, 0], grey[1:-1, -1], grey[-1]]))
    level = int(ring[(len(ring) - 1) // 2])
    darker, brighter = level - int(grey.min()), int(grey.max()) - level
    counts = np.bincount(grey.ravel(), minlength=256)
    levels = np.arange(256)
    same = int(counts[abs(levels - level) <= EVEN].sum())
    ink = level - levels if darker > brighter else levels - level
    strong = int(counts[(3 * ink >= 2 * max(darker, brighter)) & (ink > EVEN)].sum())
    if 4 * same < grey.size or 3 * (same + strong) < 2 * grey.size:
        return None
    return Paper(np.full_like(grey, level), darker > brighter)


def _uneven_paper(grey: NDArray[np.uint8]) -> Paper:
    """Paper of varying level, by closing or opening a grid of cells."""
    longer = max(grey.shape)
    size = max(1, longer // CELLS)
    cells = _cell_means(grey, size)
    reach = longer // (6 * size)
    most, least = (_extreme(cells, reach, choose) for choose in (np.maximum, np.minimum))
    is_light = _is_light(cells, most, least)
    outer, inner = (np.maximum, np.minimum) if is_light else (np.minimum, np.maximum)
    level = _extreme(most if is_light else least, reach, inner)
    if 4 * int(level.max() - level.min()) > int((most - least).max()):
        level = _extreme(_extreme(cells, reach // 2, outer), reach // 2, inner)
    return Paper(_interpolated(level, size, grey.shape), is_light)


def _is_light(cells: NDArray[np.int64], most: NDArray[np.int64], least: NDArray[np.int64]) -> bool:
    """Whether more cells are light than dark, among those around which the contrast is at least half of the largest.

    Cells at the picture's border, where ink is rarest, count RIM_VOTES times.
    """
    contrast = most - least
    votes = np.where(2 * contrast >= contrast.max(), np.sign(2 * cells - most - least), 0)
    inner = votes[1:-1, 1:-1]
    return bool(RIM_VOTES * int(votes.sum()) - (RIM_VOTES - 1) * int(inner.sum()) >= 0)


def ink_on(paper: Paper, grey: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The difference of each pixel from the paper towards the ink, in grey levels at the lightest paper.

    Ink reflects a fraction of the incident light, so its contrast decreases with the light: (difference × lightest
    + level div 2) div level, with the level not below a quarter of the lightest.
    """
    level = paper.level.astype(np.int64)
    if not paper.is_light:
        return np.asarray(np.maximum(grey - level, 0))
    lightest = max(int(level.max()), 1)
    shade = np.maximum(level, max(lightest // LEAST_PAPER, 1))
    return np.asarray((np.maximum(level - grey, 0) * lightest + shade // 2) // shade)


def noise_of(ink: NDArray[np.int64], strongest: int) -> int:
    """The scale of the noise: the upper quartile of all ink below a quarter of the strongest."""
    faint = np.sort(ink[4 * ink < strongest], axis=None)
    return int(faint[len(faint) * 3 // 4]) if len(faint) else 0


def block_means(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """A picture reduced by an integer factor: means of whole blocks, rounded half up; the remainder is cut off."""
    down, across = (min(factor, side) for side in image.shape)
    height, width = image.shape[0] // down, image.shape[1] // across
    whole = image[: height * down, : width * across]
    sums = np.add.reduceat(whole, np.arange(0, width * across, across), axis=1, dtype=np.uint32)
    sums = np.add.reduceat(sums, np.arange(0, height * down, down), axis=0)
    many = down * across
    means: NDArray[np.uint8] = ((2 * sums + many) // (2 * many)).astype(np.uint8)
    return means


def _cell_means(grey: NDArray[np.uint8], size: int) -> NDArray[np.int64]:
    """Means of cells of size × size pixels, rounded half up; the last cells may be smaller."""
    starts = [np.arange(0, side, size) for side in grey.shape]
    sums = np.add.reduceat(np.add.reduceat(grey, starts[0], axis=0, dtype=np.int64), starts[1], axis=1)
    heights, widths = (np.minimum(start + size, side) - start for start, side in zip(starts, grey.shape, strict=True))
    many = heights[:, None] * widths
    means: NDArray[np.int64] = (2 * sums + many) // (2 * many)
    return means


def _extreme(cells: NDArray[np.int64], reach: int, choose: Callable[..., NDArray[np.int64]]) -> NDArray[np.int64]:
    """The maximum or minimum over a window of 2 reach + 1 cells around each cell, cut off at the border."""
    for _ in range(2):
        made = cells.copy()
        for shift in range(1, min(reach, len(cells) - 1) + 1):
            choose(made[shift:], cells[:-shift], out=made[shift:])
            choose(made[:-shift], cells[shift:], out=made[:-shift])
        cells = made.T
    return cells


def _interpolated(cells: NDArray[np.int64], size: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Bilinear between the centres of cells, rounded half up."""
    for side in shape:
        place = (2 * np.arange(side) + 1 - size).clip(0, 2 * size * (len(cells) - 1))
        first, part = place // (2 * size), place % (2 * size)
        after = np.minimum(first + 1, len(cells) - 1)
        cells = (cells[first] * (2 * size - part)[:, None] + cells[after] * part[:, None]).T
    level: NDArray[np.uint8] = ((cells + 2 * size * size) // (4 * size * size)).astype(np.uint8)
    return level
