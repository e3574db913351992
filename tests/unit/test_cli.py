"""Every command as a user types it: what it prints, where to, and its exit code."""

import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

import lenscope
from fixtures_data import write_image_folder
from fixtures_runs import plant
from lenscope.cli import VERBS, main
from lenscope.cli.look import sparkline
from lenscope.cli.output import print_json
from lenscope.data.idx import write_idx
from lenscope.runs.unsure import UnsureRule
from lenscope.runs.verify import Finding


@pytest.fixture(scope="module")
def digits(tiny, tmp_path_factory):
    """The tiny set as a folder of IDX files."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    folder.mkdir()
    for part, data in (("train", tiny.train), ("t10k", tiny.test)):
        write_idx(folder / f"{part}-images-idx3-ubyte", data.images[:, 0])
        write_idx(folder / f"{part}-labels-idx1-ubyte", data.labels)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_pictures(request, monkeypatch):
    """Drawing takes seconds; the tests that look at pictures say so."""
    if "pictures" not in request.keywords:
        monkeypatch.setattr("lenscope.api.plot", lambda *_, **__: {})
        monkeypatch.setattr("lenscope.api.report", lambda run, **_: run.path / "report.html")


def plain(text, digits=None):
    """A transcript without what differs from one time or machine to the next."""
    text = text.replace(str(digits), "DIGITS") if digits else text
    text = re.sub(r"\d+\.\d+ s\b", "0.0 s", text)
    text = re.sub(r"on the CPU, \d+ threads?", "on the CPU, N threads", text)
    text = re.sub(r"( +)\d+\.\d\d( +[\d,]+)?$", r" TIME", text, flags=re.MULTILINE)
    text = re.sub(r"^seconds .*", "seconds TIME", text, flags=re.MULTILINE)
    return re.sub(r"( finished .*? %) +\d+\.\d ", r"\1 TIME ", text)


def run_cli(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def complaint(err):
    """The one line of stderr that is not about what is being read."""
    [line] = [line for line in err.splitlines() if not line.startswith("reading ")]
    return line


@pytest.mark.pictures
def test_transcript_of_a_first_session(here, digits, capsys, golden):
    commands = [
        ("train", "--data", digits, "--epochs", 4, "--batch-size", 20, "--lr", "5e-3"),
        ("train", "--data", digits, "--epochs", 1, "--batch-size", 25, "--quiet", "--validation", 10, "--out", "mine"),
        ("runs",),
        ("compare", "runs/digits-lenet-001", "mine"),
        ("evaluate", "runs/digits-lenet-001"),
        ("plot", "mine", "--kernel", 15),
        ("verify", "mine", "--replay", "--quiet"),
    ]
    transcript = ""
    for command in commands:
        code, out, err = run_cli(capsys, *command)
        assert code == 0, err
        typed = " ".join(map(str, command))
        transcript += f"$ lenscope {typed}\n{err}{out}\n"
    golden("session.txt", plain(transcript, digits))


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_names_its_options(verb, capsys):
    code, out, err = run_cli(capsys, verb, "--help")
    assert code == 0
    assert f"lenscope {verb}" in out
    assert "--json" in out
    assert not err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_overview_names_every_verb(arguments, capsys):
    code, out, _ = run_cli(capsys, *arguments)
    assert code == 0
    assert all(verb in out for verb in VERBS)


def test_version(capsys):
    code, out, _ = run_cli(capsys, "--version")
    assert code == 0
    assert re.fullmatch(r"lenscope \d+\.\d+\.\d+\n", out)


WRONG = [
    (("trian",), "unknown command 'trian'; did you mean 'train'?"),
    (("--epochs",), "unknown command '--epochs'"),
    (("train", "--epochs", "0"), "epochs: got 0, expected greater than or equal to 1"),
    (("train", "--epochs", "ten"), "--epochs"),
    (("train", "--lr", "-1"), "learning_rate: got -1.0, expected greater than 0"),
    (("train", "--lr", "nan"), "learning_rate: got nan, expected a finite number"),
    (("train", "--batch-size", "60001"), "batch_size: got 60001, expected at most the 60000 training images"),
    (("train", "--network", "lenett"), "did you mean 'lenet'?"),
    (("train", "--network", "lenet1998", "--engine", "fused"), "--engine fused: trains a LeNet, got LeNet1998"),
    (("train", "--optimizer", "adm"), "did you mean 'adam'?"),
    (("train", "--recipe", "lectur"), "did you mean 'lecture'?"),
    (("train", "--data", "mnits"), "did you mean 'mnist'?"),
    (("train", "--epoch", "3"), "did you mean --epochs"),
    (("train", "--seed"), "--seed"),
    (("train", "--patience", "3"), "needs a validation part; add --validation 5000"),
    (("train", "--train-images", "60001"), "train_images: got 60001, expected at most the 60000 training images"),
    (("train", "--train-images", "55001", "--validation", "5000"), "expected at most the 55000 training images"),
    (
        ("train", "--train-images", "99", "--batch-size", "200"),
        "batch_size: got 200, expected at most the 99 training images",
    ),
    (("train", "--validation", "60000"), "validation: got 60000 of 60000 images"),
    (("train", "--validation", "1.5"), "expected a whole count or a fraction below 1"),
    (("train", "--config", "none.toml"), "none.toml: cannot be read: No such file or directory"),
    (("train", "--device", "cuda"), "--device cuda: not available to PyTorch"),
    (("train", "--out", "."), "--out .: exists already; choose another name"),
    (("train", "--out", "file"), "--out file: is a file"),
    (("evaluate",), "got no PATH run directory"),
    (("predict", "nowhere"), "got no picture, expected at least one"),
    (("compare", "one"), "got 1 runs, expected two or more"),
    (("runs", "nowhere"), "nowhere: no such directory"),
    (("summary", "--input", "28x28"), "input: got '28x28', expected channels, height and width such as 1x32x32"),
    (("summary", "--classes", "1"), "classes: got 1, expected greater than or equal to 2"),
    (("data", "fetch"), "got no data set, expected a name; lenscope data fetch NAME"),
    (("data", "fetch", "kmnits"), "did you mean 'kmnist'?"),
    (("data", "find"), "unknown action 'find'"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, says, here, capsys):
    (here / "file").write_text("not a directory")
    code, out, err = run_cli(capsys, *arguments)
    assert code == 2
    assert not out
    assert says in complaint(err)
    assert complaint(err).startswith("lenscope")
    assert sorted(path.name for path in here.iterdir()) == ["file"]  # nothing half-written


PATHS = [
    ("train", "--data", "DIGITS", "--out"),
    ("train", "--resume"),
    ("train", "--config"),
    ("train", "--data"),
    ("train", "--data", "kmnist", "--data-dir"),
    ("train", "--data", "DIGITS", "--batch-size", "20", "--init-from"),
    ("evaluate",),
    ("evaluate", "RUN", "--data"),
    ("predict",),
    ("predict", "RUN"),
    ("predict", "RUN", "photo.png", "--show"),
    ("plot",),
    ("report",),
    ("report", "RUN", "--out"),
    ("film", "RUN", "--out"),
    ("insight",),
    ("verify",),
    ("compare", "RUN"),
    ("runs",),
    ("data", "pack"),
    ("data", "locate", "kmnist", "--data-dir"),
    ("lab",),
    ("sweep", "--config"),
    ("reproduce", "--data", "DIGITS", "--out"),
    ("bench", "--out"),
]


@pytest.mark.parametrize("name", ["a\0b", "a\ud800", "b" * 300, "c/" * 3000], ids=["NUL", "surrogate", "long", "deep"])
@pytest.mark.parametrize("command", PATHS, ids=" ".join)
def test_what_cannot_be_a_path_is_one_line(command, name, here, digits, tiny_run, capsys):
    given = {"DIGITS": str(digits), "RUN": str(tiny_run.path)}
    code, out, err = run_cli(capsys, *(given.get(word, word) for word in command), name)
    assert code in {1, 2}
    assert not out
    assert complaint(err).startswith(f"lenscope {command[0]}: ")
    assert not list(here.iterdir())


BROKEN = [
    (("evaluate", "nowhere"), "nowhere: no such run directory"),
    (("evaluate", "."), "lacks manifest.json"),
    (("train", "--out", "file/run"), "file/run: cannot be written: Not a directory"),
    (("train", "--data", "empty"), "empty"),
    (("summary", "--input", "1x28x28"), "fc1 got 256 values an image, expected 400"),
]


@pytest.mark.parametrize(("arguments", "says"), BROKEN)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(arguments, says, here, capsys):
    (here / "file").write_text("not a directory")
    (here / "empty").mkdir()
    code, out, err = run_cli(capsys, *arguments)
    assert code == 1
    assert not out
    assert says in complaint(err)
    assert sorted(path.name for path in here.iterdir()) == ["empty", "file"]


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
def test_a_broken_run_says_which_part(part, damage, says, tiny_run, digits, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_run.path, broken)
    (broken / part).unlink() if damage is None else (broken / part).write_bytes(damage)
    code, _, err = run_cli(capsys, "evaluate", broken, "--data", digits)
    assert code == 1
    assert says in err
    assert len(err.splitlines()) == 1
    code, out, _ = run_cli(capsys, "runs", tmp_path)
    assert code == 0
    assert "broken" in out


def test_precedence_of_defaults_recipe_file_and_options(here, digits, capsys):
    (here / "mine.toml").write_text('lr = 0.5\nepochs = 1\nbatch_size = 30\noptimizer = "sgd"\n')
    code, out, err = run_cli(capsys, "train", "--data", digits, "--config", "mine.toml", "--lr", "0.25", "--json")
    assert code == 0, err
    config = lenscope.open_run(json.loads(out)["run"]).config
    assert (config.learning_rate, config.epochs, config.batch_size, config.optimizer) == (0.25, 1, 30, "sgd")
    assert config.recipe == "lecture"


def test_a_run_repeats_from_its_own_config(here, digits, capsys):
    first = json.loads(run_cli(capsys, "train", "--data", digits, "--epochs", 1, "--batch-size", 20, "--json")[1])
    second = json.loads(run_cli(capsys, "train", "--config", f"{first['run']}/config.toml", "--json")[1])
    one, two = (lenscope.open_run(result["run"]) for result in (first, second))
    assert np.array_equal(one.losses, two.losses)


def test_quiet_prints_the_last_line_alone(here, digits, capsys):
    code, out, err = run_cli(capsys, "train", "--data", digits, "--epochs", 1, "--batch-size", 20, "--quiet")
    assert code == 0
    assert not err
    assert re.fullmatch(
        r"runs/digits-lenet-001: [\d.]+ % of 20 test images right, 95 % Wilson interval .* training\n", out
    )


@pytest.mark.parametrize(
    ("option", "step"), [("--no-pictures", "writing the report …"), ("--no-report", "drawing the pictures …")]
)
def test_either_of_pictures_and_report_can_be_left_out(option, step, here, digits, capsys, monkeypatch):
    made = []
    monkeypatch.setattr("lenscope.api.plot", lambda *_, **__: made.append("drawing the pictures …") or {})
    monkeypatch.setattr("lenscope.api.report", lambda *_, **__: made.append("writing the report …"))
    start = ("--data", digits, "--epochs", 1, "--batch-size", 20, "--out", "run")
    for command in (start, ("--resume", "run", "--epochs", 2)):
        code, _, err = run_cli(capsys, "train", *command, option)
        assert code == 0, err
        first, *lines = err.splitlines()
        assert first == f"reading {digits} …"
        assert [line for line in lines if line.endswith(" …")] == [step]
    assert made == [step, step]


def test_results_go_to_stdout_and_progress_to_stderr(here, digits, capsys):
    _, out, err = run_cli(capsys, "train", "--data", digits, "--epochs", 1, "--batch-size", 20, "--json")
    assert json.loads(out)["epochs"] == 1
    assert "60 training images, 20 test images" in err


def test_init_from_starts_where_another_run_ended(here, tiny_run, digits, capsys):
    arguments = ("train", "--data", digits, "--epochs", 1, "--batch-size", 20, "--init-from", tiny_run.path, "--json")
    code, out, err = run_cli(capsys, *arguments)
    assert code == 0, err
    run = lenscope.open_run(json.loads(out)["run"])
    assert np.array_equal(run.weights("initial")["fc3.weight"], tiny_run.weights("final")["fc3.weight"])


def test_runs_compare_and_evaluate_speak_json(tiny_run, digits, capsys):
    [row] = json.loads(run_cli(capsys, "runs", tiny_run.path.parent, "--json")[1])
    assert row["state"] == "finished"
    assert len(row["accuracies"]) == 3
    table = json.loads(run_cli(capsys, "compare", tiny_run.path, tiny_run.path, "--json")[1])
    assert table["state"] == ["finished", "finished"]
    result = json.loads(run_cli(capsys, "evaluate", tiny_run.path, "--data", digits, "--json")[1])
    assert result["images"] == 20
    assert result["accuracy_interval"][0] <= result["accuracy"] <= result["accuracy_interval"][1]
    assert sum(row["images"] for row in result["classes"]) == 20


def test_predict_prints_the_answer_and_shows_the_steps(tiny, tiny_run, here, capsys):
    Image.fromarray(255 - tiny.test.images[0, 0]).resize((280, 280)).save("seven.png")
    code, out, _ = run_cli(capsys, "predict", tiny_run.path, "seven.png", "--show", "steps")
    assert code == 0
    answer, steps = out.splitlines()
    assert answer.startswith("seven.png: ")
    assert steps == f"steps: {Path('steps/seven-steps.png')}"
    with Image.open("steps/seven-steps.png") as steps:
        assert steps.size[0] > 800
    [answer] = json.loads(run_cli(capsys, "predict", tiny_run.path, "seven.png", "--json")[1])
    assert answer["probabilities"][answer["answer"]] == max(answer["probabilities"].values())


def test_predict_refuses_what_is_no_picture(tiny_run, here, capsys):
    (here / "notes.png").write_text("not a picture")
    code, out, err = run_cli(capsys, "predict", tiny_run.path, "notes.png")
    assert code == 1
    assert not out
    assert "notes.png: not a picture" in err


def test_predict_answers_the_others_where_a_picture_is_broken(tiny, tiny_run, here, capsys):
    for number in (0, 1, 3):
        Image.fromarray(tiny.test.images[number, 0]).save(f"{number}.png")
    (here / "2.png").write_text("not a picture")
    files = [f"{number}.png" for number in range(4)]
    code, out, err = run_cli(capsys, "predict", tiny_run.path, *files)
    assert code == 1
    assert [line.partition(":")[0] for line in out.splitlines()] == ["0.png", "1.png", "3.png"]
    assert next(line for line in err.splitlines() if "2.png" in line).startswith(
        "lenscope predict: 2.png: not a picture"
    )
    code, out, _ = run_cli(capsys, "predict", tiny_run.path, *files, "--json")
    rows = json.loads(out)
    assert code == 1
    assert [row["file"] for row in rows] == files
    assert [sorted(row) for row in (rows[2], rows[3])] == [
        ["error", "file"], ["answer", "file", "probabilities", "probability", "unsure"],
    ]  # fmt: skip


def test_predict_answers_the_others_where_the_steps_of_a_picture_are_gone(tiny, tiny_run, here, capsys, monkeypatch):
    for number in (0, 1):
        Image.fromarray(tiny.test.images[number, 0]).save(f"{number}.png")
    show = lenscope.show_preparation
    monkeypatch.setattr(
        "lenscope.api.show_preparation",
        lambda one, *rest: Path(one.source).unlink() or show(one, *rest) if one.source == "0.png" else show(one, *rest),
    )
    code, out, err = run_cli(capsys, "predict", tiny_run.path, "0.png", "1.png", "--show", "steps")
    assert code == 1
    assert [line.partition(":")[0] for line in out.splitlines()] == ["1.png", "steps"]
    assert "lenscope predict: 0.png: cannot be read: No such file or directory" in err


def test_predict_says_how_pictures_are_prepared_and_does_otherwise_if_asked(tiny, tiny_run, here, capsys):
    Image.fromarray(tiny.test.images[0, 0]).save("seven.png")
    measured = "light on dark, centred by mass, 20 of 28 pixels large\n"
    _, _, err = run_cli(capsys, "predict", tiny_run.path, "seven.png")
    assert err == f"pictures are prepared as digits, since the training images are {measured}"
    _, _, err = run_cli(capsys, "predict", tiny_run.path, "seven.png", "--prepare", "resize")
    assert err == "pictures are only resized, as --prepare resize asks\n"


def test_an_unsure_answer_is_said_to_be(tiny, tiny_run, here, capsys, monkeypatch):
    rule = UnsureRule(99.0, 0.01, "validation", 500)
    monkeypatch.setattr("lenscope.runs.run.Run.unsure_rule", rule)
    Image.fromarray(tiny.test.images[0, 0]).save("seven.png")
    assert run_cli(capsys, "predict", tiny_run.path, "seven.png")[1].startswith("seven.png: unsure: ")
    assert json.loads(run_cli(capsys, "predict", tiny_run.path, "seven.png", "--json")[1])[0]["unsure"] is True


def test_a_run_whose_weights_are_not_finite_is_one_line(tiny, tiny_run, digits, here, capsys):
    shutil.copytree(tiny_run.path, "broken")
    weights = lenscope.open_run("broken").weights() | {"fc3.bias": np.full(10, np.inf, np.float32)}
    plant(here / "broken", "weights/final.safetensors", save(weights))
    Image.fromarray(tiny.test.images[0, 0]).save("seven.png")
    words = "broken/weights/final.safetensors: fc3.bias is not finite; the run is broken\n"
    for arguments in (["evaluate", "broken", "--data", digits], ["predict", "broken", "seven.png", "--json"]):
        assert run_cli(capsys, *arguments) == (1, "", f"lenscope {arguments[0]}: {words}")


def test_no_json_holds_what_json_cannot(capsys):
    print_json({"a": [float("nan"), (np.float64("inf"), 1.5)], "b": {"c": -float("inf")}})
    assert json.loads(capsys.readouterr().out) == {"a": [None, [None, 1.5]], "b": {"c": None}}


def test_data_lists_locates_and_verifies(capsys):
    code, out, _ = run_cli(capsys, "data", "list")
    assert code == 0
    assert all(name in out for name in ("mnist", "fashion-mnist", "kmnist", "qmnist", "emnist-letters"))
    assert json.loads(run_cli(capsys, "data", "list", "--json")[1])[0]["name"] == "mnist"
    code, out, _ = run_cli(capsys, "data", "verify", "mnist")
    assert code == 0
    assert out.count("genuine") == 4
    assert len(json.loads(run_cli(capsys, "data", "locate", "mnist", "--json")[1])) == 4
    assert len(json.loads(run_cli(capsys, "data", "verify", "mnist", "--json")[1])) == 4
    assert run_cli(capsys, "data", "locate", "mnist")[1].count("ubyte") == 4
    assert run_cli(capsys, "data", "fetch", "mnist")[0] == 0  # here already: nothing to download


def test_data_packs_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path / "cache"))
    root = write_image_folder(tmp_path / "shapes", each=3)
    (root / "test" / "b" / "1.png").write_bytes(b"")
    code, out, err = run_cli(capsys, "data", "pack", root)
    assert (code, out) == (1, "")
    assert "packing shapes (12 pictures) …" in err
    assert "1 defect, expected" in err
    code, out, err = run_cli(capsys, "data", "pack", root, "--skip-unreadable", "--json")
    assert code == 0
    found = json.loads(out)
    assert Path(found["pack"]).parent == tmp_path / "cache" / "packs"
    assert (found["train"], found["test"], found["shape"], found["bytes"]) == (6, 5, [1, 6, 6], 396)
    assert list(found["skipped"]) == ["test/b/1.png"]
    code, out, err = run_cli(capsys, "data", "pack", root, "--skip-unreadable")
    assert re.search(r"packs/\w+: 6 training and 5 test images of 1×6×6, 396 bytes, in [\d.]+ s", out)
    assert "left out 1 unreadable picture: test/b/1.png: " in err
    code, _, err = run_cli(capsys, "data", "pack", tmp_path / "nowhere")
    assert code == 2
    assert "nowhere: no such folder; expected one with train/<class>" in err


def test_train_can_leave_out_what_cannot_be_read(here, monkeypatch, capsys):
    root = write_image_folder(here / "shapes", each=12)
    (root / "train" / "b" / "1.png").write_bytes(b"")
    arguments = ("train", "--data", root, "--epochs", 1, "--batch-size", 5)
    code, _, err = run_cli(capsys, *arguments)
    assert code == 1
    assert "1 defect, expected" in err
    code, out, err = run_cli(capsys, *arguments, "--skip-unreadable", "--json")
    assert code == 0, err
    assert "left out 1 unreadable picture: train/b/1.png: " in err
    assert lenscope.open_run(json.loads(out)["run"]).data.train_images == 23
    code, _, err = run_cli(capsys, *arguments, "--skip-unreadable", "--quiet")
    assert (code, err) == (0, "")


def test_data_says_what_is_missing_or_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LENSCOPE_CACHE", str(tmp_path))
    code, _, err = run_cli(capsys, "data", "locate", "kmnist")
    assert code == 1
    assert "kmnist: not found here; fetch it with: lenscope data fetch kmnist" in err
    code, out, err = run_cli(capsys, "data", "verify", "kmnist")
    assert code == 1
    assert out.count("missing") == 4
    assert "wrong or missing" in err


def test_doctor_tells_versions_engines_and_data(capsys):
    code, out, _ = run_cli(capsys, "doctor")
    assert code == 0
    assert "torch" in out
    assert "mnist" in out
    facts = json.loads(run_cli(capsys, "doctor", "--json")[1])
    assert facts["engines"]["torch"].startswith("PyTorch")
    assert re.fullmatch(r"(avx512|avx2|baseline) \(runs here: .*\bbaseline\), \d+ threads?", facts["engines"]["fused"])
    assert "cpu" in facts["devices"]


def test_doctor_says_why_the_fused_engine_is_not_here(capsys, monkeypatch):
    monkeypatch.setenv("LENSCOPE_ISA", "avx1024")
    assert "\n  fused: LENSCOPE_ISA: got 'avx1024'" in run_cli(capsys, "doctor")[1]
    monkeypatch.setitem(sys.modules, "lenscope.native._core", None)
    assert "\n  fused: the native engine " in run_cli(capsys, "doctor")[1]


def test_summary_as_text_and_json(capsys):
    assert "61,706" in run_cli(capsys, "summary")[1]
    colour = json.loads(run_cli(capsys, "summary", "--input", "3×32×32", "--classes", "47", "--json")[1])
    assert colour["input_shape"] == [3, 32, 32]


def test_empty_directory_of_runs(tmp_path, capsys):
    assert run_cli(capsys, "runs", tmp_path)[1] == f"{tmp_path}: no runs yet; make one with: lenscope train\n"


def test_sparkline_is_short_and_ends_with_the_last_value():
    assert sparkline([]) == ""
    assert sparkline([0.5]) == "▁"
    assert len(sparkline([number / 500 for number in range(500)])) == 20
    assert sparkline([0.0] * 99 + [1.0])[-1] == "█"


# Arguments, in this order in one process, and which of HEAVY each imports that those before it did not.
HEAVY = {
    "PIL", "jinja2", "lenscope.native", "matplotlib", "multiprocessing", "numpy", "pydantic", "requests", "rich",
    "safetensors", "tarfile", "threadpoolctl", "torch", "tyro",
}  # fmt: skip
IMPORTS = (
    ("--help", ""),
    ("train --help", "pydantic tyro"),
    ("summary", "lenscope.native numpy"),
    ("train --data DIGITS --epochs 1 --batch-size 20 --out run --quiet --no-pictures --no-report", "safetensors"),
    ("verify run --replay --quiet", "rich"),
    ("runs .", ""),
    ("compare run run", ""),
    ("evaluate run", ""),
    ("insight run", "threadpoolctl"),
    ("report run", "jinja2"),
    ("predict run seven.png", "PIL"),
    ("film run", "matplotlib"),
    ("plot run", ""),
    ("reproduce --help", "multiprocessing"),
)
NOTE_IMPORTS = """
import json, sys
import lenscope
from lenscope.cli import main

