"""Looking through the network: choosing, drawing, asking where a value comes from, ablating kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

import lenscope
from lenscope.data.dataset import Dataset, Splits
from lenscope.engines import predict_log_probabilities

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTHS = (1440, *(pytest.param(width, marks=pytest.mark.slow) for width in (800, 390)))


def says(page: Page) -> str:
    return page.locator(".look-says").inner_text()


def bars(page: Page) -> list[float]:
    """The shown probability of each class, in percent."""
    return [float(text.removesuffix("\u00a0%")) for text in page.locator(".look-bars .share").all_inner_texts()]


def stroke(page: Page) -> None:
    """A one, drawn with the mouse."""
    pad = page.locator(".look-pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.15 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.85 * box["height"], steps=12)
    page.mouse.up()
    page.wait_for_timeout(100)


@pytest.mark.parametrize("width", WIDTHS)
def test_an_image_that_is_chosen_goes_through_the_network(visit, report, tiny_run, tiny, width) -> None:
    weights = tiny_run.checked_weights()
    expected = np.exp(predict_log_probabilities(tiny_run.architecture, weights, tiny.test.resized(32)))
    with visit(report, width) as page:
        thumbnails = page.locator(".look-strip [role=radio]")
        for place in range(3):
            thumbnails.nth(place).click()
            assert thumbnails.nth(place).get_attribute("aria-checked") == "true"
            label = thumbnails.nth(place).get_attribute("aria-label").split(",")[0]
            of_label = np.flatnonzero(tiny.test.labels == int(label))
            assert any(np.allclose(bars(page), 100 * expected[index], atol=0.051) for index in of_label)
            assert says(page).endswith(f"label: {label}")
        thumbnails.nth(2).focus()
        page.keyboard.press("ArrowLeft")
        assert thumbnails.nth(1).get_attribute("aria-checked") == "true"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_drawing_is_what_predict_says_of_its_png(visit, report, tiny_run, tmp_path, width) -> None:
    with visit(report, width) as page:
        page.locator("input[name='look-way'][value='draw']").check()
        assert "Nothing drawn yet" in says(page)
        stroke(page)
        with page.expect_download() as download:
            page.get_by_role("button", name="Save as PNG").click()
        download.value.save_as(tmp_path / "drawn.png")
        with Image.open(tmp_path / "drawn.png") as picture:
            assert picture.size == (280, 280)
        [predicted] = lenscope.predict(tiny_run, [tmp_path / "drawn.png"])
        np.testing.assert_allclose(bars(page), 100 * predicted.probabilities, atol=0.2)
        assert says(page).startswith(f"Prediction: {predicted.answer} (")
        assert page.locator(".look-steps li").count() == 5
        page.get_by_role("button", name="Undo").click()
        page.wait_for_timeout(100)
        assert "Nothing drawn yet" in says(page)


def test_the_page_draws_for_any_set_of_digits_and_says_what_it_is_unsure_of(visit, mnist, tmp_path) -> None:
    images, labels = 255 - mnist.train.images[:300], mnist.train.labels[:300]
    splits = Splits(
        Dataset(images, labels, mnist.classes, "mnist_png"),
        test=Dataset(images[:40], labels[:40], mnist.classes, "mnist_png"),
    )
    run = lenscope.train(splits, out=tmp_path / "run", epochs=2, batch_size=50, lr=2e-3, progress=False)
    with visit(lenscope.report(run, data=splits).resolve()) as page:
        page.locator("input[name='look-way'][value='draw']").check()
        stroke(page)
        with page.expect_download() as download:
            page.get_by_role("button", name="Save as PNG").click()
        download.value.save_as(tmp_path / "drawn.png")
        [predicted] = lenscope.predict(run, [tmp_path / "drawn.png"])
        np.testing.assert_allclose(bars(page), 100 * predicted.probabilities, atol=0.2)
        assert says(page).startswith("Unsure: " if predicted.unsure else "Prediction: ")


def test_a_digit_can_be_drawn_with_the_keyboard(visit, report) -> None:
    with visit(report) as page:
        page.locator("input[name='look-way'][value='draw']").check()
        page.locator(".look-pad").focus()
        page.keyboard.press(" ")
        for _ in range(8):
            page.keyboard.press("ArrowDown")
        page.keyboard.press(" ")
        page.wait_for_timeout(100)
        assert "Nothing drawn yet" not in says(page)
        page.get_by_role("button", name="Clear").click()
        page.wait_for_timeout(100)
        assert "Nothing drawn yet" in says(page)


SAID = {
    "conv1": "products", "pool1": "maximum", "conv2": "products", "pool2": "maximum", "fc1": "largest products",
    "fc3": "log-probability",
}  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
def test_a_value_says_where_it_comes_from(visit, report, width) -> None:
    with visit(report, width) as page:
        panel, close = page.locator(".look-trace"), page.locator(".look-close")
        for layer, words in SAID.items():
            place = page.locator(
                f"[data-layer='{layer}'] .look-frame canvas, [data-layer='{layer}'] .look-bars li"
            ).first
            place.scroll_into_view_if_needed()
            place.click()
            expect(close).to_be_visible()
            assert words in panel.inner_text()
            page.keyboard.press("Escape")
            expect(close).to_be_hidden()


def test_an_ablated_kernel_changes_the_prediction_and_shows_its_effect(visit, report, tiny_run, tiny) -> None:
    weights = tiny_run.weights()
    weights["conv1.weight"][2] = weights["conv1.bias"][2] = 0
    cost = lenscope.examine(tiny_run, data=tiny).layers[0].ablations[2]
    with visit(report) as page:
        page.locator(".look-strip [role=radio]").first.click()
        intact = bars(page)
        page.locator("[data-layer='conv1'] input[aria-label='kernel 2 of conv1']").uncheck()
        label = int(page.locator(".look-strip [role=radio]").first.get_attribute("aria-label").split(",")[0])
        first = tiny.test.take(np.flatnonzero(tiny.test.labels == label)[:1]).resized(32)
        assert isinstance(first, Dataset)
        expected = 100 * np.exp(predict_log_probabilities(tiny_run.architecture, weights, first))[0]
        np.testing.assert_allclose(bars(page), expected, atol=0.051)
        assert (
            f"{cost.lost} answers become wrong, {cost.gained} become right"
            in page.locator("[data-layer='conv1'] .look-cost").inner_text()
        )
        assert "with all kernels" in page.locator(".look-before").inner_text()
        page.get_by_role("button", name="Restore all kernels").click()
        assert bars(page) == intact
