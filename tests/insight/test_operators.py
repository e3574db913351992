from __future__ import annotations

import math
import tracemalloc
from itertools import product

import numpy as np
import pytest

from lenscope.errors import UsageError
from lenscope.insight import operators
from lenscope.insight.operators import FAMILIES, bank, best_match

BETWEEN = [*np.arange(0, 180, 3.75), *np.arange(2.5, 180, 5), *range(180)]  # on the bank's angles, and as far from them
SIZES = [(2, 2), (2, 5), (3, 3), (4, 4), (5, 5), (5, 3), (7, 7)]


def planted(height, width, value):
    """A template written as a loop over its weights; `value` takes how far right of and above the middle each lies."""
    rows = [[value(x - (width - 1) / 2, (height - 1) / 2 - y) for x in range(width)] for y in range(height)]
    return np.array(rows)


def gaussian(x, y, sigma):
    return math.exp(-(x * x + y * y) / (2 * sigma * sigma))


def along(x, y, degrees):
    return x * math.cos(math.radians(degrees)) + y * math.sin(math.radians(degrees))


def first_derivative(degrees, sigma, height=5, width=5):
    return planted(height, width, lambda x, y: along(x, y, degrees) * gaussian(x, y, sigma))


def second_derivative(degrees, sigma, height=5, width=5):
    return planted(
        height, width, lambda x, y: (along(x, y, degrees) ** 2 / sigma**2 - 1) * gaussian(x, y, sigma) / sigma**2
    )


def gabor(degrees, wavelength, sigma, phase, height=5, width=5):
    def value(x, y):
        wave = math.cos(2 * math.pi * along(x, y, degrees) / wavelength + math.radians(phase))
        return wave * gaussian(x, y, sigma)

    return planted(height, width, value)


