"""Lines that cross the whole sheet, as on ruled and squared paper: found and removed, except where strokes cross them.

Integer arithmetic throughout, so that `reports/js/rules.js` has identical results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SIDE = 64  # in smaller pictures a stroke is as thin as a line
STEEPEST = 12  # a line rises by at most 1 in 12
THINNEST = 40  # a line is at most 1/40 as thick as the sheet's longer side


def without_rules(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask of ink, shape (H, W), without the lines that cross the sheet from side to side or from top to bottom."""
    mask = mask & ~_rules_across(mask)
    kept: NDArray[np.bool_] = mask & ~_rules_across(mask.T).T
    return kept


def _rules_across(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of lines from the left side to the right.

    A line has ink in 7 of 10 columns, some of them among the first and the last sixteenth, and is thin. Where a stroke
    crosses it, the ink is thicker than the line, and is kept.
    """
    height, width = mask.shape
    found = np.zeros_like(mask)
    end = width // 16
    if min(mask.shape) < LEAST_SIDE or 32 * min(mask[:, :end].sum(), mask[:, width - end :].sum()) < width:
        return found
    rows, columns = np.nonzero(mask)
    begins, ends = columns < end, columns >= width - end
    steepest = width // STEEPEST
    for rise in range(-steepest, steepest + 1):
        along = rows - rise * columns // width + steepest
        many, first, last = (
            np.bincount(along[part], minlength=height + 2 * steepest) for part in (slice(None), begins, ends)
        )
        line = (10 * many >= 7 * width) & (32 * first >= width) & (32 * last >= width)
        if line.any():
            on = line[along]
            found[rows[on], columns[on]] = True
    if not found.any():
        return found
    thickness = _run_lengths(mask)
    thin = found & (thickness <= max(mask.shape) // THINNEST)
    usual = np.sort(thickness[thin])
    if not len(usual):
        return np.zeros_like(mask)
    middle = int(usual[len(usual) // 2])
    return _whole_runs(mask, thin & (thickness <= middle + 1 + middle // 2))


def _run_lengths(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each pixel of the mask, the length of its vertical run."""
    down, up = _counted(mask), _counted(mask[::-1])[::-1]
    return np.where(mask, down + up - 1, 0)


def _counted(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    rows = np.arange(1, len(mask) + 1)[:, None]
    return rows - np.maximum.accumulate(np.where(mask, 0, rows), axis=0)


def _whole_runs(mask: NDArray[np.bool_], part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """All pixels of the mask in vertical runs that contain a pixel of `part`."""
    rows = np.arange(len(mask))[:, None]
    spans = []
    for way in (slice(None), slice(None, None, -1)):
        since = np.maximum.accumulate(np.where(mask[way], -1, rows), axis=0)
        seen = np.maximum.accumulate(np.where(part[way], rows, -1), axis=0)
        spans.append((seen > since)[way])
    whole: NDArray[np.bool_] = mask & (spans[0] | spans[1])
    return whole
