"""The report as a file: what is in it, how large it is, and that it holds for every run that can be made."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from html import unescape
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import lenscope
from fixtures_runs import QUICK, begin_and_die
from lenscope.data.dataset import Dataset, Splits
from lenscope.errors import Interrupted, StorageError, UsageError
from lenscope.insight.insight import FRAMES
from lenscope.insight.kernels import Kernels
from lenscope.plots.film import FilmDisplay
from lenscope.reports import files
from lenscope.reports.data import IMAGE_BYTES, ChosenImages
from lenscope.reports.section_data import plain

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 2_500_000
PLAIN = {"progress": False, "batch_size": 20}


def page_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def data_of(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def floats(text: str, kind: str = "<f4") -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


@pytest.fixture(scope="module")
def page(tiny_run, tiny, tmp_path_factory) -> str:
    return page_of(lenscope.report(tiny_run, out=tmp_path_factory.mktemp("report") / "r.html", data=tiny))


def coloured(count: int, classes: int, channels: int = 3) -> Splits:
    draw = np.random.default_rng(1)
    labels = np.arange(count) % classes
    images = draw.integers(0, 256, (count, channels, 40, 36), dtype=np.uint8)
    names = tuple(f"class {label}" for label in range(classes))
    part = Dataset(images, labels.astype(np.uint8), names, "noise")
    return Splits(part, test=part)


def test_the_policy_names_the_pages_own_script_and_style_and_allows_nothing_else(page) -> None:
    policy = unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1])
    for kind, text in (
        ("script", re.search(r'<script type="module">(.*?)</script>', page, re.DOTALL)[1]),
        ("style", re.search("<style>(.*?)</style>", page, re.DOTALL)[1]),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_nothing_in_the_page_points_out_of_it(page) -> None:
    without_data = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", without_data))
    assert {address for address in addresses if not address.startswith("http://www.w3.org/")} <= set(
        re.findall(r"https?://[^\s\"'<)]+", " ".join(re.findall("<td>(.*?)</td>", page)))
    )
    assert not re.search(r"\b(src|href)=\"(?!#)", without_data)


def test_scripts_become_one_module(page) -> None:
    assert not re.search(r"^\s*(import|export)\b", files.script(), re.MULTILINE)
    names = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", files.script(), re.MULTILINE)
    assert sorted(names) == sorted(set(names))
    on_disk = {path.name.removesuffix(".js") for path in (files.HERE / "js").iterdir()}
    assert on_disk == set(files.SCRIPTS)
    assert {path.name.removesuffix(".css") for path in (files.HERE / "css").iterdir()} == set(files.STYLES)


def test_the_page_carries_the_weights_and_the_film(page, tiny_run) -> None:
    data = data_of(page)
    for which, kernels in tiny_run.film.kernels.items():
        layer = next(layer for layer in data["layers"] if layer["name"] == which)
        np.testing.assert_array_equal(floats(layer["initial"]), kernels[0].ravel())
        np.testing.assert_array_equal(floats(layer["trained"]), kernels[-1].ravel())
        np.testing.assert_allclose(
            floats(layer["frames"], "<f2") * layer["scale"], kernels.ravel(), rtol=2e-3, atol=1e-7
        )
    for name, weights in tiny_run.weights().items():
        tensor = data["look"]["network"]["tensors"][name]
        np.testing.assert_array_equal(floats(tensor["data"]).reshape(tensor["shape"]), weights)


def test_the_page_says_what_the_run_is(page, tiny_run) -> None:
    text = unescape(re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))
    accuracy = f"{100 * tiny_run.metrics.test_accuracy[-1]:.2f}\u00a0%"
    for expected in (
        accuracy,
        "Wilson",
        "61,706",
        "416,520",
        "seed",
        tiny_run.data.train_sha256,
        'recipe = "lecture"',
        "lenscope train --config config.toml",
    ):
        assert expected in text


@pytest.mark.parametrize(("network", "classes", "channels"), [("lenet", 47, 1), ("lenet", 2, 1), ("lenet1998", 10, 3)])
def test_every_network_and_data_set_has_a_report(tmp_path, network, classes, channels) -> None:
    data = coloured(120, classes, channels)
    run = lenscope.train(data, out=tmp_path / "run", network=network, epochs=1, **PLAIN)
    page = page_of(lenscope.report(run, data=data))
    assert f"<td>{100 * run.metrics.test_accuracy[-1]:.2f}\u00a0%</td>" in page
    found = data_of(page)
    assert len(found["classes"]) == classes
    assert sum(images for _, _, images in found["mistakes"]["confusion"]) == 120
    assert found["images"]["channels"] == channels
    assert found["look"]["form"] is None
    dead = [layer["dead"] for layer in found["layers"]]
    assert all(shares is None for shares in dead) if network == "lenet1998" else all(dead)
    assert (run.path / "report.html").stat().st_size < LIMIT


def test_a_run_that_was_killed_has_a_report_of_its_film(tiny, tmp_path) -> None:
    begin_and_die(tiny, QUICK, tmp_path / "run", 5)
    page = page_of(lenscope.report(tmp_path / "run", data=tiny))
    data = data_of(page)
    assert (data["look"], data["mistakes"], len(data["layers"])) == (None, None, 2)
    assert page.count("There are no trained weights of this run to show. It failed") == 2


def test_a_run_interrupted_in_its_first_epoch_has_a_report(tiny, tmp_path) -> None:
    import signal

    from fixtures_runs import Act
    from lenscope.training.events import Snapshot

    watcher = Act(1, lambda: signal.raise_signal(signal.SIGINT), Snapshot)
    with pytest.raises(Interrupted):
        lenscope.train(tiny, out=tmp_path / "run", epochs=3, **{**PLAIN, "progress": watcher})
    page = page_of(lenscope.report(tmp_path / "run", data=tiny))
    assert "that has not finished an epoch on mnist: accuracy" in page
    assert "It was interrupted after 0 of 3 epochs." in page
    assert data_of(page)["look"] is not None


def test_a_page_stays_small_whatever_is_wrong(tmp_path) -> None:
    data = coloured(600, 47)
    run = lenscope.train(data, out=tmp_path / "run", epochs=61, learning_rate=1e-9, batch_size=600, progress=False)
    path = lenscope.report(run, data=data)
    assert path.stat().st_size < LIMIT
    found = data_of(page_of(path))
    assert len(found["layers"][0]["steps"]) <= FRAMES < len(run.film)
    assert len(base64.b64decode(found["images"]["pixels"])) <= IMAGE_BYTES
    assert max(map(len, found["mistakes"]["cells"].values())) <= 12


def test_the_images_behind_a_cell_are_its_most_confident_mistakes(tiny_run, tiny) -> None:
    insight = lenscope.examine(tiny_run, data=tiny)
    chosen, evaluation = ChosenImages(insight.measured), insight.evaluation
    shown = chosen.as_json()
    for cell, places in chosen.cells.items():
        label, answer = map(int, cell.split(","))
        assert [shown["labels"][place] for place in places] == [label] * len(places)
        assert [shown["predicted"][place] for place in places] == [answer] * len(places)
        confidence = [shown["confidence"][place] for place in places]
        assert confidence == sorted(confidence, reverse=True)
        assert len(places) == min(12, evaluation.confusion[label, answer])
    sized = tiny.test.resized(32).images
    first = np.frombuffer(base64.b64decode(shown["pixels"]), np.uint8).reshape(-1, 1, 32, 32)[chosen.sample[0]]
    assert any(np.array_equal(first, image) for image in sized)


def test_a_report_that_cannot_be_written_leaves_nothing(tiny_run, tiny, tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/deeper: cannot be written: Not a directory"):
        lenscope.report(tiny_run, out=tmp_path / "file" / "deeper" / "r.html", data=tiny)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_comparison_of_more_runs_than_can_be_told_apart_is_refused(tiny_run) -> None:
    with pytest.raises(UsageError, match="got 9 runs, expected at most 8"):
        lenscope.report(*[tiny_run] * 9)


def test_eight_runs_of_one_name_are_told_apart_in_a_page_that_stays_small(tiny_run, tmp_path) -> None:
    path = lenscope.report(*[tiny_run] * 8, out=tmp_path / "new" / "many.html")
    shown = data_of(page_of(path))["sections"]["kernels"]["runs"]
    assert [run["name"] for run in shown] == [f"tiny ({place})" for place in range(1, 9)]
    assert path.stat().st_size < LIMIT


def test_a_thousand_classes_fit(tmp_path) -> None:
    data = coloured(2000, 1000, 1)
    run = lenscope.train(data, out=tmp_path / "run", epochs=1, engine="fused", progress=False)
    assert lenscope.report(run, data=data).stat().st_size < LIMIT


def test_of_very_many_epochs_some_are_shown(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("lenscope.reports.sections.POINTS", 12)
    page = page_of(lenscope.report(lenscope.train(tiny, out=tmp_path / "run", epochs=40, **PLAIN), data=tiny))
    for line in data_of(page)["sections"]["learning"]["charts"][0]["lines"]:
        assert len(line["xs"]) == len(line["ys"]) == 12
        assert (line["xs"][0], line["xs"][-1]) == (int(line["split"] == "train"), 40)
    assert "12 of 41 epochs; metrics.csv has all." in page


def test_a_name_that_is_no_text_is_shown_as_well_as_can_be(tiny_run, tiny, tmp_path) -> None:
    path = tmp_path / "run\udcff"
    shutil.copytree(tiny_run.path, path)
    assert "<h1>run?</h1>" in page_of(lenscope.report(path, data=tiny))
    assert "run? and tiny" in page_of(lenscope.report(path, tiny_run))


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_each_frame_of_a_film_shows_the_kernels_and_their_difference_on_one_scale(kind) -> None:
    import matplotlib as mpl
    from PIL import Image

    frames = np.random.default_rng(3).uniform(-0.3, 0.3, (4, 6, 5, 5)).astype(np.float32)
    kernels = Kernels("conv1", "each kernel", tuple("abcdef"), np.arange(4), np.arange(4.0), frames, 0.6)
    at = np.arange(5)
    with Image.open(io.BytesIO(FilmDisplay(kernels).encode(kind))) as film:
        assert film.n_frames == len(frames)
        assert film.info.get("loop") == 0
        for frame, weights in enumerate(frames):
            film.seek(frame)
            shown = np.asarray(film.convert("RGB"))
            for row, tiles in enumerate((weights, weights - frames[0])):
                for column, tile in enumerate(tiles):
                    middles = shown[np.ix_(84 + 130 * row + 12 + 24 * at, 130 + 130 * column + 12 + 24 * at)]
                    printed = 255 * mpl.colormaps["RdBu_r"](tile / 0.6 / 2 + 0.5)[..., :3]
                    assert np.abs(middles - printed).max() <= 4  # of 255, as 253 levels have it


def test_the_film_of_colour_images_is_in_colour_with_exact_parts(colour_run, tmp_path) -> None:
    import matplotlib as mpl
    from PIL import Image

    path = lenscope.film(colour_run, out=tmp_path / "film.gif")
    with Image.open(path) as film:
        film.seek(film.n_frames - 1)
        shown = np.asarray(film.convert("RGB")).astype(int)
    frames = colour_run.film.kernels["conv1"]
    scale = max(np.abs(frames[0]).max(), np.abs(frames[-1]).max(), np.abs(frames[-1] - frames[0]).max())
    at = np.arange(5)
    for row, weights in ((0, frames[-1][4]), (1, frames[-1][4] - frames[0][4])):
        top, left = 84 + row * (120 + 6 + 36 + 10), 130 + 4 * 130
        tile = shown[np.ix_(top + 12 + 24 * at, left + 12 + 24 * at)]
        expected = 127.5 + 127.5 * weights.transpose(1, 2, 0) / scale
        assert np.abs(tile - expected).max() <= 32  # the nearest of 180 colours
        assert np.abs(tile - expected).mean() <= 8
        inside = (36 * (2 * at + 1)) // 10
        for channel in range(3):
            part = shown[np.ix_(top + 126 + inside, left + 42 * channel + inside)]
            printed = 255 * mpl.colormaps["RdBu_r"](weights[channel] / scale / 2 + 0.5)[..., :3]
            assert np.abs(part - printed).max() <= 8  # as 73 levels have it


@pytest.mark.parametrize(("arguments", "message"), [
    ({"out": "film.mp4"}, r"--out film\.mp4: got \.mp4, expected \.gif or \.webp"), ({"out": "film"}, "got no ext"),
])  # fmt: skip
def test_a_film_that_cannot_be_is_refused(tiny_run, arguments, message) -> None:
    with pytest.raises(UsageError, match=message):
        lenscope.film(tiny_run, **arguments)


def test_numbers_that_are_none_are_null() -> None:
    assert plain(np.array([[1.23456789, np.nan], [np.inf, -2e-9]]), 4) == [[1.235, None], [None, -2e-9]]


def luminance(colour: str) -> float:
    """Relative, as WCAG 2.2 defines it, of #rrggbb."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_lines_and_words_stand_out_from_the_paper_of_both_themes() -> None:
    colours = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", files.style())
    [(_, *papers)] = [found for found in colours if found[0] == "paper"]
    inks = [found for found in colours if found[0] not in {"paper", "panel", "line", "on-accent"}]
    assert len(inks) > 15
    for name, *theme in inks:
        for colour, paper in zip(theme, papers, strict=True):
            dark, light = sorted((luminance(colour), luminance(paper)))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, name


def test_how_it_was_made_has_one_row_per_fact_in_plain_words(page, tiny_run) -> None:
    names = re.findall(r"<tr><th[^>]*>([^<]*)</th><td", page[page.index('id="made"') :])
    numerics = [f"numerics: {name}" for name in tiny_run.environment["numerics"]]
    assert {"processor", "instruction set", "numpy version", *numerics} <= set(names)
    assert not [name for name in names if "_" in name]
    assert "{&#39;" not in page
