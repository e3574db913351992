"""How much a kernel resembles an operator of image processing: the best match in banks of templates, with a p-value.

The families are first derivatives (the gradient), second derivatives (lines and bars) and Gabor functions (waves). The
best of many templates scores high for noise as well, so each score comes with the fraction of random kernels that
score as high.
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

# Degrees, anticlockwise from the right; steps of 7.5 would lose 2.5 % of the score between two templates.
ORIENTATIONS = np.arange(36) * 5
SIGMAS = (0.7, 1.0, 1.4, 2.0)  # of the Gaussians that are differentiated, in pixels
SOBEL = {3: ((1, 2, 1), (-1, 0, 1)), 5: ((1, 4, 6, 4, 1), (-1, -2, 0, 2, 1))}  # smoothing down, difference across
WAVELENGTHS = (2.5, 3.5, 5.0)  # pixels
ENVELOPES = (1.0, 1.6)  # sigma, pixels
PHASES = (0, 45, 90, 135)  # degrees
DRAWN = 9_999  # random kernels, so that the smallest p-value is 1 in 10,000
CHUNK = 2**14  # correlations at a time: they fit into the cache, and BLAS uses one thread for the product
FLAT = 1e-10  # relative to its weights, a kernel with a smaller norm is constant up to rounding


@dataclass(frozen=True, eq=False)
class Bank:
    """The templates of one family at one size.

    Attributes:
        templates: each of mean 0 and norm 1; float64, shape (T, height, width). Their first row is the top of the
            picture, and they are applied to an image without turning them, as a network applies its kernels.
        names: of the templates, such as `first derivative of a Gaussian, σ 1.4, 30°`. The angle is that in which a
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
        p_values: the fraction of random kernels whose score is at least as high; NaN for a constant kernel; float64,
            shape (…). Their weights are uniform in ±b, as ours are before training; the score does not depend on b.
    """

    scores: NDArray[np.float64]
    templates: NDArray[np.int64]
    signs: NDArray[np.int8]
    p_values: NDArray[np.float64]


@cache
def bank(height: int, width: int, family: str) -> Bank:
    """The templates of a family in kernels of this size; templates that are constant at this size are left out.

    Args:
        height: 2 or more.
        width: 2 or more.
        family: `first`: first directional derivatives of Gaussians, and the Sobel operators where they fit and can be
            centred; `second`: second directional derivatives of Gaussians; `gabor`: Gabor functions.

    Raises:
        UsageError: unknown family; the message suggests the closest match.
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
        UsageError: unknown family; the message suggests the closest match.
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
    step = max(1, CHUNK // len(templates))
    for start in range(0, len(kernels), step):
        chunk, varies = _standardised(kernels[start : start + step])
        correlations = chunk @ rows.T
        indices = np.abs(correlations).argmax(1)
        highest = np.take_along_axis(correlations, indices[:, None], 1)[:, 0]
        signed[start : start + step] = np.where(varies, highest.clip(-1, 1), np.nan)
        best[start : start + step] = np.where(varies, indices, -1)
    return signed, best


def _standardised(kernels: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Each of (K, height, width) as a row (K, height × width) of mean 0 and norm 1, and whether it is not constant."""
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
    """The positions of the weights of a kernel relative to its centre, in pixels.

    Attributes:
        shape: height and width.
        along: the coordinate of each weight along each orientation; (36, height, width).
        squared: its squared distance from the centre; (height, width).
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
    """A first derivative at each orientation θ: cos θ times that to the right plus sin θ times that upwards.

    Source: Freeman and Adelson, "The design and use of steerable filters", IEEE PAMI 13 (9), 1991, section II.

    Args:
        right: float64, shape (height, width).
        up: float64, shape (height, width).

    Returns:
        float64, shape (36, height, width).
    """
    angles = np.radians(ORIENTATIONS)[:, None, None]
    return np.cos(angles) * right + np.sin(angles) * up


def _first_derivatives(grid: _Grid) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """First derivatives of Gaussians, u·exp(−r²/2σ²) up to scale, and the Sobel operators.

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
    """Second derivatives of Gaussians, (u²/σ² − 1)·exp(−r²/2σ²) up to scale: G₂ of Freeman and Adelson 1991."""
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
