"""`lenscope runs` and `compare` of ten runs, as they are read: in 80 and in 120 columns, and with hostile names."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from fixtures_runs import plant
from lenscope.config import TrainConfig
from lenscope.runs.files.metrics import HEADER, encode_row
from lenscope.training.events import EpochMetrics

LONG = "a-long-name-that-says-everything-about-the-run-with-the-learning-rate-"


def write_run(source: Path, path: Path, number: int, **settings: object) -> None:
    """A copy of a run with other settings, times and metrics, and nothing that depends on the machine."""
    shutil.copytree(source, path)
    config = TrainConfig(batch_size=(50, 100)[number % 2], seed=number).with_settings(**settings)
    plant(path, "config.toml", config.to_toml().encode())
    facts = json.loads((path / "environment.json").read_text())
    facts |= {"engine": "fused", "device": "cpu", "threads": 2, "processor": "AMD EPYC"}
    facts["data"] |= {"test_images": 10_000}
    plant(path, "environment.json", json.dumps(facts).encode())
    status = json.loads((path / "status.json").read_text())
    started = f"2026-11-{30 - number:02d}T08:05:00+00:00"
    (path / "status.json").write_text(json.dumps(status | {"started": started, "ended": started}))
    rows = [EpochMetrics(0, test_loss=2.3, test_accuracy=0.1, evaluation_seconds=0.1)]
    for epoch in range(1, config.epochs + 1):
        loss = 1 / (epoch + number)
        row = EpochMetrics(epoch, loss, test_loss=loss, test_accuracy=1 - loss / 10, train_seconds=number / 8)
        rows.append(row)
    plant(path, "metrics.csv", HEADER.encode() + b"".join(map(encode_row, rows)))


@pytest.fixture
def ten(digits_run, here, monkeypatch):
    """Ten runs in `runs`; the clock is in UTC."""
    for number in range(8):
        write_run(digits_run.path, here / "runs" / f"run-{number}", number, learning_rate=(1e-3, 1e-4)[number // 4])
    write_run(
        digits_run.path, here / "runs" / f"{LONG}1", 8, learning_rate=1.0, epochs=30, augment="shift=2,rotation=10"
    )
    write_run(digits_run.path, here / "runs" / "evil\x1b[31m\u202e日本", 9, train_images=40)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield sorted(Path("runs").iterdir())
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("columns", [80, 120])
def test_ten_runs_are_listed_and_compared_within_the_width(columns, ten, cli, golden, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    text = ""
    for command in (("runs", "--sort", "accuracy"), ("compare", *ten), ("compare", "runs/run-0", "runs/run-1")):
        code, out, err = cli(*command)
        assert (code, err) == (0, "")
        assert max(map(cell_len, out.splitlines())) <= columns
        shown = " ".join(command) if len(command) == 3 else f"{command[0]} runs/*"
        text += f"$ lenscope {shown}\n{out}\n"
    golden(f"lists-{columns}.txt", text)


def test_without_a_terminal_settings_are_not_cut(ten, cli):
    out = cli("runs").out
    assert "batch size 50, learning rate 1, augment shift=2,rotation=10, seed 8\n" in out
    assert r"evil\x1b[31m\u202e日本  " in out
    assert "a-long-name-…arning-rate-1  " in out


def test_runs_are_sorted_and_their_json_has_numbers(ten, cli):
    def names(*arguments):
        return [row["name"] for row in json.loads(cli("runs", "--json", *arguments).out)]

    assert names()[-1] == "run-0"  # the latest
    assert names("--sort", "name")[:2] == [f"{LONG}1", ten[1].name]
    assert names("--sort", "name", "--reverse") == names("--sort", "name")[::-1]
    assert names("--sort", "accuracy")[0] == "run-0"
    assert names("--sort", "seconds")[-1] == f"{LONG}1"
    row = json.loads(cli("runs", "--json", "--sort", "accuracy").out)[0]
    assert row["accuracy"] == 0.99
    assert row["accuracy_interval"] == pytest.approx([0.98785, 0.99178], abs=1e-5)
    assert (row["split"], row["started"]) == ("test", "2026-11-30T08:05:00+00:00")
    assert row["settings"] == {
        "epochs": 10,
        "batch_size": 50,
        "learning_rate": 1e-3,
        "augment": TrainConfig().augment.model_dump(),
        "train_images": None,
        "seed": 0,
    }


def test_a_run_several_directories_and_an_experiment_are_listed(ten, cli, monkeypatch):
    shutil.copytree("runs/run-1", "experiments/race/runs/run-1")
    [row] = json.loads(cli("runs", "runs/run-3", "--json").out)
    assert (row["name"], row["settings"]) == ("run-3", {})
    assert [row["name"] for row in json.loads(cli("runs", "experiments/race", "--json").out)] == ["run-1"]
    for name in ("ada", "bob"):  # two unpacked archives
        shutil.copytree("runs/run-1", f"handins/{name}/run-1")
    Path("handins/bob/run-1/losses.f32").write_bytes(b"cut")
    out = cli("runs", "handins").out
    assert out.startswith("run    ")
    assert "\nrun-1  " in out
    assert "broken: handins/bob/run-1/losses.f32: 3 bytes, expected " in out
    Path("runs/run-2/config.toml").unlink()
    monkeypatch.setenv("COLUMNS", "200")
    out = cli("runs", "runs", "experiments/race").out
    paths = [Path("experiments/race/runs/run-1"), Path("runs/run-1")]
    assert all(f"\n{path} " in out for path in paths)  # two runs of one name
    assert out.splitlines()[-1].startswith("broken: runs/run-2: lacks config.toml")
    assert cli("runs", "runs", "nowhere").code == 2
