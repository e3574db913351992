"""Every picture: no warning, the same bytes twice, no text cut off or upon another, and what it shows."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pkgutil import iter_modules

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from lenscope import plots
from lenscope.config import resolve
from lenscope.data.dataset import Dataset
from lenscope.data.digits.digit import prepare_digit
from lenscope.data.digits.form import MNIST
from lenscope.errors import StorageError
from lenscope.insight.answers import Prediction
from lenscope.insight.curves import curves_of
from lenscope.insight.kernels import Kernels
from lenscope.insight.mistakes import Evaluation
from lenscope.insight.section import Chart, LayerFilm, Line, Pictures
from lenscope.plots import letters
from lenscope.plots.chart import ChartDisplay
from lenscope.plots.curves import CurvesDisplay
from lenscope.plots.digit import PreparationDisplay
from lenscope.plots.display import DIVERGING, DPI, STYLE, put_image, to_colours
from lenscope.plots.film import FilmDisplay
from lenscope.plots.films import FilmsDisplay
from lenscope.plots.kernels import KernelsDisplay
from lenscope.plots.letters import short_each
from lenscope.plots.mistakes import ConfusionDisplay, MistakesDisplay
from lenscope.plots.reconstructions import PicturesDisplay
from lenscope.runs.files.metrics import Metrics
from lenscope.training.events import EpochMetrics

DIGITS = tuple("0123456789")
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
BALANCED = (*DIGITS, *LETTERS, *"abdefghnqrt")
LONG = ("Yorkshire terrier with a bow", "Bernese mountain dog", "x")
LONG_200 = tuple(f"a bird with a rather long name, number {number}" for number in range(200))
LANGUAGES = ("$\\frac{$", "日本語", "ひらがな", "हिन्दी", "ру́сский", "العربية", "a\nb", "\x1b[3J", "$x", "\u202e", "😀")
LONG_47 = tuple(f"a class with a rather long name {number}" for number in range(47))


def curves(epochs, *, validation=False, title="mnist-lenet-001", accuracy=None, **settings):
    rows = [EpochMetrics(0, test_loss=2.304, test_accuracy=0.0913, validation_loss=2.31 if validation else None)]
    for epoch in range(1, epochs + 1):
        loss, right = 0.9 / epoch**0.8 + 0.02, accuracy or 1 - 0.118 / epoch**0.7
        row = EpochMetrics(epoch, 1.0 / epoch**0.9, test_loss=loss, test_accuracy=right)
        rows.append(replace(row, validation_loss=loss + 0.05, validation_accuracy=right - 0.01) if validation else row)
    config = resolve(epochs=max(epochs, 1), validation=5000 if validation else 0, **settings)
    return CurvesDisplay(curves_of(Metrics.of(rows), config, title))


def two_frames(layer, title, labels, initial, trained, scale):
    return Kernels(layer, title, labels, np.array([0, 9]), np.array([0.0, 3.0]), np.stack([initial, trained]), scale)


def kernels(style, layer="conv1", tiles=6):
    random = np.random.default_rng(1)
    initial = random.uniform(-0.2, 0.2, (tiles, 5, 5)).astype(np.float32)
    trained = initial + random.normal(0, 0.08, initial.shape).astype(np.float32)
    scale = float(max(np.abs(values).max() for values in (initial, trained, trained - initial)))
    title = "each kernel" if layer == "conv1" and tiles == 6 else f"kernel 15 of {tiles}, its input channels"
    labels = tuple(f"kernel {number}" for number in range(tiles))
    return KernelsDisplay(two_frames(layer, title, labels, initial, trained, scale), style)


def coloured_kernels(style="lenscope", tiles=6, scale=None):
    random = np.random.default_rng(6)
    initial = random.uniform(-0.12, 0.12, (tiles, 3, 5, 5)).astype(np.float32)
    trained = initial + random.normal(0, 0.08, initial.shape).astype(np.float32)
    largest = float(max(np.abs(values).max() for values in (initial, trained, trained - initial)))
    labels = tuple(f"kernel {number}" for number in range(tiles))
    title = "each kernel, in colour and by channel"
    return KernelsDisplay(two_frames("conv1", title, labels, initial, trained, scale or largest), style)


def evaluation(classes, images=2000, wrong=0.2, name="mnist"):
    random = np.random.default_rng(2)
    labels = random.integers(0, len(classes), images)
    other = (labels + random.integers(1, len(classes), images)) % len(classes)
    predicted = np.where(random.random(images) < wrong, other, labels)
    return Evaluation(name, classes, labels, predicted, random.uniform(0.3, 1, images).astype(np.float32), 0.1)


def with_mistakes(count, classes=DIGITS, channels=1, name="mnist"):
    answers = evaluation(classes, 60, 0, name)
    predicted = answers.predicted.copy()
    predicted[:count] = (predicted[:count] + 1) % len(classes)
    images = np.random.default_rng(3).integers(0, 256, (60, channels, 28, 28), np.uint8)
    return MistakesDisplay(replace(answers, predicted=predicted), Dataset(images, answers.labels, classes, name))


def preparation(kind, classes=DIGITS, source="pictures/seven.png"):
    paper = np.full((680, 530), 255, np.uint8)
    paper[200:400, 100:260], paper[230:370, 130:230] = 20, 255
    pixels = {"upright": paper, "wide": paper[150:450].repeat(3, 1), "none": paper}[kind]
    steps = prepare_digit(pixels)
    probabilities = np.random.default_rng(4).dirichlet([0.3] * len(classes)).astype(np.float32)
    best = int(probabilities.argmax())
    given = type("Given", (Prediction,), {"steps": None if kind == "none" else steps})  # not those of a file
    return PreparationDisplay(
        given(
            source=source,
            answer=classes[best],
            probability=float(probabilities[best]),
            probabilities=probabilities,
            classes=classes,
            unsure=True,
            form=MNIST,
            prepared=steps.resized(32)[0],
        )
    )


def chart(lines, **settings):
    """A published point at each second epoch, and lines with bands."""
    xs = tuple(float(epoch) for epoch in range(1, 101))
    falling = [[(0.1 + 0.05 * place) / x for x in xs] for place in range(lines)]
    drawn = tuple(
        Line(f"optimiser {place}", xs, tuple(ys), tuple(0.8 * y for y in ys), tuple(1.2 * y for y in ys))
        for place, ys in enumerate(falling)
    )
    rings = (Line("the lecture's", xs[::20], tuple(0.2 / x for x in xs[::20]), points=True),) if lines else ()
    own = {"band": "95 % prediction interval: where one more run would lie", **settings}
    return ChartDisplay(Chart("errors", "Test error against epochs", "Epoch", "Test error", (*drawn, *rings), **own))


def few_places(lines, **own):
    """Values of several starts at three numbers of labels, side by side."""
    bounds = {"low": (0.8, 0.9, 0.7), "high": (1.1, 1.0, 1.2), **own}
    drawn = tuple(
        Line(f"start {place}", (100.0, 1000.0, 60000.0), (0.9, 0.95, 1.0), **bounds) for place in range(lines)
    )
    return ChartDisplay(
        Chart("labels", "Test error", "Labels", "Test error", drawn, "95 %", "percent", log_x=True, dodged=True)
    )


def films(networks, channels=1):
    """Kernels of conv1 of several networks, initial and trained."""
    frames = np.random.default_rng(7).normal(size=(networks, 2, 6, channels, 5, 5)).astype(np.float32)
    own = [LayerFilm(f"orthogonal-all-{place}", "conv1", np.arange(2.0), frames[place]) for place in range(networks)]
    return FilmsDisplay("conv1 before training and after", own)


def rows_of_images(rows, channels=1):
    """Eight images, reconstructed by several networks."""
    images = np.random.default_rng(8).integers(0, 256, (rows, 8, channels, 28, 28), dtype=np.uint8)
    return PicturesDisplay("Reconstructions", [Pictures(f"network {place}", images[place]) for place in range(rows)])


DISPLAYS = {
    "curves of 10 epochs with the lecture's": lambda: curves(10),
    "curves of a long name": lambda: curves(3, validation=True, title="runs/a-very-long-name-of-a-run-" * 6),
    "curves that do not change": lambda: curves(2, accuracy=1.0),
    "conv2": lambda: kernels("lenscope", "conv2"),
    "conv1 as the lecture": lambda: kernels("lecture"),
    "conv1 of colour": coloured_kernels,
    "conv1 of colour as the lecture": lambda: coloured_kernels("lecture"),
    "confusion of 2 long": lambda: ConfusionDisplay(evaluation(LONG[:2], name="a-folder-of-dogs-with-a-long-name")),
    "confusion of 10 named": lambda: ConfusionDisplay(evaluation(FASHION, 200_000, 0.9)),
    "confusion of 47 long": lambda: ConfusionDisplay(evaluation(LONG_47, 18_800)),
    "confusion of many languages": lambda: ConfusionDisplay(evaluation(LANGUAGES)),
    "no mistakes": lambda: with_mistakes(0),
    "24 mistakes long": lambda: with_mistakes(30, LONG, 3, "a-folder-of-dogs-with-a-long-name"),
    "chart of many lines, logarithmic": lambda: chart(6, log_x=True, log_y=True, format="percent"),
    "chart of nothing": lambda: chart(0),
    "chart of few places": lambda: few_places(7),
    "kernels of networks in colour": lambda: films(2, channels=3),
    "rows of images": lambda: rows_of_images(3),
    "preparation wide": lambda: preparation("wide", source="a/" + "long-name-" * 30 + ".png"),
    "preparation of long names": lambda: preparation("none", LONG_47),
}


@pytest.fixture(params=DISPLAYS)
def display(request):
    return DISPLAYS[request.param]()


def drawn_texts(figure):
    """The texts that are really drawn, each with its box in pixels, at the size that the file has."""
    texts, draw = [], Text.draw

    def keep(text, renderer, *args, **kwargs):
        if text.get_visible() and text.get_text().strip():
            texts.append(text)
        return draw(text, renderer, *args, **kwargs)

    figure.set_dpi(DPI)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", keep)
        figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    return [(text.get_text(), text.get_window_extent(renderer)) for text in dict.fromkeys(texts)]


def test_no_text_is_cut_off_or_upon_another(display):
    figure = display.figure()
    texts = drawn_texts(figure)
    width, height = figure.canvas.get_width_height()
    cut_off = [text for text, box in texts if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1]
    assert cut_off == []
    boxes = np.array([box.padded(-1).extents for _, box in texts])
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    pairs = np.argwhere(np.triu((high > low).all(2), 1))
    assert [(texts[a][0], texts[b][0]) for a, b in pairs] == []
    assert len(texts) >= 1


def test_values_of_few_places_stand_beside_one_another_with_their_whiskers():
    (axes,) = few_places(3).figure().axes
    axes.figure.canvas.draw()
    dots = [line.get_transform().transform(line.get_xydata()) for line in axes.lines if len(line.get_xdata())]
    assert [len(own) for own in dots] == [3, 3, 3]
    assert (np.diff([own[:, 0] for own in dots], axis=0) > 5).all()  # pixels
    whiskers = [collection.get_segments() for collection in axes.collections]
    assert [[segment[:, 1].tolist() for segment in own] for own in whiskers] == 3 * [
        [[0.8, 1.1], [0.9, 1.0], [0.7, 1.2]]
    ]
    low, high = axes.get_ylim()
    assert low < 0.7
    assert high > 1.2
    assert axes.get_xticks().tolist() == [100, 1000, 60000]


def test_kernels_stand_before_and_after():
    display = films(2)
    drawn = [tiles for tiles, _ in rows_of(display)]
    np.testing.assert_array_equal(drawn, [frame[:, 0] for film in display.films for frame in film.frames])


def test_a_film_shows_kernels_and_their_differences_from_the_initial_ones_on_one_scale():
    frames = np.array([[0.1, -0.4], [0.3, 0.2], [0.5, 0.0]], np.float32).reshape(3, 2, 1, 1)
    film = Kernels("conv1", "each kernel", ("0", "1"), np.arange(3), np.arange(3.0), frames, 0.5)
    with Image.open(io.BytesIO(FilmDisplay(film).encode("webp"))) as picture:
        picture.seek(2)
        drawn = np.asarray(picture.convert("RGB"))[[[144], [274]], [190, 320]]  # within the tiles
    levels = np.array([[0.5, 0.0], [0.4, 0.4]])
    assert np.abs(drawn / 255 - mpl.colormaps[DIVERGING](levels / 0.5 / 2 + 0.5)[..., :3]).max() < 0.02


def test_mistakes_are_ink_on_white_paper():
    picture = with_mistakes(1).figure().axes[0].images[0]
    assert picture.to_rgba(np.array([0, 255]))[:, 0].tolist() == [1, 0]


@pytest.mark.parametrize(
    "name",
    ["curves of a long name", "conv1 of colour", "confusion of 10 named", "24 mistakes long", "preparation wide"],
)
def test_the_same_bytes_twice_and_a_png(name):
    first = DISPLAYS[name]().png()
    assert first == DISPLAYS[name]()._repr_png_()
    with Image.open(io.BytesIO(first)) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width <= 2400
        assert picture.height <= 2400


def test_pictures_import_neither_pyplot_nor_torch():
    rooms = ", ".join(f"lenscope.plots.{name.name}" for name in iter_modules(plots.__path__))
    code = f"import sys, {rooms}; print(sorted({{'torch', 'matplotlib.pyplot', 'pandas'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_picture_is_saved_whole_or_not_at_all(tmp_path):
    display = curves(2)
    display.save(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == display.png()
    with pytest.raises(StorageError):
        display.save(tmp_path / "nowhere" / "curves.png")


def test_matplotlibs_settings_are_left_alone():
    before = dict(mpl.rcParams)
    curves(2).png()
    curves(2).figure()
    assert dict(mpl.rcParams) == before
    assert mpl.rcParams["font.size"] != STYLE["font.size"] or mpl.rcParams["axes.grid"] != STYLE["axes.grid"]


def test_curves_have_units_names_and_the_lectures_points_in_grey():
    figure = curves(10).figure()
    loss, accuracy = figure.axes
    assert loss.get_ylabel() == "Negative log-likelihood (nats per image)"
    assert accuracy.get_ylabel() == "Accuracy (%)"
    assert loss.get_xlabel() == accuracy.get_xlabel() == "Epoch"
    lines = {line.get_label(): line for line in loss.lines}
    assert list(lines) == ["training (mean over the epoch)", "test", "Lecture 29"]
    assert lines["Lecture 29"].get_color() == "#8a8a8a"
    assert lines["Lecture 29"].get_linestyle() == "None"
    assert len({line.get_marker() for line in list(lines.values())[:2]}) == 2
    np.testing.assert_array_equal(lines["test"].get_xdata(), np.arange(11))
    np.testing.assert_array_equal(accuracy.lines[0].get_xdata(), np.arange(1, 11))
    assert loss.get_ylim()[0] == 0
    figure.canvas.draw()
    assert all(float(tick.get_text()) >= 80 for tick in accuracy.get_yticklabels())


def test_no_tick_of_an_accuracy_is_above_100_percent():
    axes = curves(2, accuracy=1.0).figure().axes[1]
    assert axes.get_ylim()[1] == 1
    assert max(axes.get_yticks()[axes.get_yticks() <= axes.get_ylim()[1]]) <= 1


def test_the_untrained_accuracy_is_shown_while_it_is_the_only_one():
    assert curves(0).figure().axes[1].lines[0].get_xdata().tolist() == [0]


def test_many_epochs_have_no_markers_and_few_have():
    assert curves(500).figure().axes[0].lines[0].get_marker() == ""
    assert curves(5).figure().axes[0].lines[0].get_marker() == "o"


def test_no_curves_are_two_empty_pictures():
    empty = CurvesDisplay(curves_of(Metrics.of([]), resolve(data="other"), "nothing yet"))
    assert empty.figure().axes[0].get_legend() is None
    assert empty.png().startswith(b"\x89PNG")


def rows_of(display, width=5):
    """The rows of square tiles, each with its scale: least, greatest and name."""
    rows = []
    for mesh in display.figure().axes[0].collections:
        if isinstance(mesh, QuadMesh) and len(pixels := mesh.get_array()) == width:
            whole = np.ma.concatenate([pixels, pixels[:, :1]], axis=1)
            tiles = whole.reshape(width, -1, width + 1, *pixels.shape[2:])[:, :, :-1].swapaxes(0, 1)
            rows.append((tiles, (mesh.norm.vmin, mesh.norm.vmax, mesh.cmap.name)))
    return rows


def test_our_kernels_are_trained_minus_initial_on_one_zero_centred_scale():
    display = kernels("lenscope")
    tiles, scales = zip(*rows_of(display), strict=True)
    own = display.kernels
    np.testing.assert_array_equal(tiles, [own.initial, own.trained, own.trained - own.initial, own.templates])
    assert scales == 3 * ((-own.scale, own.scale, "RdBu_r"),) + ((-1, 1, "RdBu_r"),)


def test_under_each_kernel_stand_the_score_and_what_chance_gives():
    display = kernels("lenscope")
    trained = np.stack([np.outer([1, 4, 6, 4, 1], [-1, -2, 0, 2, 1]), np.ones((5, 5))]).astype(np.float32)
    own = replace(display.kernels, labels=("a", "b"), frames=np.stack([trained, trained]))
    words = [text.get_text() for text in KernelsDisplay(own).figure().axes[0].texts]
    assert "1.00\n< 0.001" in words
    assert "–" in words
    assert np.abs(own.templates[0]).max() == 1
    assert (own.templates[1] == 0).all()


@pytest.mark.parametrize("style", ["lenscope", "lecture"])
def test_kernels_of_three_colours_are_drawn_in_colour_and_by_channel(style):
    display = coloured_kernels(style)
    own, rows = display.kernels, rows_of(display)
    sign = 1 if style == "lenscope" else -1
    for row, weights in enumerate((own.initial, own.trained, sign * own.difference)):
        low, high = (-own.scale, own.scale) if style == "lenscope" else (weights.min(), weights.max())
        (colours, _), *parts = rows[4 * row : 4 * (row + 1)]
        assert np.abs(colours - 255 * (np.moveaxis(weights, 1, -1) - low) / (high - low)).max() <= 0.5001
        np.testing.assert_array_equal([part for part, _ in parts], weights.swapaxes(0, 1))
        assert {scale[:2] for _, scale in parts} == {(low, high)}
    if style == "lenscope":
        np.testing.assert_array_equal([part for part, _ in rows[12:]], own.templates.swapaxes(0, 1))


def test_in_colour_no_weight_is_grey_and_each_channel_has_its_own_colour():
    weights = np.zeros((3, 2, 2), np.float32)
    weights[0, 0, 1], weights[1, 1, 0], weights[2, 1, 1] = 2, -2, 9
    assert to_colours(weights, -2, 2).tolist() == [
        [[128, 128, 128], [255, 128, 128]],
        [[128, 0, 128], [128, 128, 255]],
    ]
    assert (to_colours(weights * 0, 0, 0) == 0).all()  # a layer that is 0 everywhere


def test_little_p_values_lose_their_nought_where_there_is_little_room():
    words = [text.get_text() for text in coloured_kernels().figure().axes[0].texts]
    scores = [word for word in words if re.fullmatch(r"0\.\d\d\n(\.\d{3}|<\.001)", word)]
    assert len(scores) == 18


def test_the_lectures_kernels_are_initial_minus_trained_each_row_stretched():
    display = kernels("lecture")
    tiles, scales = zip(*rows_of(display), strict=True)
    own = display.kernels
    rows = (own.initial, own.trained, own.initial - own.trained)
    np.testing.assert_array_equal(tiles, rows)
    assert scales == tuple((row.min(), row.max(), "gray") for row in rows)


def test_a_confusion_matrix_shows_each_count_where_it_belongs():
    answers = evaluation(DIGITS, 5000)
    (axes,) = ConfusionDisplay(answers).figure().axes
    shown = np.zeros((10, 10), int)
    for text in axes.texts:
        column, row = text.get_position()
        shown[row, column] = int(text.get_text())
    np.testing.assert_array_equal(shown, answers.confusion)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Prediction", "Label")
    shades = axes.collections[1].get_array()
    assert np.isnan(np.diag(np.ma.filled(shades, np.nan))).all()
    title = axes.get_figure().get_suptitle()
    assert title == f"mnist images: {5000 - answers.right:,} of 5,000 wrong"


def test_dark_numbers_are_legible_on_every_shade():
    """Contrast of at least 4.5 to 1, as WCAG 2.2 asks of text (success criterion 1.4.3)."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    for name in ("confusion of 2 long", "confusion of 10 named"):
        (axes,) = DISPLAYS[name]().figure().axes
        grey, shades = axes.collections
        ink = luminance(mpl.colors.to_rgb(axes.texts[0].get_color()))
        darkest = min(luminance(shades.to_rgba(np.nanmax(shades.get_array()))), luminance(grey.to_rgba(1.0)))
        assert (darkest + 0.05) / (ink + 0.05) >= 4.5, name


