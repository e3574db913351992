"""`lenscope train` as it is typed: what it prints and saves, how it is interrupted and resumed."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

import lenscope
from fixtures_data import write_image_folder
from fixtures_lab import write_digits

TRAIN = ("train", "--batch-size", 20, "--data")


def plain(text, digits):
    """A transcript without what differs from one run or machine to the next."""
    text = text.replace(digits, "DIGITS").replace(Path(digits).name, "digits")
    text = re.sub(r"\d+\.\d+ s\b", "0.0 s", text)
    text = re.sub(r"on the CPU, \d+ threads?", "on the CPU, N threads", text)
    text = re.sub(r", threads \d+,", ", threads N,", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE            ", text)
    text = re.sub(r"( +)\d+\.\d\d( +[\d,]+)?$", r" TIME", text, flags=re.MULTILINE)
    text = re.sub(r"^seconds .*", "seconds TIME", text, flags=re.MULTILINE)
    return re.sub(r"(DATE .*? %) +\d+\.\d ", r"\1 TIME ", text)


def test_transcript_of_a_first_session(here, digits, cli, golden, monkeypatch):
    """With the pictures and the report, which the other tests do not draw."""
    monkeypatch.setenv("COLUMNS", "1000")  # a line of the transcript ends where the sentence does
    commands = [
        ("train", "--data", digits, "--epochs", 4, "--batch-size", 20, "--lr", "5e-3", "--out", "runs/digits"),
        ("train", "--data", digits, "--epochs", 1, "--batch-size", 25, "--quiet", "--validation", 10, "--out", "mine",
         "--no-pictures", "--no-report"),
        ("runs",),
        ("compare", "digits", "mine"),
        ("evaluate", "last"),
        ("verify", "mine", "--replay", "--quiet"),
    ]  # fmt: skip
    transcript = ""
    for command in commands:
        code, out, err = cli(*command)
        assert code == 0, err
        typed = " ".join(map(str, command))
        transcript += f"$ lenscope {typed}\n{err}{out}\n"
    golden("session.txt", plain(transcript, digits))


def test_options_override_the_file_which_overrides_recipe_and_defaults(here, digits, cli, drawn):
    (here / "mine.toml").write_text('lr = 0.5\nepochs = 1\nbatch_size = 30\noptimizer = "sgd"\n')
    code, out, err = cli("train", "--data", digits, "--config", "mine.toml", "--lr", "0.25", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["epochs"] == 1
    assert "60 training images, 20 test images" in err
    first = lenscope.open_run(result["run"])
    config = first.config
    assert (config.learning_rate, config.epochs, config.batch_size, config.optimizer) == (0.25, 1, 30, "sgd")
    assert config.recipe == "lecture"
    repeated = json.loads(cli("train", "--config", f"{result['run']}/config.toml", "--json").out)
    assert np.array_equal(first.losses, lenscope.open_run(repeated["run"]).losses)


def test_quiet_prints_only_the_last_line(here, digits, cli, drawn):
    code, out, err = cli(*TRAIN, digits, "--epochs", 1, "--quiet")
    assert (code, err) == (0, "")
    assert re.fullmatch(
        r"runs/digits\d*-lenet-001: accuracy [\d.]+ % on 20 test images, 95 % Wilson interval .* training\n", out
    )


@pytest.mark.parametrize(
    ("option", "kind", "note"),
    [("--no-pictures", "report", "writing the report …"), ("--no-report", "pictures", "drawing the pictures …")],
)
def test_pictures_or_report_can_be_left_out(option, kind, note, here, digits, cli, drawn):
    for command in ((*TRAIN, digits, "--epochs", 1, "--out", "run"), ("train", "--resume", "run", "--epochs", 2)):
        code, _, err = cli(*command, option)
        assert code == 0, err
        first, *lines = err.splitlines()
        assert first == f"reading {digits} …"
        assert [line for line in lines if line.endswith(" …")] == [note]
    assert drawn == [kind, kind]


def test_init_from_starts_with_the_weights_of_another_run(here, tiny_run, digits, cli, drawn):
    code, out, err = cli(*TRAIN, digits, "--epochs", 1, "--init-from", tiny_run.path, "--json")
    assert code == 0, err
    run = lenscope.open_run(json.loads(out)["run"])
    assert np.array_equal(run.weights("initial")["fc3.weight"], tiny_run.weights("final")["fc3.weight"])


def test_without_test_images_the_training_loss_is_printed(here, tiny, cli, drawn):
    folder = here / "unmeasured"
    folder.mkdir()
    write_digits(folder, tiny, 60, 0)
    code, out, err = cli(*TRAIN, folder, "--epochs", 1, "--validation", 0)
    assert code == 0, err
    assert re.fullmatch(r"runs/unmeasured-lenet-001: training loss 2\.\d{4}; 1 epoch in .*\n", out)


def test_skip_unreadable_trains_on_the_other_pictures(here, cli, drawn):
    root = write_image_folder(here / "shapes", each=12)
    (root / "train" / "b" / "1.png").write_bytes(b"")
    arguments = ("train", "--data", root, "--epochs", 1, "--batch-size", 5)
    code, _, err = cli(*arguments)
    assert code == 1
    assert "1 defect, expected" in err
    code, out, err = cli(*arguments, "--skip-unreadable", "--json")
    assert code == 0, err
    assert "left out 1 unreadable picture: train/b/1.png: " in err
    assert lenscope.open_run(json.loads(out)["run"]).data.train_images == 23
    code, _, err = cli(*arguments, "--skip-unreadable", "--quiet")
    assert (code, err) == (0, "")


def test_a_loss_that_is_not_finite_ends_with_one_line(here, digits, cli):
    code, out, err = cli(*TRAIN, digits, "--epochs", 3, "--optimizer", "sgd", "--lr", "1e30", "--quiet", "--out", "run")
    assert (code, out) == (1, "")
    assert re.fullmatch(r"lenscope train: epoch \d+, step \d+: .* is not finite; .*\n", err)
    assert lenscope.open_run("run").status.state == "failed"


def test_a_full_disk_ends_with_one_line_and_no_half_written_file(here, digits, cli, monkeypatch):
    real, written = os.fsync, []

    def fill(descriptor):
        written.append(descriptor)
        if len(written) > 25:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fill)
    code, out, err = cli(*TRAIN, digits, "--epochs", 9, "--quiet", "--out", "run")
    assert (code, out) == (1, "")
    assert re.fullmatch(r"lenscope train: .*: cannot be written: No space left on device; .*\n", err)
    assert not list(here.rglob("*.part"))
    assert len(lenscope.open_run("run").metrics) >= 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_resumes_as_its_message_says(number, code, here, digits, cli, monkeypatch, drawn):
    from lenscope.watch.terminal import TerminalWatcher

    def interrupt(self, event):
        if type(event).__name__ == "EpochDone" and event.metrics.epoch == 2:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(TerminalWatcher, "__call__", interrupt)
        got = cli(*TRAIN, digits, "--epochs", 4, "--out", "run")
    assert (got.code, got.out) == (code, "")
    assert lenscope.open_run("run").status.state == "interrupted"
    assert lenscope.open_run("run").metrics.epoch.tolist() == [0, 1, 2]
    [command] = re.findall(r"lenscope (train --resume [^\s']+)", got.err.splitlines()[-1])
    code, out, err = cli(*command.split())
    assert code == 0
    assert out.startswith("run: ")
    assert re.search(r"after step 6\b.*epoch 3|step 6 \(epoch 3\)", err)
    assert lenscope.open_run("run").metrics.epoch.tolist() == [0, 1, 2, 3, 4]
    code, out, err = cli(*command.split())
    assert (code, out) == (2, "")
    assert err.startswith("lenscope train: run: ")
    assert err.count("\n") == 1
    code, out, _ = cli(*command.split(), "--epochs", 5, "--quiet", "--json")
    assert (code, json.loads(out)["epochs"]) == (0, 5)
