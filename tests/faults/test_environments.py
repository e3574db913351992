"""No run resumes or is repeated with other bytes without a word, whatever is another than before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import in_full
from lenscope import native

pytestmark = pytest.mark.slow

CASES = in_full(12, 200)
WRONG = ("other bytes, SILENT", "a sound run was called broken", "crashed")
SCRIPT = Path(__file__).parents[1] / "environments.py"


def groups() -> list[dict[str, str]]:
    """Variables of the processes that resume, each for some of the cases."""
    *_, least = native.load().instruction_sets()
    return [
        {},
        {"ATEN_CPU_CAPABILITY": "default", "LC_ALL": "C"},
        {"ATEN_CPU_CAPABILITY": "avx2", "LENSCOPE_ISA": least},
        {"LENSCOPE_ISA": least, "PYTHONHASHSEED": "7"},
        {"MKL_CBWR": "COMPATIBLE", "TZ": "Asia/Tokyo"},
        {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "2"},
    ]


def run(arguments: list[str], variables: dict[str, str]) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_run_ends_with_other_bytes_without_a_word(tmp_path, tally) -> None:
    run(["begin", str(tmp_path), *map(str, range(CASES))], {})
    found = []
    for place, variables in enumerate(groups()):
        numbers = [str(number) for number in range(place, CASES, len(groups()))]
        found += [json.loads(line) for line in run(["resume", str(tmp_path), *numbers], variables).splitlines()]
    assert len(found) == CASES
    for verb in ("resume", "replay"):
        ways = Counter(case[verb].partition(":")[0] for case in found)
        wrong = {case["number"]: case[verb] for case in found if case[verb].startswith(WRONG)}
        assert not wrong, wrong
        assert ways["refused"] < CASES / 2
        counted = ", ".join(f"{way} {count}" for way, count in ways.most_common())
        tally(f"{verb} of {CASES} runs in random environments: {counted}; other bytes without a word 0")