before, heavy = set(), set(json.loads(sys.argv[1]))
for arguments in ([], *json.loads(sys.argv[2])):
    code = main(arguments) if arguments else 0
    now = heavy & set(sys.modules)
    print(code, *sorted(now - before), file=sys.stderr)
    before = now
"""


def test_each_verb_imports_what_it_needs_and_no_more(here, tiny, digits):
    Image.fromarray(tiny.test.images[0, 0]).save("seven.png")
    commands = [arguments.replace("DIGITS", str(digits)).split() for arguments, _ in IMPORTS]
    call = [sys.executable, "-c", NOTE_IMPORTS, json.dumps(sorted(HEAVY)), json.dumps(commands)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    noted = [line for line in done.stderr.splitlines() if not line.startswith("pictures are prepared")]
    assert noted == ["0", *(f"0 {imported}".rstrip() for _, imported in IMPORTS)]


def test_python_m_lenscope_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "lenscope", "--help"], capture_output=True, text=True, check=True)
    assert "lenscope train" in done.stdout


@pytest.mark.pictures
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_opens_and_says_so(number, code, here, digits, capsys, monkeypatch):
    from lenscope.watch.terminal import TerminalWatcher

    def interrupt(self, event):
        if type(event).__name__ == "EpochDone" and event.metrics.epoch == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(TerminalWatcher, "__call__", interrupt)
    got, out, err = run_cli(capsys, "train", "--data", digits, "--epochs", 50, "--batch-size", 20)
    assert got == code
    assert not out
    assert "interrupted; 'lenscope train --resume runs" in err.splitlines()[-1]
    run = lenscope.open_run("runs/digits-lenet-001")
    assert run.status.state == "interrupted"
    assert run.metrics.epoch.tolist() == [0, 1, 2]
    assert run_cli(capsys, "plot", run.path)[0] == 0


def test_a_loss_that_is_not_finite_ends_with_one_line(here, digits, capsys):
    arguments = ("--data", digits, "--epochs", 3, "--batch-size", 20, "--optimizer", "sgd", "--lr", "1e30")
    code, out, err = run_cli(capsys, "train", *arguments, "--quiet")
    assert code == 1
    assert not out
    assert re.fullmatch(r"lenscope train: epoch \d+, step \d+: .* is not finite; .*\n", err)
    assert lenscope.open_run("runs/digits-lenet-001").status.state == "failed"


def test_the_garbage_collector_leaves_what_was_imported_alone():
    code = "import gc, sys; from lenscope.cli import main; {}; print(gc.get_threshold()[0], gc.get_freeze_count() > 0)"
    for call, says in (("main()", "100000 True"), ("main(['--version'])", f"{gc.get_threshold()[0]} False")):
        command = [sys.executable, "-c", code.format(call), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[1] == says


@pytest.mark.slow
def test_pytorchs_objects_are_not_collected():
    code = "import gc, lenscope.pytorch; print(gc.isenabled(), gc.get_freeze_count() > 100_000)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_where_pytorch_is_there_already_the_collector_is_left_alone(here, digits, capsys):
    frozen = gc.get_freeze_count()
    assert run_cli(capsys, "train", "--data", digits, "--epochs", 1, "--batch-size", 20, "--quiet")[0] == 0
    assert gc.get_freeze_count() <= frozen


def test_output_into_a_closed_pipe_is_no_traceback(tmp_path):
    command = [sys.executable, "-m", "lenscope", "data", "list"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=buffered, **pipes) as process:
        process.stdout.close()  # long before it has anything to say
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_without_a_part_to_measure_on_the_training_loss_is_told(here, tiny, capsys):
    folder = here / "unmeasured"
    folder.mkdir()
    write_idx(folder / "train-images-idx3-ubyte", tiny.train.images[:, 0])
    write_idx(folder / "train-labels-idx1-ubyte", tiny.train.labels)
    code, out, err = run_cli(capsys, "train", "--data", folder, "--epochs", 1, "--batch-size", 20)
    assert code == 0, err
    assert re.fullmatch(r"runs/unmeasured-lenet-001: training loss 2\.\d{4}; 1 epoch in .*\n", out)


@pytest.mark.pictures
def test_plot_prints_its_paths_as_json(tiny_run, digits, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run.path, copy)
    (copy / "status.json").write_text((copy / "status.json").read_text().replace("finished", "running"))
    code, out, _ = run_cli(capsys, "plot", copy, "--json")
    assert code == 0
    names = {path.rsplit("/", 1)[-1] for path in json.loads(out)}
    assert "curves.png" in names
    assert "confusion.png" not in names  # it is being written: no trained weights yet


def test_a_disk_that_fills_ends_with_one_line_and_no_half_written_file(here, digits, capsys, monkeypatch):
    real, written = os.fsync, []

    def fill(descriptor):
        written.append(descriptor)
        if len(written) > 25:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fill)
    code, out, err = run_cli(capsys, "train", "--data", digits, "--epochs", 9, "--batch-size", 20, "--quiet")
    assert code == 1
    assert not out
    assert re.fullmatch(r"lenscope train: .*: cannot be written: No space left on device; .*\n", err)
    assert not list(here.rglob("*.part"))
    assert len(lenscope.open_run("runs/digits-lenet-001").metrics) >= 1


def interrupted_at(epoch, monkeypatch):
    """Ctrl-C at the end of an epoch."""
    from lenscope.watch.terminal import TerminalWatcher

    def interrupt(self, event):
        if type(event).__name__ == "EpochDone" and event.metrics.epoch == epoch:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TerminalWatcher, "__call__", interrupt)


def test_a_broken_file_is_shown_in_its_place_and_ends_with_exit_code_1(tiny_run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run.path, copy)
    code, out, _ = run_cli(capsys, "verify", copy, "--json")
    assert (code, json.loads(out)["sound"]) == (0, True)
    (copy / "film.bin").write_bytes(b"")
    code, out, err = run_cli(capsys, "verify", copy, "--replay")
    assert code == 1
    assert re.search(r"^film\.bin +BROKEN  differs from the manifest", out, re.MULTILINE)
    assert err.startswith(f"lenscope verify: {copy}: not what it should be: film.bin; restore it from a copy, or")
    code, out, _ = run_cli(capsys, "verify", copy, "--json")
    assert (code, json.loads(out)["sound"]) == (1, False)


def test_a_replay_that_cannot_be_compared_here_is_neither_sound_nor_broken(tiny_run, capsys, monkeypatch):
    says = "differs at step 1; cannot be compared to the bit here, since isa is avx2, was avx512"
    monkeypatch.setattr(
        "lenscope.runs.replay.replay_run", lambda *_, **__: [Finding("losses.f32", sound=None, says=says)]
    )
    code, out, err = run_cli(capsys, "verify", tiny_run.path, "--replay")
    assert (code, err) == (0, "")
    assert re.search(rf"^losses\.f32 +unknown  {says}$", out, re.MULTILINE)
    assert out.endswith(": its files are sound; the replay cannot be compared to the bit here\n")
    assert json.loads(run_cli(capsys, "verify", tiny_run.path, "--replay", "--json")[1])["sound"] is None


def test_an_interrupted_run_goes_on_as_its_message_says(here, digits, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_at(2, patch)
        _, _, err = run_cli(capsys, "train", "--data", digits, "--epochs", 4, "--batch-size", 20)
    [command] = re.findall(r"'lenscope (train --resume \S+)'", err)
    code, out, err = run_cli(capsys, *command.split())
    assert code == 0
    assert out.startswith("runs/digits-lenet-001: ")
    assert "goes on after step 6, in epoch 3" in err
    assert lenscope.open_run("runs/digits-lenet-001").metrics.epoch.tolist() == [0, 1, 2, 3, 4]
    code, out, err = run_cli(capsys, *command.split())
    assert (code, out) == (2, "")
    assert err == "lenscope train: runs/digits-lenet-001: is finished; with more --epochs than 4 it goes on\n"
    code, out, _ = run_cli(capsys, *command.split(), "--epochs", 5, "--quiet", "--json")
    assert (code, json.loads(out)["epochs"]) == (0, 5)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("--resume", "nothing"), 1, "nothing: no such run directory; 'lenscope runs' lists those there are"),
        (
            ("--resume", "nothing", "--lr", "1"),
            2,
            "--lr with --resume: a run goes on with its own settings; leave it out",
        ),
        (("--resume",), 2, None),
        (("--checkpoint-every", "5m"), 2, None),
    ],
)
def test_what_cannot_go_on_is_told_in_one_line(here, capsys, arguments, code, line):
    got, out, err = run_cli(capsys, "train", *arguments)
    assert (got, out) == (code, "")
    assert err.count("\n") == 1
    assert line is None or err == f"lenscope train: {line}\n"


def test_help_on_resuming_is_the_verbs_help(capsys):
    code, out, _ = run_cli(capsys, "train", "--resume", "x", "--help")
    assert code == 0
    assert "--resume RUN" in out


def test_ctrl_c_before_anything_has_begun_is_said(capsys, monkeypatch):
    monkeypatch.setattr("lenscope.cli.look.Runs.execute", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    code, _, err = run_cli(capsys, "runs")
    assert (code, err) == (130, "lenscope runs: interrupted\n")


def end_of(*arguments, at_exit="None", before=":", **settings):
    """How `lenscope` ends in a process of its own, after something in its shell, with more to do at its exit."""
    code = (
        "import atexit, os, signal, sys; from lenscope import cli\n"
        f"atexit.register(lambda: {at_exit}); sys.argv = {['lenscope', *map(str, arguments)]}; sys.exit(cli.main())"
    )
    command = ["sh", "-c", f'{before}; exec "$@"', "sh", sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)


@pytest.mark.parametrize("arguments", [("--version",), ("no-such-verb",)])
def test_ctrl_c_while_python_cleans_up_prints_nothing(arguments):
    expected = end_of(*arguments)
    got = end_of(*arguments, at_exit="os.kill(os.getpid(), signal.SIGINT)")
    assert got.returncode == -signal.SIGINT
    assert got.stderr == expected.stderr


def test_ctrl_c_is_one_line_in_a_process_of_its_own_and_is_ignored_on_demand(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'lenscope.cli.look': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
    )
    got = end_of("doctor", env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert (got.returncode, got.stderr) == (130, "lenscope doctor: interrupted\n")
    ignoring = end_of("doctor", env=os.environ | {"PYTHONPATH": str(tmp_path)}, before='trap "" INT')
    assert (ignoring.returncode, ignoring.stderr) == (0, "")
