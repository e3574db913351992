"""The kernels of a run on colour images, as a real browser shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import lenscope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def colour_report(colour_run, tiny_colour) -> Path:
    return lenscope.report(colour_run, out=colour_run.path.parent / "colour.html", data=tiny_colour).resolve()


@pytest.fixture(scope="module")
def page(visit, colour_report) -> Iterator[Page]:
    """The report, opened once: a test leaves the film at its end and the switches off."""
    with visit(colour_report) as opened:
        yield opened


def tiles(page: Page, row: int, kind: str = "") -> np.ndarray:
    """The pixels of a row of conv1's table, (tiles, 5, 5, 3)."""
    script = "all => all.map(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
    shown = page.locator(f"#layer-conv1 .row:nth-child({row + 1}) {kind} canvas").evaluate_all(script)
    return np.array(shown).reshape(-1, 5, 5, 4)[..., :3]


def rows_of(run: lenscope.Run) -> tuple[list[np.ndarray], float]:
    """Initial, trained and difference, (6, 3, 5, 5), and the layer's scale."""
    first, last = (run.weights(which)["conv1.weight"] for which in ("initial", "final"))
    rows = [first, last, last - first]
    return rows, max(np.abs(values).max() for values in rows)


def test_each_kernel_is_in_colour_with_its_parts_below(page, colour_run):
    import matplotlib as mpl

    rows, scale = rows_of(colour_run)
    for row, weights in enumerate(rows, start=1):
        whole = 127.5 + 127.5 * weights.transpose(0, 2, 3, 1) / scale
        assert np.abs(tiles(page, row, ".coloured >") - whole).max() <= 1
        parts = 255 * mpl.colormaps["RdBu_r"](weights / scale / 2 + 0.5)[..., :3]
        assert np.abs(tiles(page, row, ".parts").reshape(parts.shape) - parts).max() <= 4


def test_the_film_begins_without_a_difference(page):
    page.locator("#film-bar").focus()
    page.keyboard.press("Home")
    assert np.array_equal(tiles(page, 1), tiles(page, 2))
    assert (tiles(page, 3, ".coloured >") == 128).all()
    page.keyboard.press("End")


def test_as_the_lecture_draws_them_each_row_is_stretched(page, colour_run):
    rows, _ = rows_of(colour_run)
    page.locator("#kernels-grey").check()
    for row, weights in ((1, rows[0]), (2, rows[1]), (3, -rows[2])):
        stretched = 255 * (weights - weights.min()) / (weights.max() - weights.min())
        assert np.abs(tiles(page, row, ".coloured >") - stretched.transpose(0, 2, 3, 1)).max() <= 1
        assert np.abs(tiles(page, row, ".parts").reshape(6, 3, 5, 5, 3) - stretched[..., None]).max() <= 1
    page.locator("#kernels-grey").uncheck()


def test_numbers_are_of_the_kernel_and_scores_of_its_parts(page, colour_run, tiny_colour):
    layer = lenscope.examine(colour_run, data=tiny_colour).layers[0]
    words = page.locator("#layer-conv1 .row").all_inner_texts()
    change = next(text for text in words if text.startswith("change")).split()[1:]
    assert change == [f"{value:.2f}" for value in layer.drift.kernels.change]
    score = next(text for text in words if text.startswith("first derivative score")).split()[-18:]
    assert score == [f"{value:.2f}" for value in layer.matches["trained"]["first"].scores.ravel()]
    assert page.locator("#layer-conv1 .matches canvas").count() == 18
    assert page.locator("#layer-conv1 .whole").count() == 0


def test_one_kernel_can_be_taken_apart_and_all_shown_again(page, colour_run):
    import matplotlib as mpl

    rows, scale = rows_of(colour_run)
    before = tiles(page, 2)
    page.locator("#layer-conv1 input[value='4']").check()
    parts = 255 * mpl.colormaps["RdBu_r"](rows[1][4] / scale / 2 + 0.5)[..., :3]
    assert np.abs(tiles(page, 2) - parts).max() <= 4
    assert page.locator("#layer-conv1 .row").first.inner_text().split() == ["red", "green", "blue"]
    assert "Kernel 4 as a whole" in page.locator("#layer-conv1 .whole").inner_text()
    page.locator("#layer-conv1 input[name='kernel-conv1']").first.check()
    assert np.array_equal(tiles(page, 2), before)
    assert page.locator("#layer-conv1 .whole").count() == 0


@pytest.mark.parametrize("width", [1440, pytest.param(390, marks=pytest.mark.slow)])
def test_two_runs_in_colour_are_laid_beside_one_another(visit, colour_run, tmp_path, width):
    path = lenscope.report(colour_run, colour_run, out=tmp_path / "both.html").resolve()
    rows, scale = rows_of(colour_run)
    whole = 127.5 + 127.5 * rows[1].transpose(0, 2, 3, 1) / scale
    with visit(path, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for row in (1, 3):
            assert np.abs(tiles(page, row, ".coloured >") - whole).max() <= 1
        page.locator("#layer-conv1 input[value='2']").check()
        assert len(tiles(page, 1)) == 3
