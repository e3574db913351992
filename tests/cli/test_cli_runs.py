"""The verbs that take a run, as they are typed: evaluate, predict, plot, report, insight, film, runs, verify …"""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lenscope
from lenscope.cli.look import sparkline
from lenscope.cli.train import Train
from lenscope.runs.unsure import UnsureRule
from lenscope.runs.verify import Finding


@pytest.fixture
def pictures(here, tiny):
    """Pictures of digits: 0.png to 3.png, of which 2.png is broken."""
    for number in (0, 1, 3):
        Image.fromarray(tiny.test.images[number, 0]).save(f"{number}.png")
    (here / "2.png").write_text("not a picture")
    return [f"{number}.png" for number in range(4)]


@pytest.fixture
def copy(digits_run, here):
    """A copy of the run to damage."""
    return Path(shutil.copytree(digits_run.path, here / "copy"))


@pytest.mark.parametrize(
    ("part", "damage", "says"),
    [
        ("weights/final.safetensors", None, "lacks weights/final.safetensors"),
        ("weights/final.safetensors", b"cut", "final.safetensors: differs from the manifest"),
        ("config.toml", None, "lacks config.toml"),
        ("environment.json", b"{}", "environment.json: differs from the manifest"),
        ("manifest.json", b"[]", "manifest.json: not a manifest"),
    ],
)
def test_a_broken_run_says_which_part(part, damage, says, copy, cli):
    (copy / part).unlink() if damage is None else (copy / part).write_bytes(damage)
    code, _, err = cli("evaluate", copy)
    assert code == 1
    assert says in err
    assert len(err.splitlines()) == 1
    listed = cli("runs", copy.parent)
    assert listed.code == 0
    assert listed.out.startswith("broken: ")


def test_a_broken_film_is_one_line_and_nothing_is_written(copy, cli):
    (copy / "film.bin").write_bytes(b"short")
    for verb in ("report", "insight", "film"):
        code, out, err = cli(verb, copy)
        assert (code, out) == (1, "")
        assert err.startswith(f"lenscope {verb}: {copy}/film.bin: differs from the manifest; ")
        assert err.count("\n") == 1
    assert not (copy / "report.html").exists()
    assert cli("verify", copy, "--json").code == 1
    code, out, err = cli("verify", copy, "--replay")
    assert code == 1
    assert re.search(r"^film\.bin +BROKEN  differs from the manifest", out, re.MULTILINE)
    assert (
        err == f"lenscope verify: {copy}: broken: film.bin; not replayed; restore it from a copy, or train it again\n"
    )


def test_a_replay_that_cannot_be_compared_is_neither_sound_nor_broken(digits_run, cli, monkeypatch):
    says = "differs at step 1; cannot be compared bit for bit, since isa is avx2, was avx512"
    monkeypatch.setattr(
        "lenscope.runs.replay.replay_run", lambda *_, **__: [Finding("losses.f32", sound=None, says=says)]
    )
    code, out, err = cli("verify", digits_run.path, "--replay")
    assert (code, err) == (0, "")
    assert re.search(rf"^losses\.f32 +unknown  {says}$", out, re.MULTILINE)
    assert out.endswith(": its files are sound; the replay cannot be compared bit for bit on this machine\n")
    assert json.loads(cli("verify", digits_run.path, "--replay", "--json").out)["sound"] is None


def test_runs_compare_verify_and_evaluate_print_json(digits_run, cli):
    [row] = json.loads(cli("runs", digits_run.path.parent, "--json").out)
    assert row["state"] == "finished"
    assert len(row["accuracies"]) == 3
    table = json.loads(cli("compare", digits_run.path, digits_run.path, "--json").out)
    assert table["results"]["state"] == ["finished", "finished"]
    assert table["results"]["test_accuracy"] == [row["accuracy"]] * 2
    assert table["difference"] == {"test_accuracy": 0.0, "test_images": 20}
    assert json.loads(cli("verify", digits_run.path, "--json").out)["sound"] is True
    result = json.loads(cli("evaluate", digits_run.path, "--json").out)
    assert result["images"] == 20
    assert result["accuracy_interval"][0] <= result["accuracy"] <= result["accuracy_interval"][1]
    assert sum(row["images"] for row in result["classes"]) == 20


def test_an_empty_directory_of_runs(tmp_path, cli):
    assert cli("runs", tmp_path).out == f"{tmp_path}: no runs yet; create one with: lenscope train\n"


def test_a_sparkline_is_short_and_ends_with_the_last_value():
    assert sparkline([], 0, 1) == ""
    assert sparkline([0.5], 0.5, 0.5) == "▁"
    assert len(sparkline([number / 500 for number in range(500)], 0, 1)) == 20
    assert sparkline([0.0] * 99 + [1.0], 0, 1)[-1] == "█"


