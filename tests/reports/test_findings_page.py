"""The page of an experiment in a real browser: charts with their bands, kernels, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from test_report_page import pixels, serious_issues

from lenscope.insight.findings import Findings
from lenscope.insight.section import Chart, Line, Section, Table
from lenscope.lab.tables.kernels import films_of
from lenscope.lab.tables.rows import collect
from lenscope.reports.findings import render_findings

if TYPE_CHECKING:
    from pathlib import Path

    from lenscope.insight.section import LayerFilm

EPOCHS = (0.0, 1.0, 2.0, 4.0)


def line(name: str, **more: object) -> Line:
    return Line(name, EPOCHS, (0.9, 0.5, float("nan"), 0.1), **more)


def few_places() -> tuple[Line, ...]:
    places = (100.0, 1000.0, 60000.0)
    one_seed = Line("he", places, (1.0, 0.9, 0.8), (float("-inf"), 0.8, 0.7), (float("inf"), 1.0, 0.9))
    return one_seed, Line("plain", places, (1.0, 0.9, 0.8), (0.9, 0.8, 0.7), (1.1, 1.0, 0.9))


def films(layer: str, side: int) -> tuple[LayerFilm, ...]:
    return films_of(
        collect(
            {"film": name, "layer": layer, "epoch": at, "kernel": kernel, "channel": 0}
            | {f"w{place}": (place + 1.0) * (at + 1) * (-1) ** kernel for place in range(side**2)}
            for name in ("adam-0", "sgd-0")
            for at in (0.0, 1.0, 2.0)
            for kernel in range(6)
        )
    )


@pytest.fixture(scope="module")
def page_of_findings(tmp_path_factory) -> Path:
    band = line("adam", low=(0.8, 0.4, float("nan"), 0.0), high=(1.0, 0.6, float("nan"), 0.2))
    lines = (band, line("sgd"), line("the lecture's", points=True))
    charts = (
        Chart("a", "Wrong", "epoch", "wrong", lines, "an interval", "percent"),
        Chart("b", "Loss", "epoch", "nats", (line("<script>alert(1)</script>"),), log_x=True, log_y=True),
        Chart("c", "Few", "labels", "wrong", few_places(), "whiskers", "percent", log_x=True, dodged=True),
    )  # fmt: skip
    table = Table("Ends", ("who", "right"), (("adam", "98 %"), ("</td><script>alert(2)</script>", "97 %")))
    words = Table("Names", ("who", "what it is"), (("adam", "an optimiser"),), words=True)
    sections = (
        Section("curves", "Curves", "What was seen.", charts, (table,)),
        Section("kernels", "Kernels", "What became of them.", films=films("conv1", 5)),
        Section("units", "Units", "What became of these.", tables=(words,), films=films("fc1", 12)),
    )
    findings = Findings("A race", "Who wins?", ("adam wins (n = 5).", "<img src=x onerror=alert(3)>"), sections)
    path = tmp_path_factory.mktemp("findings") / "report.html"
    path.write_text(render_findings(findings, {"experiment": "race", "seeds": "5", "variants": ("a", "b")}))
    return path.resolve()


@pytest.mark.parametrize("width", [1440, 390])
def test_charts_show_their_values_and_bands(visit, page_of_findings, width):
    with visit(page_of_findings, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        expect(page.locator(".conclusions li")).to_have_count(2)
        first = page.locator("#curves .chart").first
        assert first.locator("polygon.about").count() == 1
        assert first.locator(".legend li").all_inner_texts() == ["adam", "sgd", "the lecture's", "an interval"]
        first.locator(".plot").focus()
        page.keyboard.press("ArrowRight")
        expect(first.locator(".readout")).to_have_text(
            "epoch 0: adam 90 % (80 % to 100 %), sgd 90 %, the lecture's 90 %"
        )
        page.keyboard.press("End")
        expect(first.locator(".readout")).to_contain_text("adam 10 % (0 % to 20 %)")
        expect(page.locator("#made")).to_contain_text("lenscope lab race")


def test_values_at_few_places_are_drawn_side_by_side(visit, page_of_findings):
    with visit(page_of_findings) as page:
        chart = page.locator("#curves .chart").nth(2)
        assert chart.locator(".plot line.whisker").count() == 5  # one seed has no interval
        assert chart.locator(".plot polyline, .plot polygon").count() == 0
        dots = [float(dot.get_attribute("cx")) for dot in chart.locator(".plot circle").all()]
        assert all(after - before == pytest.approx(9) for before, after in zip(dots[:3], dots[3:], strict=True))
        assert chart.locator("text.tick.x").all_text_contents() == ["100", "1,000", "60,000"]
        chart.locator(".plot").focus()
        page.keyboard.press("End")
        expect(chart.locator(".readout")).to_have_text(
            "labels 60,000: he 80 % (70 % to 90 %), plain 80 % (70 % to 90 %)"
        )


def test_units_without_scores_have_no_row_of_scores(visit, page_of_findings):
    with visit(page_of_findings) as page:
        expect(page.locator("#kernels .row", has_text="first derivative score")).to_have_count(2)
        expect(page.locator("#units .row", has_text="first derivative score")).to_have_count(0)
        expect(page.locator("#units .row:has(canvas)")).to_have_count(2)


def test_the_slider_moves_the_kernels_of_all_runs(visit, page_of_findings):
    with visit(page_of_findings) as page:
        rows = page.locator("#layer-conv1 .row:has(canvas)")
        assert rows.locator(".name").all_inner_texts() == ["adam-0", "sgd-0"]
        ends = pixels(page, "#layer-conv1 canvas.tile")
        page.locator("#film-kernels-bar").focus()
        page.keyboard.press("Home")
        assert pixels(page, "#layer-conv1 canvas.tile") != ends


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_issue_in_findings(visit, page_of_findings, scheme):
    with visit(page_of_findings, bypass_csp=True, color_scheme=scheme) as page:
        assert serious_issues(page) == []
