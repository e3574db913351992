"""How images are drawn is measured on them, and a picture is brought into that form, in Python and in the page."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tracemalloc
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from lenscope.data.digits.form import MNIST, Form, measure_form
from lenscope.runs.unsure import UnsureRule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.data.dataset import Splits

Images = Any
NODE = shutil.which("node")
SCRIPT = Path(__file__).parents[1] / "reports" / "js" / "form.mjs"
SOURCES = str(files("lenscope.reports") / "js")


@pytest.fixture(scope="module")
def images(mnist: Splits) -> NDArray[np.uint8]:
    return mnist.train.images[:1000]


def enlarged(digit: NDArray[np.uint8], box: int = 24) -> NDArray[np.uint8]:
    """A digit as EMNIST places it: its larger side 24 pixels, its bounding box in the middle."""
    rows, columns = np.flatnonzero(digit.any(1)), np.flatnonzero(digit.any(0))
    ink = Image.fromarray(digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    width, height = (max(1, round(side * box / max(ink.size))) for side in ink.size)
    field = Image.new("L", (28, 28))
    field.paste(ink.resize((width, height), Image.Resampling.BICUBIC), ((28 - width) // 2, (28 - height) // 2))
    return np.asarray(field)


def shifted(digits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each digit at another place of a larger field."""
    draw = np.random.default_rng(0)
    return np.stack([np.roll(np.pad(digit, 8), draw.integers(-8, 9, 2), (0, 1)) for digit in digits[:, 0]])[:, None]


def grown(digits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Digits of other sizes, each in the middle of its field."""
    return np.stack([enlarged(digit, 8 + number % 17) for number, digit in enumerate(digits[:200, 0])])[:, None]


MADE: dict[str, tuple[Any, Form]] = {
    "MNIST": (lambda digits: digits, MNIST),
    "few": (lambda digits: digits[:1], MNIST),
    "dark on light": (lambda digits: ~digits, Form("light", "mass", 28)),
    "on grey paper, with noise": (
        lambda digits: 240 - digits // 2 - (digits[::-1] % 7),
        Form("light", "mass", 28),
    ),
    "wider margins": (lambda digits: np.pad(digits, ((0, 0), (0, 0), (2, 2), (2, 2))), Form("dark", "mass", 32)),
    "EMNIST": (
        lambda digits: np.stack([enlarged(digit) for digit in digits[:300, 0]])[:, None],
        Form("dark", "box", 23),
    ),
    "anywhere": (shifted, Form("dark")),
    "of any size": (grown, Form("dark")),
    "tiny digits": (lambda digits: np.pad(digits, ((0, 0), (0, 0), (40, 40), (40, 40))), Form("dark")),
    "that fill the field": (lambda digits: digits[:, :, 4:24, 4:24], Form()),
    "blank": (np.zeros_like, Form("dark")),
    "without an even ground": (
        lambda digits: np.random.default_rng(0).integers(0, 256, digits.shape, np.uint8),
        Form(),
    ),
    "on middle grey": (lambda digits: digits // 2 + 100, Form()),
    "in colour": (lambda digits: np.repeat(digits, 3, 1), Form()),
    "of unequal sides": (lambda digits: digits[..., :-1], Form()),
}


@pytest.mark.parametrize("what", MADE)
def test_the_form_is_measured_on_the_images_alone(images: NDArray[np.uint8], what: str) -> None:
    make, expected = MADE[what]
    assert measure_form(make(images)) == expected


def test_a_digit_of_mnists_is_placed_as_it_is(images: NDArray[np.uint8]) -> None:
    assert np.array_equal(MNIST.place(images[0, 0]), images[0, 0])
    assert np.array_equal(Form("light", "mass").place(images[0, 0]), 255 - images[0, 0])
    assert np.array_equal(Form("dark", "mass", 32).place(images[0, 0]), np.pad(images[0, 0], 2))
    assert np.array_equal(Form("dark", "mass", 24).place(images[0, 0]), images[0, 0, 2:26, 2:26])


def test_a_box_comes_into_the_middle(images: NDArray[np.uint8]) -> None:
    placed = Form("dark", "box", 23).place(images[0, 0])
    for axis in (0, 1):
        inked = np.flatnonzero(placed.any(axis))
        assert abs((inked[0] + inked[-1]) / 2 - 11) <= 0.5
    assert placed.sum() == images[0, 0].sum(dtype=np.int64)
    assert not Form("dark", "box", 23).place(np.zeros((28, 28), np.uint8)).any()


def test_a_form_in_words() -> None:
    assert Form("light", "box", 23).described == "dark on light, centred by box, scaled to 20 of 23 pixels"
    assert Form("dark").described == "not centred on an even background"
    assert Form().for_digits() == MNIST


@pytest.mark.skipif(NODE is None and "CI" not in os.environ, reason="no node found; install nodejs")
def test_the_page_places_and_doubts_as_python_does(images: NDArray[np.uint8]) -> None:
    forms = [
        MNIST,
        Form("light", "mass", 24),
        Form("dark", "box", 23),
        Form("light", "box", 31),
        Form("dark", "mass", 33),
    ]
    digits = [np.zeros((28, 28), np.uint8), *images[:5, 0]]
    asked = [(digit, form) for digit in digits for form in forms]
    logs = np.log(np.random.default_rng(0).dirichlet(np.full(10, 0.1), 50) + 1e-9).astype(np.float32)
    rule = UnsureRule(float(np.median(logs.max(1) - logs.mean(1))), 0.01, "validation", 50)
    question = {
        "digits": [{"pixels": base64.b64encode(digit).decode(), "form": asdict(form)} for digit, form in asked],
        "answers": [{"logProbabilities": row.tolist(), "leastLead": rule.least_lead} for row in logs],
    }
    question["answers"].append({"logProbabilities": [0.0, 0.0], "leastLead": None})
    ran = subprocess.run(
        [str(NODE), str(SCRIPT), SOURCES], input=json.dumps(question), capture_output=True, text=True, check=True
    )
    made = json.loads(ran.stdout)
    for (digit, form), found in zip(asked, made["digits"], strict=True):
        assert np.array_equal(np.reshape(found["pixels"], (found["height"], found["width"])), form.place(digit))
    assert made["answers"] == [*(rule.is_unsure(row) for row in logs), False]
    assert 10 < sum(made["answers"]) < 40


def test_large_images_are_measured_in_little_memory(images: NDArray[np.uint8]) -> None:
    large = np.kron(images[:1, 0], np.ones((16, 16), np.uint8))
    many = np.broadcast_to(large, (5_000, 1, 448, 448))
    tracemalloc.start()
    form = measure_form(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (form.ground, peak < 2**26) == ("dark", True)