def test_predict_prints_the_answer_and_how_it_prepares_a_picture(digits_run, pictures, cli):
    measured = "light on dark, centred by mass, scaled to 20 of 28 pixels\n"
    code, out, err = cli("predict", digits_run.path, "0.png", "--show", "steps")
    assert code == 0
    answer, steps = out.splitlines()
    assert answer.startswith("0.png: ")
    assert err.startswith("pictures are prepared as digits")
    assert err.endswith(measured)
    assert steps == f"steps: {Path('steps/0-steps.png')}"
    with Image.open("steps/0-steps.png") as drawn:
        assert drawn.size[0] > 800
    code, out, err = cli("predict", digits_run.path, "0.png", "--json", "--prepare", "resize")
    assert err.startswith("pictures are only resized")
    assert err.count("\n") == 1
    [answer] = json.loads(out)
    assert answer["probabilities"][answer["answer"]] == max(answer["probabilities"].values())


def test_predict_answers_for_the_other_pictures_where_one_is_broken(digits_run, pictures, cli):
    code, out, err = cli("predict", digits_run.path, *pictures)
    assert code == 1
    assert [line.partition(":")[0] for line in out.splitlines()] == ["0.png", "1.png", "3.png"]
    assert "\nlenscope predict: 2.png: not a picture" in err
    code, out, _ = cli("predict", digits_run.path, *pictures, "--json")
    rows = json.loads(out)
    assert code == 1
    assert [row["file"] for row in rows] == pictures
    assert [sorted(row) for row in (rows[2], rows[3])] == [
        ["error", "file"], ["answer", "file", "probabilities", "probability", "unsure"],
    ]  # fmt: skip


def test_predict_answers_for_the_other_pictures_where_one_disappears(digits_run, pictures, cli, monkeypatch):
    show = lenscope.show_preparation
    monkeypatch.setattr(
        "lenscope.api.show_preparation",
        lambda one, *rest: Path(one.source).unlink() or show(one, *rest) if one.source == "0.png" else show(one, *rest),
    )
    code, out, err = cli("predict", digits_run.path, "0.png", "1.png", "--show", "steps")
    assert code == 1
    assert [line.partition(":")[0] for line in out.splitlines()] == ["1.png", "steps"]
    assert "lenscope predict: 0.png: cannot be read: No such file or directory" in err


def test_an_unsure_answer_is_marked(digits_run, pictures, cli, monkeypatch):
    monkeypatch.setattr("lenscope.runs.run.Run.unsure_rule", UnsureRule(99.0, 0.01, "validation", 500))
    assert cli("predict", digits_run.path, "0.png").out.startswith("0.png: unsure: ")
    assert json.loads(cli("predict", digits_run.path, "0.png", "--json").out)[0]["unsure"] is True


def test_predict_takes_folders_and_prints_csv(digits_run, pictures, cli):
    Path("photos/sub").mkdir(parents=True)
    for name, target in (("0.png", "photos/sub/0.png"), ("1.png", "photos/=1+2.png"), ("2.png", "photos/sub/x.png")):
        Path(name).rename(target)
    code, out, err = cli("predict", digits_run.path, "photos", "3.png", "photos/=1+2.png", "--csv")
    header, *rows = csv.reader(out.splitlines())
    assert header == ["file", "prediction", "probability", "unsure", "error", *(f"p({digit})" for digit in range(10))]
    assert [row[0] for row in rows] == [
        "photos/=1+2.png", "photos/sub/0.png", "photos/sub/x.png", "3.png", "photos/=1+2.png"
    ]  # fmt: skip
    assert code == 1
    assert rows[2][1:4] == ["", "", ""]
    assert rows[2][4].startswith("photos/sub/x.png: not a picture")
    assert rows[0] == rows[4]
    asked = json.loads(cli("predict", digits_run.path, "3.png", "--json").out)[0]
    assert rows[3][1] == asked["answer"]
    assert [np.float32(cell) for cell in rows[3][5:]] == [*map(np.float32, asked["probabilities"].values())]
    assert err.count("\n") == 2


def test_predict_writes_no_formula_into_a_spreadsheet(digits_run, pictures, cli):
    names = ["=1+2.png", "+a.png", "-b;=c.png", "@d.png", "＝e.png", "-5"]
    for name in names:
        shutil.copy("0.png", name)
    out = cli("predict", digits_run.path, "--csv", "--", *names).out
    lines = out.splitlines()[1:]
    assert [row[0] for row in csv.reader(lines)] == [*(f"'{name}" for name in names[:-1]), "-5"]
    assert all(line.startswith('"') for line in lines)