@pytest.mark.parametrize("classes", [BALANCED, LONG_200])
def test_of_many_classes_what_is_right_is_seen_and_the_names_are_whole(classes):
    display = ConfusionDisplay(evaluation(classes, 20_000))
    axes = display.figure().axes[0]
    assert len(axes.texts) == 0
    assert [scale.get_ylabel() for scale in axes.child_axes] == ["Wrong predictions (images)", "Recall (%)"]
    right, wrong = (np.ma.filled(np.ma.asarray(image.get_array()).astype(float), np.nan) for image in axes.images)
    matrix = display.evaluation.confusion
    np.testing.assert_allclose(np.diag(right), 100 * np.diag(matrix) / matrix.sum(axis=1))
    assert np.isnan(np.diag(wrong)).all()
    shades = np.array([axes.images[0].to_rgba(np.diag(right)[0])[:3], axes.images[1].cmap(0.0)[:3], (1, 1, 1)])
    assert np.abs(shades[0] - shades[1:]).max(axis=1).min() > 0.5  # neither white nor a mistake's
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(set(names)) == len(names) >= 60 or len(names) == 47


def test_names_that_begin_alike_stay_distinct():
    names = [f"a class whose name begins like {last}" for last in ("the first", "the second")]
    same = ["one and the same beginning, " + middle + ", one and the same end" for middle in "abc"]
    shown = short_each([*names, *same, "x", "a" * 30], 22)
    assert len(set(shown)) == 7
    assert max(map(len, shown)) <= 22
    assert shown[0] == "a class who… the first"
    assert shown[2:5] == [f"one and t… same end #{number}" for number in (2, 3, 4)]


