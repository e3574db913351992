"""A run survives what ends its process. In full with LENSCOPE_TORTURE=1, as `make torture` has it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import in_full

pytestmark = pytest.mark.slow

KILLS = in_full(50, 300)
SCRIPT = Path(__file__).parents[1] / "kills.py"


def test_a_run_killed_at_random_moments_ends_with_the_bytes_of_one_that_lived(tmp_path, tally):
    command = [sys.executable, SCRIPT, str(KILLS), tmp_path]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    equal, runs, kills = map(int, re.findall(r"\d+", done.stdout))
    assert equal == runs
    assert kills >= KILLS
    tally(f"kill -9 at random moments: {equal} of {runs} runs ended with the bytes of one that lived; {kills} kills")
