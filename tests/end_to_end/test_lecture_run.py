"""The lecture's experiment on the real data, once, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lenscope
from lenscope.insight import lecture

pytestmark = pytest.mark.slow


# Linux counts to a process's ru_maxrss what its parent held before it; VmHWM is its own.
MEASURED = """
import pathlib, re, sys
from lenscope.cli import main
code = main(["train", "--device", "cpu", "--json"])
status = pathlib.Path("/proc/self/status")
peak = re.search(r"VmHWM:\\s*(\\d+)", status.read_text())[1] if status.exists() else 0
print(1024 * int(peak), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run of `lenscope train --json`, what it printed, and the most memory that it took, in bytes."""
    where = tmp_path_factory.mktemp("lecture")
    done = subprocess.run([sys.executable, "-c", MEASURED], cwd=where, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    return lenscope.open_run(where / result["run"]), result, done.stderr, int(done.stderr.splitlines()[-1])


def test_each_epoch_is_near_the_lectures_table(trained):
    run, *_ = trained
    bounds = (0.025, 0.015, 0.015, 0.015, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01)
    assert np.all(np.abs(run.metrics.test_accuracy[1:] - lecture.ACCURACY) <= bounds)
    printed = np.array(lecture.LOSS_AS_PRINTED[:9], dtype=float)
    assert np.all(np.abs(run.metrics.train_loss[1:10] / lecture.BATCH_SIZE / printed - 1) <= 0.15)


def test_it_prints_counts_device_and_recap_before_it_trains(trained):
    _, _, said, _ = trained
    start = said.index("epoch  train loss")
    for words in ("60,000 training images", "10,000 test images", "on the CPU", "61,706"):
        assert said.index(words) < start


def test_the_run_directory_holds_everything(trained):
    run, result, *_ = trained
    assert run.status.state == "finished"
    assert run.film.steps.tolist() == [0, 1, 2, 5, 10, 20, 50, 100, 200, 400, *range(600, 6001, 600)]
    assert len(run.losses) == 6000
    names = {"curves", "kernels-conv1", "kernels-conv1-lecture", "kernels-conv2", "kernels-conv2-lecture"}
    assert {path.stem for path in (run.path / "plots").iterdir()} == names | {"confusion", "mistakes"}
    assert lenscope.evaluate(run).accuracy == result["accuracy"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say how much memory was used")
def test_peak_memory_is_at_most_300_mb(trained):
    assert 100e6 < trained[3] < 300e6
