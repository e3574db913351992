"""Runs without accuracy, and runs without convolutions, through every verb: what they say is true."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

import lenscope
from fixtures_data import write_digits
from lenscope.cli import main
from lenscope.errors import UsageError
from lenscope.insight.comparison import results_of
from lenscope.insight.insight import examine_run
from lenscope.insight.reconstructions import SHOWN, reconstruct_run
from lenscope.insight.story import facts_of, tell
from lenscope.plots.curves import CurvesDisplay
from lenscope.plots.reconstructions import ReconstructionsDisplay
from lenscope.reports.html import render_comparison, render_report
from lenscope.watch.notebook import NotebookWatcher

NETWORKS = ("autoencoder", "mlp-autoencoder", "mlp")
KERNELS = {f"kernels-conv{number}{style}" for number in (1, 2) for style in ("", "-lecture")}
NOISY = "masking=0.25,gaussian=0.3"


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("others")
    made = {
        name: lenscope.train(
            tiny, out=folder / name, epochs=2, batch_size=20, network=name, learning_rate=1e-3, progress=False,
            autoencode=NOISY if name == "autoencoder" else "none",
        )
        for name in NETWORKS
    }  # fmt: skip
    return made | {"lenet": lenscope.train(tiny, out=folder / "lenet", epochs=1, batch_size=20, progress=False)}


@pytest.fixture
def digits(tiny, tmp_path):
    """The tiny set as a folder of IDX files."""
    return write_digits(tmp_path / "digits", tiny)


def said(capsys, *arguments) -> tuple[int, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out + err


@pytest.mark.parametrize("name", NETWORKS)
def test_the_metrics_have_a_cell_where_it_applies_and_none_elsewhere(runs, name) -> None:
    row = runs[name].metrics.rows()[-1]
    assert row.train_loss > 0
    assert row.test_loss > 0
    assert (row.test_accuracy is None) == (name != "mlp")
    results = results_of(runs[name])
    assert bool(results["reconstruction_error"]) == (name != "mlp") != bool(results["test_loss"])


@pytest.mark.parametrize("name", NETWORKS[:2])
def test_an_autoencoder_tells_its_error(runs, tiny, name) -> None:
    run = runs[name]
    found = reconstruct_run(run, tiny.test)
    assert found.error == pytest.approx(run.metrics.test_loss[-1], rel=1e-6)
    assert len(found.errors) == 20
    words = f"{found.error:.4f} on 20 mnist test images"
    assert "without labels, from 60 images of mnist in 2 epochs" in tell(run, found)
    assert f"reconstruction error {words}" in tell(run, found)
    assert "right" not in tell(run, found)
    assert dict(facts_of(run, found))["reconstruction error"] == f"{found.error:.4f} per pixel on 20 mnist test images"
    assert dict(facts_of(run, None))["reconstruction error"] == f"{found.error:.4f} per pixel on the test images"
    assert "accuracy" not in dict(facts_of(run, found))


def test_the_pictures_data_are_the_networks_own(runs, tiny) -> None:
    run = runs["autoencoder"]
    found = reconstruct_run(run, tiny.test)
    network = run.network()
    import torch

    with torch.no_grad():
        returned = network(torch.from_numpy(found.seen))
    np.testing.assert_allclose(found.returned, returned.clamp(0, 1).numpy(), atol=1e-6)
    np.testing.assert_allclose(
        found.own_errors, (returned.numpy() - found.given).reshape(len(found.given), -1).__pow__(2).mean(1), rtol=1e-4
    )
    assert len(found.given) == SHOWN
    assert found.corruption == NOISY
    assert not np.array_equal(found.seen, found.given)
    plain = reconstruct_run(runs["mlp-autoencoder"], tiny.test)
    assert plain.corruption == "none"
    assert plain.seen is plain.given or np.array_equal(plain.seen, plain.given)


def test_the_reconstructions_are_drawn_in_as_many_rows_as_there_are(runs, tiny) -> None:
    for name, rows in (("autoencoder", ["input", "with masking=0.25\ngaussian=0.3", "reconstruction"]),
                       ("mlp-autoencoder", ["input", "reconstruction"])):  # fmt: skip
        display = ReconstructionsDisplay(reconstruct_run(runs[name], tiny.test))
        figure = display.figure()
        [axes] = figure.axes
        texts = [text.get_text() for text in axes.texts]
        assert [text for text in texts if text in rows] == rows
        assert len(axes.images) == len(rows) * SHOWN
        assert ("without the noise" in figure._suptitle.get_text()) == (name == "autoencoder")


def test_the_curves_of_an_autoencoder_are_its_loss_alone(runs) -> None:
    figure = lenscope.curves(runs["autoencoder"]).figure()
    [axes] = figure.axes
    assert axes.get_title(loc="left") == "Reconstruction error"
    assert "nats" not in axes.get_ylabel()
    assert len(lenscope.curves(runs["mlp"]).figure().axes) == 2
    assert isinstance(lenscope.curves(runs["mlp"]), CurvesDisplay)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "autoencoder",
            {"curves", "reconstructions", *KERNELS},
        ),
        ("mlp-autoencoder", {"curves", "reconstructions"}),
        ("mlp", {"curves", "confusion", "mistakes"}),
    ],
)
def test_plot_draws_what_there_is(runs, tiny, name, expected) -> None:
    pictures = lenscope.plot(runs[name], data=tiny.test)
    assert {path.stem for path in pictures} == expected
    assert all(path.stat().st_size > 5_000 for path in pictures)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_report_says_what_a_section_lacks(runs, tiny, name) -> None:
    insight = examine_run(runs[name], tiny.test)
    page = render_report(insight)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["look"] is None
    assert (data["mistakes"] is None) == (name != "mlp")
    assert len(data["layers"]) == (2 if name == "autoencoder" else 0)
    assert ("This network has no convolutions" in page) == (name != "autoencoder")
    assert ("What the numbers mean" in page) == (name == "autoencoder")
    assert ("An autoencoder does not classify." in page) == (name != "mlp")
    assert ("The page runs LeNets only, and this is a fully connected network." in page) == (name == "mlp")
    assert ("Reconstruction error" in page) == (name != "mlp")
    assert ("Each class in numbers" in page) == (name == "mlp")
    assert ("layer 2" in page) == (name == "mlp-autoencoder")
    header = re.search(r"<th scope=\"col\">training loss</th><th scope=\"col\">(.*?)</th>", page)[1]
    assert header == ("accuracy" if name == "mlp" else "reconstruction error")
    assert "reconstruction error on the test images" in page.lower() or name == "mlp"


def test_a_comparison_keeps_errors_apart_from_losses(runs) -> None:
    insights = [examine_run(runs[name], None, 4) for name in ("autoencoder", "lenet")]
    page = render_comparison(insights)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    loss, _ = data["sections"]["learning"]["charts"]
    assert [line["name"] for line in loss["lines"]] == ["lenet"]
    assert "The reconstruction error of autoencoder, trained without labels, is below Differences." in page
    assert "None of these networks has convolutions" not in page
    assert "None of these networks has convolutions" in render_comparison(
        [examine_run(runs[name], None, 4) for name in ("mlp", "mlp-autoencoder")]
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_the_facts_are_plain_values(runs, tiny, name) -> None:
    from lenscope.insight.facts import insight_facts

    facts = json.loads(json.dumps(insight_facts(examine_run(runs[name], tiny.test))))
    assert (facts["evaluation"] is None) == (name != "mlp")
    assert (facts["reconstruction"] is None) == (name == "mlp")


def test_what_an_autoencoder_cannot_do_is_one_line(runs, tiny, tmp_path, capsys) -> None:
    path = runs["autoencoder"].path
    with pytest.raises(UsageError, match="autoencoder: an autoencoder does not classify; train a classifier with"):
        lenscope.evaluate(runs["autoencoder"], tiny.test)
    with pytest.raises(UsageError, match="lenet: lenet is not an autoencoder"):
        lenscope.reconstruct(runs["lenet"], tiny.test)
    Image.new("L", (28, 28)).save(tmp_path / "digit.png")
    for arguments in (("predict", path, tmp_path / "digit.png"), ("film", runs["mlp"].path)):
        code, text = said(capsys, *arguments)
        assert code == 2
        assert len(text.splitlines()) == 1
    assert "no convolutions, so there are no kernels to show" in text


def test_images_of_other_channels_are_refused(runs, tiny) -> None:
    from dataclasses import replace

    colour = replace(tiny.test, images=np.repeat(tiny.test.images, 3, 1))
    with pytest.raises(UsageError, match="got 3 channels, expected 1, as autoencoder was"):
        lenscope.reconstruct(runs["autoencoder"], colour)


def test_runs_lists_errors_beside_accuracies(runs, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    code, text = said(capsys, "runs", runs["mlp"].path.parent)
    assert code == 0
    header, *lines = text.splitlines()
    rows = {line.split()[0]: line for line in lines}
    error = runs["autoencoder"].metrics.test_loss[-1]
    end = header.index("error") + len("error")
    assert rows["autoencoder"][:end].endswith(f" {error:.4f}")
    assert "%" not in rows["autoencoder"]
    assert "%" in rows["mlp"][:end]
    assert rows["mlp"][:end].endswith("   ")
    assert [line.split(":")[0] for line in lines[len(runs) :]] == ["curves", "curves", f"equal in all {len(runs)} runs"]


def test_training_and_evaluating_by_hand_say_the_error(digits, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = said(
        capsys, "train", "--data", digits, "--network", "autoencoder", "--epochs", 1, "--batch-size", 20, "--out", "a",
        "--autoencode", "masking=0.5", "--lr", 1e-3,
    )  # fmt: skip
    assert code == 0
    assert "with the network running in the page" not in text
    error = lenscope.open_run("a").metrics.test_loss[-1]
    assert f"\na: reconstruction error {error:.4f} on 20 test images; 1 epoch in " in f"\n{text}"
    assert "reconstructions.png" in text
    code, text = said(capsys, "evaluate", "a")
    assert f"reconstruction error {error:.4f} (mean squared error per pixel) on 20 test images" in text
    code, text = said(capsys, "evaluate", "a", "--json")
    assert json.loads(text)["error"] == pytest.approx(error, rel=1e-6)
    code, text = said(capsys, "insight", "a")
    assert text.startswith("A convolutional autoencoder learned to reconstruct its input (masking=0.5), without labels")


def test_the_notebook_says_the_error(tiny, tmp_path, monkeypatch) -> None:
    from lenscope.watch import notebook

    shown: list[dict[str, object]] = []

    class Display:
        def update(self, content, **_options) -> None:
            shown.append(content)

    monkeypatch.setattr(notebook, "_show", lambda content, **_options: shown.append(content) or Display())
    lenscope.train(
        tiny, out=tmp_path / "run", epochs=1, batch_size=20, network="autoencoder", progress=NotebookWatcher()
    )
    assert re.match(r"epoch 1 of 1: test reconstruction error 0\.\d{4}, ", str(shown[-1]["text/plain"]))