def sobel(degrees, size):
    right = {
        3: [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
        5: [[-1, -2, 0, 2, 1], [-4, -8, 0, 8, 4], [-6, -12, 0, 12, 6], [-4, -8, 0, 8, 4], [-1, -2, 0, 2, 1]],
    }[size]
    up = [[right[x][size - 1 - y] for x in range(size)] for y in range(size)]
    margin = (5 - size) // 2
    turned = math.cos(math.radians(degrees)) * np.array(right) + math.sin(math.radians(degrees)) * np.array(up)
    return np.pad(turned, margin)


def correlation(one, other):
    """Pearson's, by sums over the weights."""
    pairs = list(zip(one.ravel().tolist(), other.ravel().tolist(), strict=True))
    mean_one, mean_other = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    together = sum((a - mean_one) * (b - mean_other) for a, b in pairs)
    spread_one = sum((a - mean_one) ** 2 for a, _ in pairs)
    spread_other = sum((b - mean_other) ** 2 for _, b in pairs)
    return together / math.sqrt(spread_one * spread_other)


def in_some_guise(kernel, number):
    """The kernel at another scale, in float32, with an offset; every other one upside down in grey."""
    scale = (-1) ** number * 10.0 ** (number % 7 - 3)
    return (scale * (kernel + 0.3)).astype(np.float32)


def random_kernels(count, *shape, seed=0, bound=1.0):
    return np.random.default_rng(seed).uniform(-bound, bound, (count, *shape))


# The bank


@pytest.mark.parametrize("family", FAMILIES)
def test_templates_have_mean_0_and_norm_1_and_a_name_each(family):
    for height, width in SIZES:
        found = bank(height, width, family)
        assert found.templates.shape == (len(found.names), height, width)
        np.testing.assert_allclose(found.templates.mean((1, 2)), 0, atol=1e-12)
        np.testing.assert_allclose(np.square(found.templates).sum((1, 2)), 1, atol=1e-12)
        assert len(set(found.names)) == len(found.names)
        assert all(name.endswith("°") for name in found.names)


@pytest.mark.parametrize(
    ("family", "name", "expected"),
    [
        ("first", "first derivative of a Gaussian, σ 1.4, 30°", first_derivative(30, 1.4)),
        ("first", "Sobel 3×3, 0°", sobel(0, 3)),
        ("first", "Sobel 5×5, 90°", sobel(90, 5)),
        ("first", "Sobel 5×5, 125°", sobel(125, 5)),
        ("second", "second derivative of a Gaussian, σ 0.7, 0°", second_derivative(0, 0.7)),
        ("second", "second derivative of a Gaussian, σ 2.0, 65°", second_derivative(65, 2.0)),
        ("gabor", "Gabor, wavelength 2.5, σ 1.6, phase 45°, 0°", gabor(0, 2.5, 1.6, 45)),
        ("gabor", "Gabor, wavelength 5.0, σ 1.0, phase 90°, 110°", gabor(110, 5.0, 1.0, 90)),
    ],
)
def test_a_template_is_what_its_name_says(family, name, expected):
    found = bank(5, 5, family)
    template = found.templates[found.names.index(name)]
    assert correlation(template, expected) == pytest.approx(1, abs=1e-9)


def test_banks_hold_what_fits():
    counts = {size: tuple(len(bank(*size, family).names) for family in FAMILIES) for size in SIZES}
    assert counts[5, 5] == counts[7, 7] == (36 * 6, 36 * 4, 36 * 3 * 2 * 4)
    assert counts[3, 3] == counts[5, 3] == (36 * 5, 36 * 4, 36 * 3 * 2 * 4)  # 5×5 does not fit
    assert counts[4, 4] == (36 * 4, 36 * 4, 36 * 3 * 2 * 4)  # and nothing of odd size has the same middle
    assert counts[2, 2] == (36 * 4, 34 * 4, 36 * 3 * 2 * 4 - 2 * 3 * 2)  # a symmetric wave along the sides is constant
    assert not any(name.endswith((" 0°", " 90°")) for name in bank(2, 2, "second").names)


@pytest.mark.parametrize("ask", [lambda: bank(5, 5, "gabr"), lambda: best_match(np.ones((5, 5)), "gabr")])
def test_an_unknown_family_is_refused_with_the_nearest(ask):
    with pytest.raises(UsageError, match=r"unknown family 'gabr'; did you mean 'gabor'\?"):
        ask()


def test_kernels_without_two_sides_are_refused():
    with pytest.raises(ValueError, match="expected at least 2×2"):
        best_match(np.ones((3, 1, 5)), "first")


# The score


@pytest.mark.parametrize(("family", "height", "width"), [("first", 2, 3), ("second", 4, 4), ("gabor", 5, 5)])
def test_scores_are_those_of_a_loop(family, height, width):
    kernels = random_kernels(6, height, width, bound=0.2).astype(np.float32)
    found, match = bank(height, width, family), best_match(kernels, family)
    for kernel, score, template, sign in zip(kernels, match.scores, match.templates, match.signs, strict=True):
        correlations = [correlation(kernel, candidate) for candidate in found.templates]
        assert score == pytest.approx(max(map(abs, correlations)), abs=1e-9)
        assert abs(correlations[template]) == pytest.approx(score, abs=1e-9)
        assert sign == np.sign(correlations[template])


def test_it_finds_sobel_at_every_orientation():
    operators_of_both = (sobel(angle, size) for angle in BETWEEN for size in (3, 5))
    kernels = np.stack([in_some_guise(kernel, number) for number, kernel in enumerate(operators_of_both)])
    scores = {family: best_match(kernels, family).scores for family in FAMILIES}
    assert scores["first"].min() > 0.998
    assert scores["second"].max() < 0.01
    assert (scores["first"] > scores["gabor"]).all()


@pytest.mark.parametrize(("family", "derivative"), [("first", first_derivative), ("second", second_derivative)])
def test_it_finds_derivatives_at_every_orientation(family, derivative):
    every = (derivative(angle, sigma) for angle in BETWEEN for sigma in operators.SIGMAS)
    kernels = np.stack([in_some_guise(kernel, number) for number, kernel in enumerate(every)])
    match = {name: best_match(kernels, name) for name in FAMILIES}
    other = {"first": "second", "second": "first"}[family]
    assert match[family].scores.min() > 0.998
    assert match[other].scores.max() < 0.01
    assert (match[family].scores > match["gabor"].scores).all()
    assert match[family].p_values.max() == pytest.approx(1e-4)


def test_it_finds_gabors_at_every_orientation():
    kinds = list(product(operators.WAVELENGTHS, operators.ENVELOPES, operators.PHASES))
    every = (gabor(angle, *kind) for number, kind in enumerate(kinds) for angle in BETWEEN[number % 4 :: 4])
    kernels = np.stack([in_some_guise(kernel, number) for number, kernel in enumerate(every)])
    scores = {family: best_match(kernels, family).scores for family in FAMILIES}
    assert scores["gabor"].min() > 0.98
    assert (scores["gabor"] > scores["first"]).all()
    assert (scores["gabor"] > scores["second"]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_kernel_has_no_score(dtype):
    constants = [np.full((5, 5), constant) for constant in (0.0, 1.0, -0.1, 1e-30, 3e38)]
    kernels = np.stack([*constants, sobel(0, 5)]).astype(dtype)
    match = best_match(kernels, "first")
    assert np.isnan(match.scores).tolist() == np.isnan(match.p_values).tolist() == [True] * 5 + [False]
    assert (match.templates[:5].tolist(), match.signs[:5].tolist()) == ([-1] * 5, [0] * 5)
    pictures = bank(5, 5, "first").templates[match.templates] * match.signs[:, None, None]
    assert [bool(picture.any()) for picture in pictures] == [False] * 5 + [True]


def test_shapes_and_types():
    match = best_match(random_kernels(2, 3, 5, 5).astype(np.float32), "gabor")
    for values, dtype in [
        (match.scores, np.float64),
        (match.templates, np.int64),
        (match.signs, np.int8),
        (match.p_values, np.float64),
    ]:
        assert (values.shape, values.dtype) == ((2, 3), dtype)
    assert best_match(sobel(0, 3), "first").scores.shape == ()
    assert best_match(np.empty((0, 6, 5, 5)), "first").p_values.shape == (0, 6)


def test_parts_give_what_the_whole_gives(monkeypatch):
    kernels = random_kernels(50, 5, 5)
    kernels[17] = 2
    whole = best_match(kernels, "second")
    monkeypatch.setattr(operators, "CHUNK", 7 * 144)
    parts = best_match(kernels, "second")
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-12)
    np.testing.assert_array_equal(parts.templates, whole.templates)
    np.testing.assert_array_equal(parts.signs, whole.signs)


def test_sixty_thousand_kernels_take_less_than_100_megabytes():
    kernels = np.random.default_rng(0).normal(size=(60_000, 5, 5)).astype(np.float32)
    best_match(kernels[:1], "gabor")
    tracemalloc.start()
    match = best_match(kernels, "gabor")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(match.scores) == 60_000
    assert peak < 100e6


# The p-value


@pytest.mark.parametrize("family", FAMILIES)
def test_a_p_value_is_the_share_of_random_kernels_that_score_as_high(family):
    chance = operators.random_scores(5, 5, family)
    assert chance.shape == (9_999,)
    kernels = random_kernels(20, 5, 5, seed=3)
    match = best_match(kernels, family)
    for score, p_value in zip(match.scores, match.p_values, strict=True):
        assert p_value == (1 + sum(other >= score for other in chance.tolist())) / 10_000


def test_a_score_that_was_drawn_counts_among_those_as_high(monkeypatch):
    score = best_match(random_kernels(1, 5, 5), "first").scores[0]
    monkeypatch.setattr(operators, "random_scores", lambda *_: np.array([0.0, score, score, 1.0]))
    assert best_match(random_kernels(1, 5, 5), "first").p_values[0] == 4 / 5


def test_the_random_kernels_stay_for_ever():
    assert operators.random_scores(5, 5, "first")[[0, 4999, 9998]].tolist() == pytest.approx(CHANCE, abs=1e-9)


CHANCE = [0.032442555346276214, 0.33165982077633366, 0.767865686443011]
