"""The verbs that show what a run learned, as they are called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import lenscope
from lenscope.cli import main
from lenscope.data.idx import write_idx


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(mnist, tmp_path_factory):
    """A run on a folder, which its verbs find again."""
    folder = tmp_path_factory.mktemp("digits")
    for part, dataset, count in (("train", mnist.train, 60), ("t10k", mnist.test, 20)):
        taken = dataset.take(np.arange(count))
        write_idx(folder / f"{part}-images-idx3-ubyte", taken.images[:, 0])
        write_idx(folder / f"{part}-labels-idx1-ubyte", taken.labels)
    return lenscope.train(str(folder), out=folder / "run", epochs=1, batch_size=20, progress=False)


def run_cli(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_report_prints_its_path(trained, here, capsys):
    assert run_cli(capsys, "report", trained.path) == (0, f"{trained.path / 'report.html'}\n", "")
    code, out, _ = run_cli(capsys, "report", trained.path, "--out", "r.html", "--json")
    assert (code, json.loads(out)["bytes"]) == (0, Path("r.html").stat().st_size)


def test_report_of_two_runs_lies_beside_the_first(trained, here, capsys):
    shutil.copytree(trained.path, here / "other")
    code, out, _ = run_cli(capsys, "report", "other", trained.path)
    assert (code, out) == (0, "comparison.html\n")


def test_insight_prints_a_line_a_slice(trained, capsys):
    code, out, _ = run_cli(capsys, "insight", trained.path)
    assert code == 0
    assert out.count("\n") > 6 + 96
    code, out, _ = run_cli(capsys, "insight", trained.path, "--json")
    facts = json.loads(out)
    assert [len(layer["kernels"]) for layer in facts["layers"]] == [6, 16]


def test_film_prints_its_path(trained, here, capsys):
    assert run_cli(capsys, "film", trained.path, "--out", "f.gif") == (0, "f.gif\n", "")
    code, out, _ = run_cli(capsys, "film", trained.path, "--layer", "conv2", "--kernel", 3, "--json")
    assert (code, json.loads(out)["film"]) == (0, str(trained.path / "plots" / "film-conv2.gif"))


NOWHERE = "nowhere: no such run directory; 'lenscope runs' lists those there are"
LAYER = "unknown layer 'conv9'; did you mean 'conv2'? known: conv1, conv2"


@pytest.mark.parametrize(("arguments", "code", "line"), [
    (("report",), 2, "got no run, expected one or more; lenscope report RUN…"),
    (("report", "nowhere"), 1, NOWHERE),
    (("insight", "nowhere"), 1, NOWHERE),
    (("film", "RUN", "--layer", "conv9"), 2, LAYER),
    (("film", "RUN", "--out", "f.avi"), 2, "--out f.avi: got .avi, expected .gif or .webp"),
])  # fmt: skip
def test_what_cannot_be_is_one_line(trained, here, capsys, arguments, code, line):
    given = [trained.path if argument == "RUN" else argument for argument in arguments]
    got, out, err = run_cli(capsys, *given)
    assert (got, out, err) == (code, "", f"lenscope {arguments[0]}: {line}\n")
    assert list(here.iterdir()) == []


def test_a_broken_film_is_one_line_and_nothing_is_written(trained, here, capsys):
    shutil.copytree(trained.path, here / "run")
    (here / "run" / "film.bin").write_bytes(b"short")
    (here / "run" / "report.html").unlink(missing_ok=True)
    for verb in ("report", "insight", "film"):
        code, out, err = run_cli(capsys, verb, "run")
        assert (code, out) == (1, "")
        assert err == f"lenscope {verb}: run/film.bin: differs from the manifest; the file was changed after the run\n"
    assert not (here / "run" / "report.html").exists()
