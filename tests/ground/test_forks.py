"""Forked children of a process that has trained with two threads: they train too, or say why not, and never hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lenscope import forks
from lenscope.errors import UsageError
from lenscope.pytorch import devices

FORKS = Path(__file__).parents[1] / "forks.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_trains_or_says_why_not(tmp_path):
    told = subprocess.run([sys.executable, FORKS, tmp_path], capture_output=True, text=True, timeout=200, check=True)
    assert json.loads(told.stdout) == {
        "loaded in the child alone": "1",
        "fused": "(2, True)",
        "torch": "(1, False)",
        "torch, two threads": (
            "threads: got 2 in a forked process, where PyTorch can use 1; pass threads=1 or start processes with "
            "multiprocessing's spawn"
        ),
        "fused, beside a team": "(2, True)",
    }


def test_several_threads_are_refused_in_another_process_than_the_first(monkeypatch):
    monkeypatch.setattr(forks, "_limited", [1])
    devices.set_threads(1)
    with pytest.raises(UsageError, match="threads: got 2 in a forked process"):
        devices.set_threads(2)


def test_a_gpu_of_the_parent_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    for name in ("auto", "cuda"):
        with pytest.raises(UsageError, match="device cuda: a forked process cannot use the GPU of its parent"):
            devices.choose_device(name)
    assert devices.choose_device("cpu").type == "cpu"
