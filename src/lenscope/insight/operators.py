"""How much a kernel resembles an operator of image processing: its best match in banks of templates, with a p-value.

Each family is what a textbook would name such a kernel after: first derivatives (the gradient), second derivatives
(lines and bars) and Gabor functions (waves). The best of many templates is high for noise as well, so each score comes
with the share of random kernels that do as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from lenscope.errors import unknown_name
from lenscope.randomness import Purpose, random_uniforms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ORIENTATIONS = (
    np.arange(36) * 5
)  # degrees, from the right anticlockwise; 7.5 apart lose 2.5 % of a wave that lies between two
SIGMAS = (0.7, 1.0, 1.4, 2.0)  # of the Gaussians that are differentiated, in pixels
SOBEL = {3: ((1, 2, 1), (-1, 0, 1)), 5: ((1, 4, 6, 4, 1), (-1, -2, 0, 2, 1))}  # smoothing down, difference across
WAVELENGTHS = (2.5, 3.5, 5.0)  # pixels
ENVELOPES = (1.0, 1.6)  # sigma, pixels
PHASES = (0, 45, 90, 135)  # degrees
DRAWN = 9_999  # random kernels, so that the smallest p-value is 1 in 10,000
PART = 2**14  # correlations at a time: they stay in a cache, and BLAS spreads no product over threads
FLAT = 1e-10  # what rounding leaves of a constant, relative to it, is below this


@dataclass(frozen=True, eq=False)
class Bank:
    """The templates of one family at one size.

    Attributes:
        templates: each of mean 0 and norm 1; float64, shape (T, height, width). Their first row is the top of the
            picture, and they are laid over an image without turning them, as a network lays its kernels.
        names: what each is, such as `first derivative of a Gaussian, σ 1.4, 30°`. The angle is that in which a
            derivative is taken or a wave runs, from the right anticlockwise.
    """

    templates: NDArray[np.float64]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Match:
    """How well each kernel of an array of shape (…, height, width) matches the templates of a family.

    Attributes:
        scores: the largest magnitude of the correlation with a template, 0 to 1; NaN for a constant kernel; float64,
            shape (…).
        templates: the index of that template in the bank, −1 for a constant kernel; int64, shape (…).
        signs: the correlation's sign, 0 for a constant kernel; int8, shape (…). The picture to draw beside a kernel is
            its template times its sign.
        p_values: the share of random kernels whose score is at least as high; NaN for a constant kernel; float64,
            shape (…). They were uniform in ±b, as the weights of our networks are before training; the score does not
            depend on b.
    """

    scores: NDArray[np.float64]
    templates: NDArray[np.int64]
    signs: NDArray[np.int8]
    p_values: NDArray[np.float64]


@cache
def bank(height: int, width: int, family: str) -> Bank:
    """The templates of a family in kernels of this size; those that are constant there are left out.

    Args:
        height: 2 or more.
        width: 2 or more.
        family: `first`: first directional derivatives of Gaussians, and the Sobel operators where they fit and have a
            middle to stand in; `second`: second directional derivatives of Gaussians; `gabor`: Gabor functions.

    Raises:
        UsageError: nobody knows the family; the nearest known one is suggested.
        ValueError: a size that has no derivatives.
    """
    if family not in _FAMILIES:
        raise unknown_name("family", family, _FAMILIES)
    if min(height, width) < 2:
        raise ValueError(f"kernels of {height}×{width}: expected at least 2×2")
    found = [
        (f"{name}, {angle}°", template)
        for name, turned in _FAMILIES[family](_Grid(height, width))
        for angle, template in zip(ORIENTATIONS, turned, strict=True)
    ]
    templates, varies = _standardised(np.stack([template for _, template in found]))
    names = tuple(name for (name, _), kept in zip(found, varies, strict=True) if kept)
    return Bank(templates[varies].reshape(-1, height, width), names)


def best_match(kernels: NDArray[np.floating], family: str) -> Match:
    """The best match of each kernel in the bank of a family.

    The score is the largest magnitude of Pearson's correlation between the kernel's weights and a template's. The
    p-value is (1 + r)/(n + 1) for the r of n = 9,999 random kernels that score at least as high (Davison and Hinkley,
    Bootstrap Methods and their Application, 1997, section 4.2).

    Args:
        kernels: finite; any float, shape (…, height, width), at least 2×2.
        family: one of `FAMILIES`.

    Raises:
        UsageError: nobody knows the family; the nearest known one is suggested.
        ValueError: kernels of fewer than 2×2 weights.
    """
    height, width = kernels.shape[-2:]
    signed, templates = _correlate(kernels.reshape(-1, height, width), family)
    chance = random_scores(height, width, family)
    scores = np.abs(signed)
    as_high = len(chance) - np.searchsorted(chance, scores)
    p_values = np.where(np.isnan(scores), np.nan, (1 + as_high) / (1 + len(chance)))
    signs = np.where(np.isnan(scores), 0, np.sign(signed)).astype(np.int8)
    shape = kernels.shape[:-2]
    return Match(scores.reshape(shape), templates.reshape(shape), signs.reshape(shape), p_values.reshape(shape))


def _correlate(kernels: NDArray[np.floating], family: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The correlation of each of (K, height, width) with its best template, and the template: both (K,)."""
    templates = bank(*kernels.shape[1:], family).templates
    rows = templates.reshape(len(templates), -1)
    signed, best = np.full(len(kernels), np.nan), np.full(len(kernels), -1)
    step = max(1, PART // len(templates))
    for start in range(0, len(kernels), step):
        part, varies = _standardised(kernels[start : start + step])
        correlations = part @ rows.T
        indices = np.abs(correlations).argmax(1)
        highest = np.take_along_axis(correlations, indices[:, None], 1)[:, 0]
        signed[start : start + step] = np.where(varies, highest.clip(-1, 1), np.nan)
        best[start : start + step] = np.where(varies, indices, -1)
    return signed, best


def _standardised(kernels: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Each of (K, height, width) as a row (K, height × width) of mean 0 and norm 1, and whether it varies at all."""
    rows = kernels.reshape(len(kernels), -1).astype(np.float64)
    largest = np.abs(rows).max(1, initial=0)
    rows -= rows.mean(1, keepdims=True)
    norms = np.sqrt(np.einsum("kw,kw->k", rows, rows))
    varies = norms > FLAT * largest
    return rows / np.where(varies, norms, 1)[:, None], varies


@cache
def random_scores(height: int, width: int, family: str) -> NDArray[np.float64]:
    """The scores of kernels with weights uniform in ±1, ascending; float64, shape (DRAWN,)."""
    uniforms = random_uniforms(0, Purpose.RANDOM_KERNELS, 0, DRAWN * height * width)
    signed, _ = _correlate((2 * uniforms - 1).reshape(-1, height, width), family)
    return np.sort(np.abs(signed))


class _Grid:
    """Where the weights of a kernel lie about its middle, in pixels.

    Attributes:
        shape: height and width.
        along: how far each lies along each orientation; (36, height, width).
        squared: its squared distance from the middle; (height, width).
    """

    def __init__(self, height: int, width: int) -> None:
        self.shape = (height, width)
        up = (height - 1) / 2 - np.arange(height)[:, None]
        right = np.arange(width) - (width - 1) / 2
        self.along = _steered(right + 0 * up, up + 0 * right)
        self.squared = up**2 + right**2

    def gaussian(self, sigma: float) -> NDArray[np.float64]:
        """exp(−r²/2σ²), (height, width)."""
        return np.exp(-self.squared / (2 * sigma**2))


def _steered(right: NDArray[np.float64], up: NDArray[np.float64]) -> NDArray[np.float64]:
    """A first derivative at each orientation from those to the right and upwards, cos θ and sin θ of them.

    Source: Freeman and Adelson, "The design and use of steerable filters", IEEE PAMI 13 (9), 1991, section II.

    Args:
        right: float64, shape (height, width).
        up: the same.

    Returns:
        float64, shape (36, height, width).
    """
    angles = np.radians(ORIENTATIONS)[:, None, None]
    return np.cos(angles) * right + np.sin(angles) * up


def _first_derivatives(grid: _Grid) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Of Gaussians, u·exp(−r²/2σ²) up to scale, and the Sobel operators.

    Sobel's is from Sobel and Feldman, "A 3×3 isotropic gradient operator for image processing", Stanford Artificial
    Intelligence Project, 1968, as in Pratt, Digital Image Processing, 1978, the chapter on edge detection. That of 5×5
    continues its binomial rows.
    """
    for sigma in SIGMAS:
        yield f"first derivative of a Gaussian, σ {sigma}", grid.along * grid.gaussian(sigma)
    for size, (smoothing, difference) in SOBEL.items():
        margins = [side - size for side in grid.shape]
        if all(margin >= 0 and margin % 2 == 0 for margin in margins):
            right = np.pad(np.outer(smoothing, difference), [(margin // 2, margin // 2) for margin in margins])
            up = np.pad(-np.outer(difference, smoothing), [(margin // 2, margin // 2) for margin in margins])
            yield f"Sobel {size}×{size}", _steered(right, up)


def _second_derivatives(grid: _Grid) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Of Gaussians, (u²/σ² − 1)·exp(−r²/2σ²) up to scale: G₂ of Freeman and Adelson 1991."""
    for sigma in SIGMAS:
        yield f"second derivative of a Gaussian, σ {sigma}", (grid.along**2 / sigma**2 - 1) * grid.gaussian(sigma)


def _gabors(grid: _Grid) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """A wave under a round Gaussian, exp(−r²/2σ²)·cos(2πu/λ + φ).

    Source: Gabor, "Theory of communication", J. IEE 93 (III), 1946; in two dimensions Daugman,
    "Uncertainty relation for resolution in space, spatial frequency, and orientation optimized by two-dimensional
    visual cortical filters", J. Opt. Soc. Am. A 2 (7), 1985.
    """
    for wavelength in WAVELENGTHS:
        for sigma in ENVELOPES:
            for phase in PHASES:
                wave = np.cos(2 * np.pi * grid.along / wavelength + np.radians(phase))
                yield f"Gabor, wavelength {wavelength}, σ {sigma}, phase {phase}°", wave * grid.gaussian(sigma)


_FAMILIES = {"first": _first_derivatives, "second": _second_derivatives, "gabor": _gabors}
FAMILIES = tuple(_FAMILIES)
