"""Random distortions of training images: their definition, and their computation in numpy.

The definition. Image `index` of the data set is distorted in `epoch` under `seed` by what the words
`random_words(seed, Purpose.AUGMENT, epoch, …, index + 1)` say, and by nothing else: neither its batch nor its place in
the order matter. The settings (`Augmentation`) count as float32; x points right, y down; the centre of an image of H×W
pixels is ((W − 1)/2, (H − 1)/2).

1.  The upper 24 bits b of words 0 to 4 give u = b/2²³ − 1, uniform in [−1, 1). Each parameter is one product of
    float32, rounded once, so that it comes out the same wherever it is computed:

        shift_x = shift·u₀    shift_y = shift·u₁    rotation = rotation·u₂    scale = scale·u₃    shear = shear·u₄

2.  The picture is sheared (x grows by tan(shear)·y), rotated (clockwise as seen) and scaled by 1 + scale, all about its
    centre, and then shifted. So the pixel at p shows what was at

        centre + Shear⁻¹·Rotation⁻¹·(p − centre − (shift_x, shift_y)) / (1 + scale) + (d_x(p), d_y(p)).

    The scale is one for both axes and uniform about 1, as is usual (torchvision's `RandomAffine` does so).

3.  d is the elastic field of Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to
    visual document analysis" (ICDAR 2003, section 2): uniform noise for each axis, smoothed by a Gaussian. The bytes of
    the words from 8 on, the least significant of a word first, are the noise: H·W of them for d_x, row after row, then
    as many for d_y. A byte b counts as n = b − 127.5, and there is no noise outside the image:

        d(x, y) = elastic/(r·√π·σ) · Σ n(x′, y′)·exp(−((x − x′)² + (y − y′)²)/(2σ²)),    σ = smoothness.

    r = √((256² − 1)/12) is the root mean square of n, and √π·σ that of the sum, so that `elastic` is the root mean
    square displacement along each axis, in pixels; it falls off within 2σ of the border (σ = 4: to 0.76 at the middle
    of a side). Where a Gaussian of sum 1 smooths noise from −1 to 1 and the factor α follows, as the paper is mostly
    read, elastic = α/(2·√(3·π)·σ): its α = 34 with σ = 4 is elastic = 1.38.

4.  The value there is interpolated bilinearly between four pixels; all is 0 outside the image. The channels share the
    places. The result is rounded to a byte, halves upwards.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lenscope.randomness import Purpose, random_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lenscope.config import Augmentation

FIELD_WORD = 8  # the first word of the elastic field; those before are for the parameters
NOISE_RMS = math.sqrt((256**2 - 1) / 12)


def augmented(
    images: NDArray[np.uint8], indices: Sequence[int] | NDArray[np.int64], how: Augmentation, seed: int, epoch: int
) -> NDArray[np.uint8]:
    """Distorted copies of images, computed in float64.

    Args:
        images: uint8, shape (n, C, H, W).
        indices: of these images in the data set, n numbers.
        how: the largest distortions.
        seed: of the run.
        epoch: counted from 1.

    Returns:
        uint8, shape (n, C, H, W).
    """
    size = images.shape[2:]
    sources = places(np.stack([draw_parameters(how, seed, epoch, index) for index in indices]), size)
    if how.elastic:
        sources += np.stack([elastic_field(how, seed, epoch, index, size) for index in indices])
    return bilinear(images, sources[:, 0], sources[:, 1])


def draw_parameters(how: Augmentation, seed: int, epoch: int, index: int) -> NDArray[np.float32]:
    """The affine parameters of one image, float32, shape (5,): shift_x, shift_y, rotation, scale, shear."""
    words = random_words(seed, Purpose.AUGMENT, epoch, 5, index + 1)
    uniforms = (words >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)
    return np.array([how.shift, how.shift, how.rotation, how.scale, how.shear], dtype=np.float32) * uniforms


def places(parameters: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float64]:
    """The source x and y of each pixel, without the elastic field; float64, (n, 2, H, W) for size (H, W).

    Args:
        parameters: of each image, shape (n, 5), from `draw_parameters`.
        size: height and width.
    """
    shift_x, shift_y, degrees, scale, lean = parameters.astype(np.float64).T
    cosine, sine, nothing = np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), np.zeros(len(parameters))
    rotation = _matrices(cosine, -sine, sine, cosine)
    shear = _matrices(nothing + 1, np.tan(np.radians(lean)), nothing, nothing + 1)
    back = np.linalg.inv((1 + scale)[:, None, None] * rotation @ shear)
    centre = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])[:, None]
    y, x = np.indices(size).reshape(2, -1)
    sources: NDArray[np.float64] = (
        back @ (np.stack([x, y]) - centre - np.stack([shift_x, shift_y], axis=1)[:, :, None]) + centre
    )
    return sources.reshape(-1, 2, *size)


def _matrices(*entries: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices of 2×2 by their four entries, row by row, each (n,); shape (n, 2, 2)."""
    return np.stack(entries, axis=1).reshape(-1, 2, 2)


def elastic_field(how: Augmentation, seed: int, epoch: int, index: int, size: tuple[int, ...]) -> NDArray[np.float64]:
    """The displacements along x and along y in pixels; float64, shape (2, H, W) for size (H, W)."""
    count = 2 * math.prod(size)
    words = random_words(seed, Purpose.AUGMENT, epoch, FIELD_WORD + -(-count // 8), index + 1)
    noise = words[FIELD_WORD:].astype("<u8").view(np.uint8)[:count].reshape(2, *size) - 127.5
    rows, columns = (_gaussian(length, how.smoothness) for length in size)
    return how.elastic / (NOISE_RMS * math.sqrt(math.pi) * how.smoothness) * (rows @ noise @ columns)


def bilinear(images: NDArray[np.uint8], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bilinear interpolation in images (n, C, H, W), 0 outside; uint8, (n, C, …).

    Args:
        images: uint8, shape (n, C, H, W).
        x: positions in each image, shape (n, …).
        y: positions in each image, shape (n, …).
    """
    count, channels, height, width = images.shape
    wide, tall = width + 2, height + 2
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1))).swapaxes(0, 1).reshape(channels, -1)
    x, y = np.clip(x, -1, width) + 1, np.clip(y, -1, height) + 1
    left, top = np.minimum(x.astype(int), width), np.minimum(y.astype(int), height)
    right_share, lower_share = x - left, y - top
    first = np.arange(count).reshape(-1, *[1] * (x.ndim - 1)) * tall * wide
    corner = first + top * wide + left
    upper = (1 - right_share) * padded[:, corner] + right_share * padded[:, corner + 1]
    lower = (1 - right_share) * padded[:, corner + wide] + right_share * padded[:, corner + wide + 1]
    values: NDArray[np.float64] = (1 - lower_share) * upper + lower_share * lower
    return np.floor(values + 0.5).astype(np.uint8).swapaxes(0, 1)


def _gaussian(length: int, deviation: float) -> NDArray[np.float64]:
    """exp(−(i − j)²/(2σ²)) for i and j below `length`."""
    place = np.arange(length, dtype=np.float64)
    return np.exp(np.square(place[:, None] - place) / (-2 * deviation**2))
