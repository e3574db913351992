"""The same run in fresh processes that differ in all that must not matter ends with the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import in_full

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

PROCESSES = in_full(4, 20)
PLACES = [("C", "UTC"), ("C.UTF-8", "Asia/Tokyo"), ("de_DE.UTF-8", "America/St_Johns"), ("tr_TR.UTF-8", "Etc/GMT-14")]
# The run's directory, its engine and its number of threads; prints one hash of what came of it.
SCRIPT = """
import hashlib, sys
from pathlib import Path
import numpy as np
import lenscope
from lenscope.data.dataset import Splits
whole = lenscope.load("mnist")
data = Splits(whole.train.take(np.arange(120)), test=whole.test.take(np.arange(50)))
path, engine, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
lenscope.train(data, out=path, progress=False, engine=engine, threads=threads, epochs=2, batch_size=16, validation=20,
               learning_rate=1e-3, schedule="cosine", augment="rotation=10,shift=1,elastic=0.6", train_accuracy=True)
digest = hashlib.sha256()
for name in ("losses.f32", "film.bin", "weights/final.safetensors"):
    digest.update((path / name).read_bytes())
print(digest.hexdigest())
"""


def hash_in_a_process(number: int, folder: Path, engine: str, threads: int) -> str:
    """The hash, from a process with its own seed of hashes, place, folder, and filling of memory that is not set."""
    language, zone = PLACES[number % len(PLACES)]
    surroundings = {
        "PYTHONHASHSEED": str(number * 7919),
        "LC_ALL": language,
        "TZ": zone,
        "PYTHONMALLOC": "malloc" if number % 2 else "pymalloc",
        "MALLOC_PERTURB_": str(number * 37 % 256),
        "PYTHONOPTIMIZE": str(number % 3),
        "UNRELATED": "x" * 100 * number,  # moves what lies on the stack
    }
    folder.mkdir()
    command = [sys.executable, "-c", SCRIPT, folder / "run", engine, str(threads)]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | surroundings, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(("engine", "threads"), [("fused", (1, 2, 3)), ("torch", (2,))])
def test_fresh_processes_come_to_the_same_bytes(tmp_path, tally, engine, threads) -> None:
    hashes = {
        hash_in_a_process(number, tmp_path / f"{number}-ä", engine, threads[number % len(threads)])
        for number in range(PROCESSES)
    }
    counts = " to ".join(map(str, sorted({min(threads), max(threads)})))
    tally(f"{PROCESSES} fresh processes, {engine} engine, {counts} threads: different hashes: {len(hashes)}")
    assert len(hashes) == 1
