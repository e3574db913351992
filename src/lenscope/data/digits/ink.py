"""Which ink of a picture is its digit: components away from the border that are not a line, a frame or a speck.

Integer arithmetic throughout, so that `reports/js/ink.js` has identical results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.data.digits.components import Component, label_components, measure_components
from lenscope.data.digits.paper import noise_of
from lenscope.data.digits.rules import LEAST_SIDE, without_rules
from lenscope.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of 255 levels: pictures with less contrast are blank; ink below this fraction of the strongest is ignored.
LEAST_CONTRAST, LEAST_INK = 32, 16
MOST_COMPONENTS = 200  # that may be joined, the heaviest ones
OUT, DIGIT = 1, 2  # in `Found.kinds`: ink that was left out, and the digit's ink


@dataclass(frozen=True, eq=False)
class Found:
    """The ink of a picture, and which of it is the digit.

    Attributes:
        kinds: uint8, shape (H, W): 0 paper, OUT, DIGIT.
        strongest: the digit's strongest ink, without noise.
        noise: the scale of the noise, in levels of ink.
    """

    kinds: NDArray[np.uint8]
    strongest: int
    noise: int


def find_digit(ink: NDArray[np.int64], uneven: int, source: str) -> Found:
    """Find the ink of a picture and which of it is the digit.

    Ink is at least LEAST_INK / 255 of the strongest, at least four times the noise (at most half of the strongest), and
    at least the range of the paper's levels (at most three eighths of the strongest). Everything is measured twice:
    with the strongest ink of the picture, then with that of the digit.

    Args:
        ink: shape (H, W), the difference of each pixel from the paper.
        uneven: the difference between the lightest and the darkest paper.
        source: the picture's name for error messages.

    Raises:
        DataError: there is no digit, or there are several.
    """
    strongest = int(ink.max())
    if strongest < LEAST_CONTRAST:
        raise DataError(f"{source}: no digit found: it is blank; expected one digit, dark on light or light on dark")
    first = _found(ink, strongest, uneven, source)
    return first if first.strongest == strongest else _found(ink, first.strongest, uneven, source)


def _found(ink: NDArray[np.int64], strongest: int, uneven: int, source: str) -> Found:
    noise = noise_of(ink, strongest)
    faintest = (LEAST_INK * strongest - strongest // 2 + 254) // 255
    mask = ink >= max(faintest, min(4 * noise, strongest // 2), min(uneven, 3 * strongest // 8))
    kept = without_rules(mask)
    labels = label_components(kept if kept.any() else mask)
    chosen = choose_components(measure_components(labels, ink), max(ink.shape), source)
    digit = np.isin(labels, chosen)
    kinds = np.where(digit, DIGIT, np.where(mask, OUT, 0)).astype(np.uint8)
    return Found(kinds, max(int(ink[digit].max()) - 3 * noise, 1), noise)


def choose_components(components: list[Component], longer: int, source: str) -> list[int]:
    """The numbers of the components that are the digit, in a picture whose longer side has `longer` pixels.

    The digit's main component is the heaviest one that is neither at the border nor a frame nor a speck; components
    near it with similar strength belong to it. In pictures below LEAST_SIDE pixels all components do.
    """
    if longer < LEAST_SIDE:
        return [each.number for each in components]
    heaviest = sorted(components, key=lambda each: -each.mass)
    large = [each for each in heaviest if 50 * each.size >= longer][:MOST_COMPONENTS]
    inner = [each for each in large if not _is_rim(each) and not _is_frame(each, large)]
    likely = [each for each in inner if 10 * each.size >= longer] or inner or large
    if not likely:
        raise DataError(
            f"{source}: no digit found: only specks stand out from the background; expected one larger digit"
        )
    main = likely[0]
    others = [each for each in heaviest if each is not main][:MOST_COMPONENTS]
    others = [each for each in others if not _is_frame(each, large)]
    group = _grouped(main, others)
    several = [each for each in others if each not in group and _is_digit_beside(each, main)]
    if several:
        raise DataError(
            f"{source}: {len(several) + 1} digits or shapes of similar size found; expected one: crop the picture to it"
        )
    return [each.number for each in group]


def _grouped(main: Component, others: list[Component]) -> list[Component]:
    """The main component and those that belong to it, directly or through others."""
    group, joined = [main], [main]
    while joined:
        others = [each for each in others if each not in joined]
        joined = [each for each in others if any(_belongs(each, member, main) for member in joined)]
        group += joined
    return group


def _is_rim(each: Component) -> bool:
    """Whether a component crosses the picture, or is along its border and mostly in the outermost eighth."""
    return each.spans or (3 * each.rim >= each.size and 2 * each.core < each.mass)


def _is_frame(each: Component, large: list[Component]) -> bool:
    """Whether a component encloses another that is not much smaller."""
    return any(
        each.encloses(inside) and 3 * inside.size >= each.size and 8 * inside.mass >= each.mass for inside in large
    )


def _is_digit_beside(each: Component, main: Component) -> bool:
    """Whether a component that does not belong to the digit could be another digit."""
    alike = 2 * each.size >= main.size and 4 * each.mass >= main.mass and 2 * each.peak >= main.peak
    return alike and not _is_rim(each)


def _belongs(each: Component, member: Component, main: Component) -> bool:
    """Whether a component is near a larger one of the digit; small ones must be nearer."""
    gap = each.gap(member)
    if 2 * each.peak < main.peak or 4 * member.size < main.size or _are_side_by_side(each, main):
        return False
    if _is_rim(each) and (4 * each.size > 5 * main.size or 10 * gap > main.size):
        return False
    if 4 * each.size >= main.size:
        return 4 * gap <= main.size
    if 12 * each.size >= main.size:
        return 10 * gap <= max(main.size, 50)
    return gap <= max(main.size // 40, 5)


def _are_side_by_side(one: Component, other: Component) -> bool:
    """Whether two components are side by side and of similar height, like two digits."""
    lower, higher = sorted((one.bottom - one.top, other.bottom - other.top))
    return max(one.left - other.right, other.left - one.right) >= 0 and 4 * lower >= 3 * higher
