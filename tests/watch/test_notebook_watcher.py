from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import IPython.display
import numpy as np
import pytest

from lenscope.config import TrainConfig
from lenscope.training.events import EpochDone, EpochMetrics, RunFinished, RunStarted, StepsDone
from lenscope.watch.notebook import NotebookWatcher, in_notebook


class Page:
    """Keeps what a notebook would show, output by output."""

    def __init__(self):
        self.outputs = []

    def display(self, shown, *, raw, display_id=False):
        assert raw is True
        self.outputs.append([shown])
        place = self.outputs[-1]
        return SimpleNamespace(update=lambda shown, *, raw: place.append(shown) if raw else None)


@pytest.fixture
def page(monkeypatch):
    page = Page()
    monkeypatch.setattr(IPython.display, "display", page.display)
    return page


def started():
    config = TrainConfig(device="cpu", epochs=2)
    return RunStarted(config, 60, 0, 20, tuple("0123456789"), 1, 6, 3, "torch", "cpu", 2, {})


def test_one_display_is_made_and_then_updated_for_each_epoch(page):
    watcher = NotebookWatcher()
    watcher(started())
    [[start]] = page.outputs
    assert start["text/plain"].startswith("data      mnist: 60 training images, 20 test images")
    watcher(EpochDone(EpochMetrics(0, test_loss=2.3, test_accuracy=0.1)))
    watcher(StepsDone(1, 3, np.ones(3, np.float32), np.ones(3)))
    watcher(
        EpochDone(EpochMetrics(1, 1.0, test_loss=0.8, test_accuracy=0.75, train_seconds=1.0, evaluation_seconds=0.2))
    )
    watcher(EpochDone(EpochMetrics(2, 0.9)))
    watcher(RunFinished(6, {}))
    watcher.close()
    _, pictures = page.outputs
    assert [shown["text/plain"] for shown in pictures] == [
        "epoch 0 of 2: test accuracy 10.00 %",
        "epoch 1 of 2: test accuracy 75.00 %, 1.2 s",
        "epoch 2 of 2",
    ]
    assert all(shown["image/png"].startswith(b"\x89PNG\r\n\x1a\n") for shown in pictures)
    assert len({shown["image/png"] for shown in pictures}) == 3


def test_a_run_that_goes_on_is_drawn_from_its_first_epoch_on(page):
    rows = (EpochMetrics(0, test_loss=2.3, test_accuracy=0.1), EpochMetrics(1, 1.0, test_loss=0.8, test_accuracy=0.75))
    last = EpochMetrics(2, 0.9, test_loss=0.7, test_accuracy=0.8)
    through, again = NotebookWatcher(), NotebookWatcher()
    through(started())
    for row in (*rows, last):
        through(EpochDone(row))
    again(replace(started(), rows=rows))
    again(EpochDone(last))
    assert page.outputs[-1][-1]["image/png"] == page.outputs[1][-1]["image/png"]


def test_rows_before_the_start_are_not_drawn(page):
    watcher = NotebookWatcher()
    watcher(EpochDone(EpochMetrics(0, test_loss=2.3)))
    assert page.outputs == []


@pytest.mark.parametrize(
    ("shell", "expected"), [(SimpleNamespace(kernel=1), True), (SimpleNamespace(), False), (None, False)]
)
def test_only_a_shell_with_a_kernel_is_a_notebook(monkeypatch, shell, expected):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert in_notebook() is expected
    monkeypatch.delitem(sys.modules, "IPython")
    assert in_notebook() is False
