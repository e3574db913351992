"""The report in a real browser, opened from the disk: each control does what it says, and nothing is asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.sync_api import expect

import lenscope
from lenscope.data.dataset import Dataset, Splits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

WIDTHS = (1440, *(pytest.param(width, marks=pytest.mark.slow) for width in (800, 390)))


@pytest.fixture(scope="module")
def page(visit, report) -> Iterator[Page]:
    """The report, opened once: a test leaves the film at its end and the switches off."""
    with visit(report) as opened:
        yield opened


def pixels(page: Page, selector: str) -> list[list[int]]:
    """What the canvases of a selector show."""
    script = "all => all.map(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
    return page.locator(selector).evaluate_all(script)


def tiles(page: Page, layer: str, row: int) -> list[list[int]]:
    """A row of a layer's table, counted from the heading."""
    return pixels(page, f"#layer-{layer} .row:nth-child({row + 1}) canvas")


@pytest.mark.parametrize("width", [1440, 800, 390])
def test_nothing_is_wider_than_the_screen(visit, report, width):
    with visit(report, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("main > section").count() == 6


@pytest.mark.parametrize("width", WIDTHS)
def test_the_bar_moves_all_kernels_from_their_start_to_their_end(visit, report, width):
    with visit(report, width) as page:
        ends = tiles(page, "conv1", 2)
        assert ends != tiles(page, "conv1", 1)
        bar = page.locator("#film-bar")
        bar.focus()
        page.keyboard.press("Home")
        assert "step 0, epoch 0: the start" in page.locator("#film-place").inner_text()
        for layer in ("conv1", "conv2"):
            assert tiles(page, layer, 2) == tiles(page, layer, 1)
            assert all(values[:3] == [247, 247, 247] for values in tiles(page, layer, 3))
        page.keyboard.press("ArrowRight")
        assert "step 1, epoch 0.333" in page.locator("#film-place").inner_text()
        assert tiles(page, "conv1", 2) != tiles(page, "conv1", 1)
        page.keyboard.press("End")
        assert tiles(page, "conv1", 2) == ends


def test_the_tiles_are_the_weights_in_the_printed_colours(page, tiny_run):
    import matplotlib as mpl

    weights = tiny_run.weights()["conv1.weight"][:, 0]
    start = tiny_run.weights("initial")["conv1.weight"][:, 0]
    scale = max(np.abs(weights).max(), np.abs(start).max(), np.abs(weights - start).max())
    for row, values in ((1, start), (2, weights), (3, weights - start)):
        shown = np.array(tiles(page, "conv1", row)).reshape(6, 5, 5, 4)[..., :3]
        printed = 255 * mpl.colormaps["RdBu_r"](values / scale / 2 + 0.5)[..., :3]
        assert np.abs(shown - printed).max() <= 4


def test_play_goes_to_the_end_and_pause_stops_it(page):
    button, place = page.locator("#film-play"), page.locator("#film-place")
    button.click()
    assert button.inner_text() == "Pause"
    assert "the end" not in place.inner_text()
    button.click()
    stopped = place.inner_text()
    page.wait_for_timeout(400)
    assert (button.inner_text(), place.inner_text()) == ("Play", stopped)
    button.click()
    expect(button).to_have_text("Play")
    assert "the end" in place.inner_text()


def test_another_kernel_of_conv2_has_its_own_tiles_and_numbers(page):
    before, words = tiles(page, "conv2", 2), page.locator("#layer-conv2 .whole").inner_text()
    page.locator("#layer-conv2 input[name='kernel-conv2'][value='7']").check()
    assert tiles(page, "conv2", 2) != before
    assert page.locator("#layer-conv2 .whole").count() == 1
    assert page.locator("#layer-conv2 .whole").inner_text() != words
    assert "Kernel 7 as a whole" in page.locator("#layer-conv2 .whole").inner_text()


def test_the_grey_view_is_the_lectures(page):
    page.locator("#kernels-grey").check()
    for row in (1, 2, 3):
        shown = np.array(tiles(page, "conv1", row)).reshape(-1, 4)
        assert (shown[:, 0] == shown[:, 1]).all()
        assert (shown[:, :3].min(), shown[:, :3].max()) == (0, 255)
    assert "initial − trained" in page.locator("#layer-conv1").inner_text()
    page.locator("#kernels-grey").uncheck()


@pytest.mark.parametrize("family", ["second", "gabor"])
def test_the_scores_are_those_of_the_chosen_operators(page, family):
    words, course = (
        page.locator("#layer-conv1 .verdict").inner_text(),
        page.locator("#layer-conv1 .plot .line.mean").get_attribute("points"),
    )
    page.locator(f"input[name='score-conv1'][value='{family}']").check()
    assert page.locator("#layer-conv1 .verdict").inner_text() != words
    assert page.locator("#layer-conv1 .plot .line.mean").get_attribute("points") != course
    page.locator("input[name='of-conv1'][value='difference']").check()
    assert "differences of the 6 kernels" in page.locator("#layer-conv1 .verdict").inner_text()


def test_a_curve_tells_its_values_to_pointer_and_keyboard(page, tiny_run):
    plot, readout = page.locator("#learning .plot").first, page.locator("#learning .readout").first
    plot.focus()
    page.keyboard.press("End")
    expected = float(f"{tiny_run.metrics.test_loss[-1]:.3g}")
    assert "Epoch 2: training" in readout.inner_text()
    assert f"test {expected:g}" in readout.inner_text()
    page.keyboard.press("Home")
    assert "Epoch 0: test" in readout.inner_text()
    box = plot.locator("svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 50)
    assert "Epoch 2" in readout.inner_text()


def test_the_logarithmic_switch_shows_errors(page):
    page.locator("#learning-log").check()
    assert "Error (1" in page.locator("#learning figcaption").nth(1).inner_text()
    assert page.locator("#learning .plot .line").count() > 0
    page.locator("#learning-log").uncheck()
    assert page.locator("#learning figcaption").nth(1).inner_text() == "Accuracy"


def test_ticks_of_a_short_runs_curves_differ_and_have_the_same_decimals(visit, tiny, tmp_path):
    run = lenscope.train(tiny, out=tmp_path / "run", epochs=3, batch_size=60, learning_rate=1e-4, progress=False)
    losses = run.metrics.test_loss
    assert 0 < losses.max() - losses.min() < 0.02  # three digits do not tell its ticks apart
    with visit(lenscope.report(run, data=tiny).resolve()) as page:
        charts = page.locator("#learning figure.chart").all()
        for ticks in [chart.locator("text.tick.y").all_text_contents() for chart in charts]:
            assert len(set(ticks)) == len(ticks) >= 3
            assert len({len(tick.rstrip("\u00a0%").partition(".")[2]) for tick in ticks}) == 1
    assert len(charts) == 2


def test_a_cell_of_the_matrix_shows_its_images_and_one_of_them_goes_through_the_network(page):
    cell = page.locator(".confusion button").first
    label = re.match(r"(\d+) of (\S+) predicted as (\S+):", cell.get_attribute("aria-label"))
    cell.click()
    assert page.locator("#mistakes h3").inner_text() == f"{label[2]} predicted as {label[3]}"
    assert page.locator("#mistakes .images li").count() == int(label[1])
    page.locator("#mistakes .images button").first.click()
    assert label[3] in page.locator("#look [aria-live]").first.inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themes_change_the_paper(visit, report, theme):
    with visit(report, color_scheme="dark" if theme == "light" else "light") as page:
        paper = "getComputedStyle(document.documentElement).backgroundColor"
        before = page.evaluate(paper)
        page.locator(f".themes input[value='{theme}']").check()
        assert page.evaluate(paper) == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 23, 25)"}[theme] != before


OTHERS = [pytest.param(*one, marks=pytest.mark.slow) for one in ((800, "dark"), (390, "light"))]


@pytest.mark.parametrize(("width", "theme"), [(1440, "dark"), *OTHERS])
def test_axe_finds_no_serious_issue(visit, report, theme, width):
    with visit(report, width, color_scheme=theme, bypass_csp=True) as page:
        assert serious_issues(page) == []


def serious_issues(page: Page) -> list[str]:
    """What axe finds that keeps some readers out."""
    from axe_playwright_python.sync_playwright import Axe

    found = [one for one in Axe().run(page).response["violations"] if one["impact"] in {"serious", "critical"}]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_that_failed_in_its_first_step_is_shown(visit, tiny, tmp_path, width):
    settings = {"optimizer": "sgd", "learning_rate": 1e30, "batch_size": 20, "progress": False}
    with pytest.raises(lenscope.NonFiniteError):
        lenscope.train(tiny, out=tmp_path / "run", **settings)
    with visit(lenscope.report(tmp_path / "run", data=tiny).resolve(), width) as page:
        assert "the only snapshot" in page.locator("#film-place").inner_text()
        assert page.locator(".look-says").count() == 1
        assert page.locator("#film-play").is_disabled()
        assert page.locator("#layer-conv2 .whole").count() == 1


def test_a_thousand_classes_are_listed(visit, tmp_path):
    draw = np.random.default_rng(1)
    names = tuple(f"class {number}" for number in range(400))
    images = draw.integers(0, 256, (800, 1, 32, 32), dtype=np.uint8)
    part = Dataset(images, (np.arange(800) % 400).astype(np.int64), names, "many")
    data = Splits(part, test=part)
    run = lenscope.train(data, out=tmp_path / "run", epochs=1, progress=False)
    with visit(lenscope.report(run, data=data).resolve()) as page:
        page.locator(".confusions button").first.click()
        assert page.locator("#mistakes .images li").count() > 0


def test_without_javascript_the_tables_are_there(visit, report):
    with visit(report, java_script_enabled=False) as page:
        assert page.locator("#learning table tbody tr").count() == 3
        assert "need it" in page.locator("noscript").inner_text()


@pytest.fixture(scope="module")
def comparison(tiny_run, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    other = lenscope.train(tiny, out=folder / "other", epochs=1, seed=3, batch_size=20, progress=False)
    third = lenscope.train(tiny, out=folder / "old", epochs=1, batch_size=20, network="lenet1998", progress=False)
    return lenscope.report(tiny_run, other, third, out=folder / "all.html").resolve()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison_lays_the_kernels_of_all_runs_under_one_another(visit, comparison, width):
    with visit(comparison, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        rows = page.locator("#layer-conv1 .row:has(canvas)")
        assert rows.locator(".name").all_inner_texts() == ["tiny", "other", "old"]
        ends = pixels(page, "#layer-conv1 canvas.tile")
        page.locator("#film-kernels-bar").focus()
        page.keyboard.press("Home")
        assert pixels(page, "#layer-conv1 canvas.tile") != ends
        before = pixels(page, "#layer-conv2 canvas.tile")
        page.locator("input[name='kernel-conv2'][value='9']").check()
        assert pixels(page, "#layer-conv2 canvas.tile") != before
        assert page.locator("#learning .plot .line").count() == 6
        assert page.locator("#differences tbody tr").count() > 5


@pytest.mark.slow
def test_axe_finds_no_serious_issue_in_a_comparison(visit, comparison):
    with visit(comparison, bypass_csp=True) as page:
        assert serious_issues(page) == []


SLOWLY = [pytest.param(*kind, marks=pytest.mark.slow) for kind in (("lenet", 47, 3), ("lenet1998", 10, 1))]


@pytest.mark.parametrize("width", [pytest.param(1440, marks=pytest.mark.slow), 390])
@pytest.mark.parametrize(("network", "classes", "channels"), [("lenet1998", 47, 3), *SLOWLY])
def test_every_kind_of_run_is_shown_whole(visit, tmp_path, network, classes, channels, width):
    draw = np.random.default_rng(2)
    images = draw.integers(0, 256, (94, channels, 30, 36), dtype=np.uint8)
    names = tuple(f"a rather long name of class {number}" for number in range(classes))
    part = Dataset(images, (np.arange(94) % classes).astype(np.uint8), names, "noise")
    data = Splits(part, test=part)
    run = lenscope.train(data, out=tmp_path / "run", network=network, epochs=1, batch_size=20, progress=False)
    with visit(lenscope.report(run, data=data).resolve(), width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#layer-conv2 .whole").count() == 1
        assert page.locator(".look-bars li").count() == classes
        for stage in page.locator("[data-layer] .look-frame canvas").all()[1:30:7]:
            stage.scroll_into_view_if_needed()
            stage.click()
            page.keyboard.press("Escape")  # else the panel lies over what comes next on a narrow screen
        assert "Prediction" in page.locator(".look-says").inner_text()


@pytest.fixture(scope="module")
def others(tiny, tmp_path_factory):
    """Runs of networks that the page cannot run."""
    folder = tmp_path_factory.mktemp("others")
    settings = {"epochs": 2, "batch_size": 20, "learning_rate": 1e-3, "progress": False}
    return {
        name: lenscope.train(tiny, out=folder / name, network=name, **settings)
        for name in ("mlp", "autoencoder", "mlp-autoencoder")
    }


@pytest.mark.parametrize(
    ("network", "charts"),
    [
        ("mlp", ["Loss (nats per image)", "Accuracy"]),
        ("autoencoder", ["Reconstruction error"]),
        ("mlp-autoencoder", ["Reconstruction error"]),
    ],
)
def test_a_network_that_the_page_cannot_run_has_the_sections_that_apply(visit, others, tiny, network, charts):
    with visit(lenscope.report(others[network], data=tiny).resolve()) as page:
        assert page.locator("#learning figcaption").all_inner_texts() == charts
        page.locator("#learning-log").check()
        assert page.locator("#look .look-pass").count() == 0
        wrong = page.locator("#mistakes .confusion .wrong")
        assert (wrong.count() > 0) == (network == "mlp")
        if network == "mlp":
            wrong.first.locator("button").click()
            assert page.locator("#mistakes .shown canvas").count() > 0
            assert page.locator("#mistakes .shown button").count() == 0


def test_runs_without_convolutions_are_compared_without_kernels(visit, others):
    path = lenscope.report(others["mlp"], others["mlp-autoencoder"], out=others["mlp"].path / "both.html")
    with visit(path.resolve()) as page:
        assert page.locator("#learning .plot .line").count() == 2
        assert page.locator("#kernels canvas").count() == 0