def test_predict_says_where_a_folder_has_labels_and_which_order_it_takes(digits_run, pictures, cli):
    for digit in range(10):
        Path(f"photos/{digit}").mkdir(parents=True)
    Path("0.png").rename("photos/0/0.png")
    Path("photos").rename("my photos")
    done = cli("predict", digits_run.path, "my photos")
    assert done.code == 0
    measures = f"lenscope evaluate {digits_run.path} --data 'my photos'"
    assert f"\nmy photos: has a folder for each class; measure the accuracy with: {measures}\n" in done.err
    code, out, err = cli("predict", "1.png", digits_run.path)
    assert (code, out) == (2, "")
    assert err == (
        f"lenscope predict: 1.png: not a run, but {digits_run.path} is one; "
        "the run comes first: lenscope predict RUN FILE…\n"
    )
    code, _, err = cli("predict", digits_run.path, "1.png", "--csv", "--json")
    assert (code, err) == (2, "lenscope predict: --csv and --json: got both, expected one\n")


def test_pictures_of_one_name_have_steps_of_different_names(digits_run, pictures, cli):
    Path("more").mkdir()
    shutil.copy("0.png", "more/0.png")
    code, out, _ = cli("predict", digits_run.path, "0.png", "more", "--show", "steps")
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("steps")] == [
        f"steps: {Path('steps/0-steps.png')}", f"steps: {Path('steps/2-0-steps.png')}"
    ]  # fmt: skip


def test_plot_prints_its_paths(copy, cli):
    (copy / "status.json").write_text((copy / "status.json").read_text().replace("finished", "running"))
    code, out, _ = cli("plot", copy, "--json")
    assert code == 0
    names = {Path(path).name for path in json.loads(out)}
    assert "curves.png" in names
    assert "confusion.png" not in names  # a run that is being written has no trained weights


def test_report_prints_its_path(digits_run, copy, cli):
    assert cli("report", copy) == (0, f"{copy / 'report.html'}\n", "")
    code, out, _ = cli("report", "copy", digits_run.path)
    assert (code, out) == (0, "comparison.html\n")
    code, out, _ = cli("report", copy, "--out", "r.html", "--json")
    assert (code, json.loads(out)["bytes"]) == (0, Path("r.html").stat().st_size)


def test_insight_prints_one_line_per_channel(digits_run, cli):
    code, out, _ = cli("insight", digits_run.path)
    assert code == 0
    assert len(re.findall(r"^ *\d+ +\d+ ", out, re.MULTILINE)) == 6 + 96
    facts = json.loads(cli("insight", digits_run.path, "--json").out)
    assert [len(layer["kernels"]) for layer in facts["layers"]] == [6, 16]


def test_film_prints_its_path(copy, cli):
    assert cli("film", copy, "--out", "f.gif") == (0, "f.gif\n", "")
    code, out, _ = cli("film", copy, "--layer", "conv2", "--kernel", 3, "--json")
    assert (code, json.loads(out)["film"]) == (0, str(copy / "plots" / "film-conv2.gif"))


def test_each_verb_takes_the_name_of_a_run(digits_run, digits, here, pictures, cli, drawn):
    shutil.copytree(digits_run.path, here / "runs" / "mine")
    for verb in ("evaluate", "verify", "film"):
        for name in ("mine", "last"):
            assert json.loads(cli(verb, name, "--json").out)["run"] == "runs/mine"
    assert json.loads(cli("compare", "last", "mine", "--json").out)["runs"] == ["runs/mine", "runs/mine"]
    assert json.loads(cli("predict", "last", pictures[0], "--json").out)[0]["file"] == pictures[0]
    assert Train.parse("lenscope train", ["--resume", "mine", "--epochs", "3"]).resume == Path("runs/mine")
    assert json.loads(cli("train", "--resume", "mine", "--epochs", 3, "--json").out)["run"] == "runs/mine"
    command = ("train", "--data", digits, "--batch-size", 20, "--epochs", 1, "--init-from", "mine", "--out", "next")
    assert cli(*command).code == 0
    assert lenscope.open_run("next").config.init_from == "runs/mine"
    assert lenscope.evaluate("last").accuracy == lenscope.evaluate("runs/mine").accuracy


def test_open_shows_the_page_of_a_run_of_an_experiment_or_a_file(digits_run, here, cli, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or len(opened) > 1)
    run, page = here / "runs" / "mine", Path("runs/mine/report.html")
    shutil.copytree(digits_run.path, run)
    assert cli("open") == (0, f"{page}\n", "lenscope open: no browser could be started; open this file in a browser\n")
    assert opened == [(here / page).as_uri()]
    page.write_text("as it is", encoding="utf-8")
    for place, name in (("mine", "runs/mine"), (page, None)):
        done = cli("open", place, "--json")
        assert (done.code, done.err) == (0, "")
        assert json.loads(done.out) == {"run": name, "report": str(page)}
    assert page.read_text(encoding="utf-8") == "as it is"
    assert opened == 3 * [(here / page).as_uri()]
