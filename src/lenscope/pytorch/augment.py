"""The distortions of `lenscope.data.augment`, for a batch at a time on any device.

Nothing here waits for the device or copies from the host, so that it can be part of a captured CUDA graph. However many
images there are, it takes some nine hundred operations, most of them for the random words: give it thousands of images
at a time where the device is fast. 100 MNIST images take 7 to 9 ms on one core at 2.5 GHz, 3 of them for the words.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from lenscope.data.augment import FIELD_WORD, NOISE_RMS
from lenscope.randomness import Purpose

if TYPE_CHECKING:
    from lenscope.config import Augmentation

WORD = 2**64 - 1
HALF = 2**32 - 1
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


@torch.no_grad()
def augmented(
    images: torch.Tensor, indices: torch.Tensor, how: Augmentation, seed: int, epoch: int | torch.Tensor
) -> torch.Tensor:
    """Distorted copies of images, within one grey level of `lenscope.data.augment.augmented`.

    Args:
        images: uint8, shape (n, C, H, W).
        indices: int64, shape (n,), of these images in the data set; on the images' device.
        how: the largest distortions; where it distorts nothing, the images come back as they are.
        seed: of the run.
        epoch: counted from 1; as a tensor of one int64 on the device where it is to change within a CUDA graph.

    Returns:
        uint8, shape (n, C, H, W).
    """
    if not how.distorts:
        return images
    height, width = size = images.shape[2:]
    inverse = _inverse(draw_parameters(how, seed, epoch, indices), height, width)
    grid = F.affine_grid(inverse, [len(images), 1, height, width], align_corners=False)
    if how.elastic:
        field = elastic_field(how, seed, epoch, indices, size)
        grid[..., 0].add_(field[:, 0], alpha=2 / width)
        grid[..., 1].add_(field[:, 1], alpha=2 / height)
    values = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return values.add_(0.5).to(torch.uint8)


def draw_parameters(how: Augmentation, seed: int, epoch: int | torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """The affine parameters of n images, float32, shape (n, 5): shift_x, shift_y, rotation, scale, shear."""
    uniforms = (_words(seed, epoch, indices, 0, 8) >> 40 & 0xFFFFFF).float() * 2**-23 - 1
    largest = (how.shift, how.shift, how.rotation, how.scale, how.shear)
    return torch.stack([uniforms[:, i] * value for i, value in enumerate(largest)], dim=1)


def elastic_field(
    how: Augmentation, seed: int, epoch: int | torch.Tensor, indices: torch.Tensor, size: tuple[int, ...]
) -> torch.Tensor:
    """The displacements along x and along y in pixels; float32, shape (n, 2, H, W) for size (H, W)."""
    count = 2 * math.prod(size)
    words = _words(seed, epoch, indices, FIELD_WORD, -(-count // 8))
    noise = words.view(torch.uint8)[:, :count].reshape(-1, 2, *size).float() - 127.5
    rows, columns = (_gaussian(length, how.smoothness, indices.device) for length in size)
    factor = how.elastic / (NOISE_RMS * math.sqrt(math.pi) * how.smoothness)
    return rows.mul_(factor) @ (noise @ columns)


def _inverse(parameters: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """What takes a place in the copy to that in the image, both from −1 to 1 over it; float32, shape (n, 2, 3)."""
    shift_x, shift_y, rotation, scale, shear = parameters.unbind(1)
    cosine, sine, lean = rotation.deg2rad().cos(), rotation.deg2rad().sin(), shear.deg2rad().tan()
    xx, xy, yx, yy = cosine + lean * sine, sine - lean * cosine, -sine, cosine
    x = torch.stack([xx, xy * (height / width), -2 / width * (xx * shift_x + xy * shift_y)], dim=1)
    y = torch.stack([yx * (width / height), yy, -2 / height * (yx * shift_x + yy * shift_y)], dim=1)
    return torch.stack([x, y], dim=1) / (1 + scale)[:, None, None]


def _gaussian(length: int, deviation: float, device: torch.device) -> torch.Tensor:
    """exp(−(i − j)²/(2σ²)) for i and j below `length`."""
    place = torch.arange(length, dtype=torch.float32, device=device)
    return torch.exp((place[:, None] - place).square() / (-2 * deviation**2))


def _words(seed: int, epoch: int | torch.Tensor, indices: torch.Tensor, first: int, count: int) -> torch.Tensor:
    """Words `first` (a multiple of 4) and on of each image's stream, int64 by their bits, shape (n, at least count).

    As `lenscope.randomness.random_words`: Philox 4×64 with 10 rounds.
    """
    blocks = 1 + first // 4 + torch.arange(-(-count // 4), device=indices.device)
    a, b, c, d = blocks, torch.zeros_like(blocks) + epoch, indices[:, None] + 1, torch.zeros_like(blocks)
    keys = [seed, int(Purpose.AUGMENT)]
    for _ in range(10):
        high_a, high_c = _high(MULTIPLIERS[0], a), _high(MULTIPLIERS[1], c)
        low_a, low_c = a * _signed(MULTIPLIERS[0]), c * _signed(MULTIPLIERS[1])
        a, b, c, d = high_c ^ b ^ _signed(keys[0]), low_c, high_a ^ d ^ _signed(keys[1]), low_a
        keys = [(key + step) & WORD for key, step in zip(keys, KEY_STEPS, strict=True)]
    return torch.stack([a, b, c, d], dim=-1).flatten(1)


def _high(multiplier: int, words: torch.Tensor) -> torch.Tensor:
    """The upper 64 bits of the 128 of a product of unsigned words, by its four products of halves."""
    low, high = words & HALF, _upper(words)
    cross = (multiplier >> 32) * low + _upper((multiplier & HALF) * low)
    other = (multiplier & HALF) * high + (cross & HALF)
    return (multiplier >> 32) * high + _upper(cross) + _upper(other)


def _upper(words: torch.Tensor) -> torch.Tensor:
    return (words >> 32) & HALF


def _signed(word: int) -> int:
    """The int64 of the same bits."""
    return word - 2**64 if word >> 63 else word
