from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from lenscope.data.digits.digit import SHEET, prepare_digit
from lenscope.data.digits.ink import DIGIT, OUT
from lenscope.data.formats.idx import read_idx
from lenscope.data.published.catalogue import BUNDLED
from lenscope.errors import DataError
from photos import KINDS

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def digits() -> Array:
    return read_idx(BUNDLED / "t10k-images-idx3-ubyte.gz")[:50]


def enlarged(digit: Array, method: Image.Resampling) -> Array:
    return np.asarray(Image.fromarray(digit).resize((280, 280), method))


def on_paper(digit: Array) -> Array:
    """Dark blue ink on yellowish paper, off the middle."""
    grey = np.pad(255 - digit, ((30, 70), (55, 20)), constant_values=255).astype(int)
    return np.stack([grey * 3 // 4 + 60, grey * 3 // 4 + 50, grey // 2 + 70], -1).astype(np.uint8)


def test_a_digit_of_mnist_in_the_corner_of_a_black_page_comes_back_as_it_was(digits: Array) -> None:
    full = digits[digits.max((1, 2)) == 255]
    errors = [np.abs(prepare_digit(np.pad(d, ((0, 60), (0, 90)))).centred.astype(int) - d).max() for d in full]
    # Those that differ hold ink fainter than 16 at the edge, which is cut off.
    assert np.mean(np.array(errors) < 16) == 1.0
    assert np.mean(np.array(errors) == 0) > 0.8


def test_enlarged_inverted_tinted_and_padded_a_digit_is_nearly_what_it_was(digits: Array) -> None:
    for digit in digits:
        centred = prepare_digit(on_paper(enlarged(digit, Image.Resampling.NEAREST))).centred
        assert np.abs(centred.astype(int) - digit).max() <= 16
        assert np.abs(centred.astype(int) - digit).mean() < 0.5


def test_dark_on_light_and_light_on_dark_are_the_same(digits: Array) -> None:
    page = np.pad(enlarged(digits[0], Image.Resampling.NEAREST), 20)
    assert (prepare_digit(page).centred == prepare_digit(255 - page).centred).all()


def test_noise_and_specks_do_not_widen_the_crop(digits: Array) -> None:
    page = np.pad(enlarged(digits[0], Image.Resampling.NEAREST), 40) // 2 + 60
    clean = prepare_digit(page.astype(np.uint8)).centred.astype(int)
    noisy = page + np.random.default_rng(0).integers(-12, 13, page.shape)
    noisy[3, 3] = noisy[350, 10] = 187
    assert np.abs(prepare_digit(noisy.astype(np.uint8)).centred.astype(int) - clean).mean() < 4


def test_each_step_has_its_shape_and_keeps_the_aspect() -> None:
    page = np.full((90, 70, 3), 255, np.uint8)
    page[10:50, 20:30] = (200, 0, 0)
    steps = prepare_digit(page)
    assert steps.grey.shape == steps.on_black.shape == (90, 70)
    assert steps.cropped.shape == (40, 10)
    assert steps.boxed.shape == (20, 20)
    assert steps.centred.shape == (28, 28)
    assert (steps.boxed[:, 7:12] == 255).all()
    assert steps.boxed.sum() == steps.centred.sum() == 20 * 5 * 255
    # Rows 4 to 23 are centred at 13.5, columns 12 to 16 at 14: both within 13.5 and 14.5.
    assert (steps.centred[4:24, 12:17] == 255).all()


def test_a_digit_below_20_pixels_is_enlarged() -> None:
    page = np.zeros((12, 12), np.uint8)
    page[2:9, 5:6] = 255
    assert prepare_digit(page).boxed.max(1).min() > 0


def test_ink_at_one_side_is_never_moved_out_of_the_field() -> None:
    page = np.zeros((44, 44), np.uint8)
    page[2:42, 2:4] = 255
    page[20:22, 2:42] = 40
    steps = prepare_digit(page)
    assert steps.centred.sum() == steps.boxed.sum()


def test_one_row_of_ink_is_a_digit() -> None:
    page = np.zeros((30, 120), np.uint8)
    page[15, 10:110] = 255
    steps = prepare_digit(page)
    assert steps.cropped.shape == (1, 100)
    assert steps.centred.max() == 255


@pytest.mark.parametrize(
    "page", [np.zeros((9, 9), np.uint8), np.full((5, 7, 3), 200, np.uint8), np.ones((1, 1), np.uint8)]
)
def test_a_blank_picture_holds_no_digit(page: Array) -> None:
    with pytest.raises(DataError, match=r"^file.png: no digit found: it is blank"):
        prepare_digit(page, "file.png")


def test_a_few_specks_are_not_digit() -> None:
    page = np.zeros((500, 500), np.uint8)
    page[100, 100] = page[300, 200] = 255
    with pytest.raises(DataError, match="only specks"):
        prepare_digit(page)


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_gives_the_digit_that_was_written(kind: str, digits: Array) -> None:
    rng = np.random.default_rng(17)
    for digit in digits[:3]:
        centred = prepare_digit(KINDS[kind](rng, digit)).centred
        clean = prepare_digit(enlarged(digit, Image.Resampling.BICUBIC)).centred
        assert likeness(centred, clean) > 0.85


def likeness(one: Array, other: Array) -> float:
    """The largest correlation with the other image, as it is or shifted by a pixel."""
    shifts = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    return max(float(np.corrcoef(np.roll(one, shift, (0, 1)).ravel(), other.ravel())[0, 1]) for shift in shifts)


def test_what_is_left_out_and_the_paper_can_be_seen(digits: Array) -> None:
    steps = prepare_digit(KINDS["framed"](np.random.default_rng(1), digits[0]))
    outer, inner = (np.argwhere(steps.found == kind) for kind in (OUT, DIGIT))
    assert (outer.min(0) < inner.min(0)).all()
    assert (outer.max(0) > inner.max(0)).all()
    assert np.ptp(steps.paper) < 10
    assert (steps.on_black[steps.found == OUT] == 0).all()


def test_two_digits_are_refused_and_a_cut_one_is_joined(digits: Array) -> None:
    seven, two = (enlarged(digit, Image.Resampling.BICUBIC) for digit in digits[:2])
    with pytest.raises(DataError, match=r"^two.png: 2 digits or shapes of similar size found; expected one: "):
        prepare_digit(np.hstack([seven, two]), "two.png")
    cut = two.copy()
    cut[150:154] = 0
    assert np.corrcoef(prepare_digit(cut).centred.ravel(), prepare_digit(two).centred.ravel())[0, 1] > 0.97


def test_a_large_photo_is_reduced_first(digits: Array) -> None:
    page = np.pad(enlarged(digits[0], Image.Resampling.BICUBIC), ((200, 700), (300, 500)))
    steps = prepare_digit(page)
    assert steps.grey.shape == (page.shape[0] // 3, page.shape[1] // 3)
    assert max(steps.grey.shape) <= SHEET
    assert np.corrcoef(steps.centred.ravel(), digits[0].ravel())[0, 1] > 0.9


def test_a_stroke_that_is_cut_to_its_ends_is_not_a_line() -> None:
    page = np.full((300, 100), 255, np.uint8)
    page[:, 50:52] = 0
    assert (prepare_digit(page).found == DIGIT).sum() == 600


def test_a_digit_cut_to_its_ink_is_not_taken_for_the_rim(digits: Array) -> None:
    for digit in digits[:20]:
        ink = prepare_digit(enlarged(digit, Image.Resampling.BICUBIC)).cropped
        found = prepare_digit(255 - ink).found
        assert (found[ink > 128] == DIGIT).mean() > 0.95
