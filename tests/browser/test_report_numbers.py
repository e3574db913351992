"""The network and the preparation that run in the page give PyTorch's numbers and `lenscope predict`'s picture."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

import lenscope
from lenscope.data.digit import prepare_digit

IMAGES, DRAWINGS = 500, 100
RUN = """text => {
  const { network, forward } = globalThis.lenscope;
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const size = 32 * 32 * network.shape[0];
  const answers = (i) => [...forward(network, bytes.subarray(i * size, (i + 1) * size)).logProbabilities];
  return Array.from({ length: bytes.length / size }, (_, i) => answers(i));
}"""
PREPARE = """texts => texts.map((text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const { centred } = globalThis.lenscope.prepareDigit(bytes, 280, 280);
  return [[...centred.pixels], [...globalThis.lenscope.resizeSquare(centred.pixels, 28, 32)]];
})"""


def packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


@pytest.mark.parametrize("network", ["lenet", pytest.param("lenet1998", marks=pytest.mark.slow)])
def test_the_pages_network_is_pytorchs(visit, mnist, tiny, tmp_path, network) -> None:
    settings = {"learning_rate": 2e-3, "epochs": 4, "batch_size": 10, "progress": False}
    run = lenscope.train(tiny, out=tmp_path / "run", network=network, **settings)
    images = mnist.test.take(np.arange(IMAGES)).resized(32).images
    with torch.no_grad():
        expected = run.network()(torch.from_numpy(images).float() / 255).numpy()
    with visit(lenscope.report(run, data=tiny).resolve()) as page:
        got = np.array(page.evaluate(RUN, packed(images)))
    assert np.abs(got - expected).max() <= 1e-4
    np.testing.assert_array_equal(got.argmax(1), expected.argmax(1))
    assert len(np.unique(expected.argmax(1))) > 1


def test_ticks_of_a_short_runs_curves_differ_and_have_the_same_decimals(visit, tiny, tmp_path) -> None:
    run = lenscope.train(tiny, out=tmp_path / "run", epochs=3, batch_size=60, learning_rate=1e-4, progress=False)
    losses = run.metrics.test_loss
    assert 0 < losses.max() - losses.min() < 0.02  # three digits do not tell its ticks apart
    with visit(lenscope.report(run, data=tiny).resolve()) as page:
        charts = page.locator("#learning figure.chart").all()
        for ticks in [chart.locator("text.tick.y").all_text_contents() for chart in charts]:
            assert len(set(ticks)) == len(ticks) >= 3
            assert len({len(tick.rstrip(" %").partition(".")[2]) for tick in ticks}) == 1
    assert len(charts) == 2


def drawing(number: int) -> np.ndarray:
    """A stroke of a pen somewhere on a field of 280×280, uint8."""
    draw = np.random.default_rng(number)
    field = Image.new("L", (280, 280), 0)
    places = draw.uniform(draw.uniform(10, 90), draw.uniform(150, 270), (draw.integers(2, 7), 2))
    points = [tuple(place) for place in places]
    ImageDraw.Draw(field).line(points, fill=255, width=int(draw.integers(6, 34)), joint="curve")
    return np.asarray(field.filter(ImageFilter.GaussianBlur(float(draw.uniform(0, 3)))))


@pytest.mark.slow
def test_the_pages_preparation_is_that_of_predict(visit, report) -> None:
    from lenscope.data.dataset import resize

    drawings = [drawing(number) for number in range(DRAWINGS)]
    with visit(report) as page:
        found = page.evaluate(PREPARE, [packed(field) for field in drawings])
    for field, (centred, resized) in zip(drawings, found, strict=True):
        steps = prepare_digit(field)
        assert greatest_difference(centred, steps.centred) == 0
        assert greatest_difference(resized, resize(steps.centred[None, None], 32)) == 0


def greatest_difference(got: list[int], expected: np.ndarray) -> int:
    """In grey levels."""
    return int(np.abs(np.array(got) - expected.ravel().astype(int)).max())