def test_what_no_font_can_draw_is_an_escape_and_no_box(monkeypatch, caplog):
    """Here a system without a Japanese font; with one the letters are drawn."""
    monkeypatch.setattr(letters, "families", lambda: [letters.DEJAVU])
    monkeypatch.setattr(letters, "_letters", cache(letters._letters.__wrapped__))
    monkeypatch.setattr(letters, "_has_letter", letters._has_letter.__wrapped__)
    monkeypatch.setattr("lenscope.plots.display.families", letters.families)
    display = ConfusionDisplay(evaluation(("日本", "é", "\udcff")))
    names = [label.get_text() for label in display.figure().axes[0].get_yticklabels()]
    assert names == ["\\u65e5\\u672c", "é", "\\xff"]
    assert display.png().startswith(b"\x89PNG")
    assert not caplog.records


def test_mistakes_tell_label_answer_probability_and_number():
    display = with_mistakes(30)
    (axes,) = display.figure().axes
    assert len(axes.images) == len(axes.texts) / 2 == 24
    places = zip(axes.images, axes.texts[::2], axes.texts[1::2], display.evaluation.worst(24), strict=True)
    for image, above, below, index in places:
        label, answer = display.evaluation.labels[index], display.evaluation.predicted[index]
        assert above.get_text() == f"{label} → {answer}"
        assert below.get_text() == f"p = {display.evaluation.confidence[index]:.3f}, no. {index}"
        np.testing.assert_array_equal(np.squeeze(image.get_array()), display.dataset.images[index, 0])
        left, right, bottom, top = image.get_extent()
        assert left < above.get_position()[0] == below.get_position()[0] < right
        assert below.get_position()[1] < bottom < top < above.get_position()[1]


