"""The preparation of a drawing in the page, in node, against `prepare_digit` and `resize`."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import in_full
from lenscope.data.digits import digit
from lenscope.data.digits.digit import prepare_digit, to_grey
from lenscope.data.formats.idx import read_idx
from lenscope.data.published.catalogue import BUNDLED
from lenscope.data.resize import resize
from lenscope.errors import DataError
from photos import KINDS

Array = np.ndarray[Any, Any]

NODE = shutil.which("node")
SCRIPT = Path(__file__).parents[1] / "reports" / "js" / "prepare.mjs"
SOURCES = str(files("lenscope.reports") / "js")
STEPS = {
    "grey": "grey",
    "paper": "paper",
    "found": "found",
    "onBlack": "on_black",
    "cropped": "cropped",
    "boxed": "boxed",
    "centred": "centred",
}

pytestmark = pytest.mark.skipif(
    NODE is None and "CI" not in os.environ, reason="no node found, which runs the page's scripts; install nodejs"
)


def in_the_page(drawings: list[Array] | None = None, squares: list[tuple[Array, int]] | None = None) -> Any:
    question = {
        "drawings": [{"pixels": encoded(d), "width": d.shape[1], "height": d.shape[0]} for d in drawings or []],
        "squares": [{"pixels": encoded(s), "from": len(s), "to": size} for s, size in squares or []],
    }
    ran = subprocess.run(
        [str(NODE), str(SCRIPT), SOURCES], input=json.dumps(question), capture_output=True, text=True, check=True
    )
    return json.loads(ran.stdout)


def encoded(pixels: Array) -> str:
    return base64.b64encode(np.ascontiguousarray(pixels, np.uint8).tobytes()).decode()


def decoded(step: Any) -> Array:
    return np.frombuffer(base64.b64decode(step["pixels"]), np.uint8).reshape(step["height"], step["width"])


def stroke(rng: np.random.Generator, height: int, width: int) -> Array:
    """Some joined lines with soft edges: any place, size and width, any grey, on any ground, sometimes with noise."""
    rows, columns = np.mgrid[:height, :width]
    spread = rng.uniform(0.1, 1, 2)  # of the field: some are tall, some wide
    corner = rng.uniform(0, 1 - spread)
    points = (corner + spread * rng.random((rng.integers(2, 7), 2))) * (height, width)
    reach = rng.uniform(0.6, max(1, min(height, width) / 12))
    nearest = np.full((height, width), np.inf)
    for (top, left), (bottom, right) in pairwise(points):
        along = ((rows - top) * (bottom - top) + (columns - left) * (right - left)) / max(
            (bottom - top) ** 2 + (right - left) ** 2, 1e-9
        )
        along = np.clip(along, 0, 1)
        away = np.hypot(rows - top - along * (bottom - top), columns - left - along * (right - left))
        nearest = np.minimum(nearest, away)
    ink = np.clip((reach - nearest) / rng.uniform(0.3, 3) + 0.5, 0, 1)
    ground, level = rng.integers(0, 256, 2)
    if abs(int(ground) - int(level)) < 40:
        ground, level = (0, 255) if rng.random() < 0.5 else (255, 0)
    noise = rng.normal(0, rng.choice([0, 0, 3]), (height, width))
    return np.clip(np.rint(ground + ink * (level - float(ground)) + noise), 0, 255).astype(np.uint8)


def drawings(count: int, sides: list[tuple[int, int]], seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [stroke(rng, *sides[number % len(sides)]) for number in range(count)]


def rows_first(cropped: Array) -> Array:
    """As `digit._scaled`, with each pass in a call of its own: Pillow 13 takes the columns of tall digits first."""
    larger = max(cropped.shape)
    height, width = (max(1, (2 * side * digit.BOX + larger) // (2 * larger)) for side in cropped.shape)
    method = Image.Resampling.BOX if larger >= digit.BOX else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(cropped).resize((width, len(cropped)), method).resize((width, height), method))


def compared(made: list[Any], given: list[Array]) -> tuple[int, int]:
    """The largest difference in any step, in grey levels, and how many drawings were compared."""
    largest, many = 0, 0
    for page, picture in zip(made, given, strict=True):
        if "error" in page:
            with pytest.raises(DataError, match=page["error"]):
                prepare_digit(picture)
            continue
        steps = prepare_digit(picture)
        for name, ours in STEPS.items():
            expected = getattr(steps, ours)
            found = decoded(page[name])
            assert found.shape == expected.shape
            largest = max(largest, int(np.abs(found.astype(int) - expected).max()))
        many += 1
    return largest, many


SIDES = [(280, 280), (280, 280), (200, 350), (97, 41), (28, 28), (15, 19), (333, 120)]


@pytest.mark.slow
def test_drawings_are_prepared_bit_for_bit_where_rows_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digit, "_scaled", rows_first)
    given = drawings(210, SIDES, 1)
    largest, many = compared(in_the_page(given)["drawings"], given)
    assert largest == 0
    assert many > 190


def test_drawings_are_what_predict_prepares() -> None:
    given = drawings(40, [(280, 280)], 2)
    largest, many = compared(in_the_page(given)["drawings"], given)
    assert largest == 0
    assert many > 35


def photos(count: int) -> list[Array]:
    digits = read_idx(BUNDLED / "t10k-images-idx3-ubyte.gz")[:count]
    rng = np.random.default_rng(4)
    return [to_grey(kind(rng, digit)) for kind in KINDS.values() for digit in digits]


@pytest.mark.parametrize("each", [2, pytest.param(in_full(20, 100), marks=pytest.mark.slow)])
def test_photos_are_prepared_bit_for_bit(each: int) -> None:
    given = photos(each)
    for batch in (
        given[at : at + 100] for at in range(0, len(given), 100)
    ):  # the steps of 1,500 photos are longer than any string in node
        largest, many = compared(in_the_page(batch)["drawings"], batch)
        assert largest == 0
        assert many >= 0.95 * len(batch)


def test_pages_that_are_reduced_first_are_prepared_bit_for_bit() -> None:
    given = [drawing.repeat(4, 0).repeat(3, 1) for drawing in drawings(5, [(280, 280), (100, 333)], 5)]
    assert compared(in_the_page(given)["drawings"], given) == (0, 5)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((280, 280)), "no digit found: it is blank"),
        (np.full((280, 280), 255), "no digit found: it is blank"),
        (np.full((1, 1), 9), "no digit found: it is blank"),
        (np.pad(np.full((1, 1), 255), 140), "no digit found: only specks stand out"),
        (np.tile(np.pad(np.full((120, 12), 255), 40), 3), "3 digits or shapes of similar size found"),
    ],
)
def test_without_a_digit_the_page_says_what_python_says(picture: Array, message: str) -> None:
    picture = picture.astype(np.uint8)
    (made,) = in_the_page([picture])["drawings"]
    assert made == {"error": message}
    with pytest.raises(DataError, match=message):
        prepare_digit(picture)


def test_squares_are_resized_bit_for_bit() -> None:
    rng = np.random.default_rng(3)
    sizes = [(28, 32)] * 20 + [(20, 32), (33, 32), (280, 32), (1, 32), (32, 32), (64, 9)]
    squares = [(rng.integers(0, 256, (before, before)).astype(np.uint8), after) for before, after in sizes]
    for (square, after), made in zip(squares, in_the_page(squares=squares)["squares"], strict=True):
        found = np.frombuffer(base64.b64decode(made), np.uint8).reshape(after, after)
        assert np.array_equal(found, resize(square[None, None], after)[0, 0])
