"""Photos of digits, from the picture to the network's answer; `pytest -s` prints the table."""

import numpy as np
import pytest

import lenscope
from lenscope.config import resolve
from lenscope.data.dataset import Dataset
from lenscope.data.digits.digit import prepare_digit
from lenscope.engines import predict_log_probabilities
from lenscope.errors import DataError
from photos import KINDS

pytestmark = pytest.mark.slow
PER_CLASS = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "fast"
    return lenscope.train(config=resolve("fast"), out=path, progress=False)


def answers(run, images):
    weights, size = run.checked_weights(), run.architecture.image_size
    return predict_log_probabilities(run.architecture, weights, images.resized(size)).argmax(1)


@pytest.fixture(scope="module")
def digits():
    test = lenscope.load("mnist").test
    return test.take(np.concatenate([np.flatnonzero(test.labels == label)[:PER_CLASS] for label in range(10)]))


def share_right(run, pictures, labels):
    blank = np.zeros((28, 28), np.uint8)  # stands for a picture that is refused
    prepared = np.array([centred(picture, blank) for picture in pictures])
    images = Dataset(prepared[:, None], labels, tuple("0123456789"), "mnist")
    return np.mean((answers(run, images) == labels) & prepared.any((1, 2)))


def centred(picture, otherwise):
    try:
        return prepare_digit(picture).centred
    except DataError:
        return otherwise


@pytest.mark.parametrize("kind", KINDS)
def test_photos_are_read(kind, run, digits):
    rng = np.random.default_rng(11)
    right = share_right(run, [KINDS[kind](rng, digit) for digit in digits.images[:, 0]], digits.labels)
    print(f"{kind}: {100 * right:.0f} % of {len(digits)}")  # noqa: T201
    assert right >= (0.93 if kind in {"ruled", "squared"} else 0.97)


def test_mnist_itself_is_read_as_well_as_it_is(run):
    test = lenscope.load("mnist").test
    before = answers(run, test) == test.labels
    assert share_right(run, test.images[:, 0], test.labels) >= before.mean() - 0.0005