def test_images_keep_their_shape_about_their_centre():
    axes = Figure().subplots()
    assert put_image(axes, np.zeros((2, 4)), 10, 20, 1).get_extent() == [9.5, 10.5, 19.75, 20.25]
    assert put_image(axes, np.zeros((4, 2, 3)), 0, 0, 2).get_extent() == [-0.5, 0.5, -1, 1]
    assert axes.get_aspect() == 1


def test_images_stand_upright():
    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1))
    put_image(axes, np.array([[0, 1], [2, 3]]), 0, 0, 2, cmap="gray", vmin=0, vmax=3)
    axes.set(xlim=(-1, 1), ylim=(-1, 1), aspect="auto")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    grey = np.asarray(canvas.buffer_rgba())[..., 0]
    height, width = (side // 4 for side in grey.shape)
    assert grey[height :: 2 * height, width :: 2 * width].tolist() == [[0, 85], [170, 255]]


def test_a_preparation_shows_each_step_and_the_probabilities():
    display = preparation("upright")
    *steps, bars = display.figure().axes
    sizes = [axes.get_xlabel() for axes in steps]
    assert sizes[0] == sizes[1] == sizes[2] == "265×340 pixels"  # reduced to at most 512 a side
    assert sizes[4:] == ["20×20 pixels", "28×28 pixels", "32×32 pixels"]
    assert steps[-1].get_title() == "input of the network"
    lengths = [bar.get_width() for bar in bars.patches]
    assert lengths == sorted(lengths)
    assert sum(lengths) == pytest.approx(100, abs=1e-3)
    assert bars.get_yticklabels()[-1].get_text() == display.prediction.answer
    assert display.figure().get_suptitle().startswith("seven.png: ")


def test_at_most_ten_probabilities_are_shown():
    assert len(preparation("none", LONG_47).figure().axes[-1].patches) == 10
