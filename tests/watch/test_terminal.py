from __future__ import annotations

import dataclasses
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import lenscope
from lenscope.cli import main
from lenscope.config import RECIPES, TrainConfig, resolve
from lenscope.pytorch.engine import TorchEngine
from lenscope.pytorch.nets.build import build
from lenscope.training.events import EpochDone, EpochMetrics, RunStarted, RunStopped, StepsDone
from lenscope.training.fit import fit
from lenscope.watch.terminal import TerminalWatcher, describe_start

GOLDEN = Path(__file__).parents[1] / "golden"


def events_of(splits, **settings):
    config = TrainConfig(**{"batch_size": 20, "epochs": 2, "device": "cpu", **settings})
    sized = splits.resized(32)
    return fit(config, sized, TorchEngine(build("lenet", 1, 10, 0), sized.train, config))


def shown(events, *, terminal=False):
    """What a watcher writes of these events on a console of width 100, and what had been on its screen."""
    file = io.StringIO()
    console = Console(
        file=file, width=100, force_terminal=terminal, color_system=None, legacy_windows=False, _environ={}
    )
    watcher = TerminalWatcher(console)
    try:
        for event in events:
            watcher(timeless(event))
            if terminal:
                watcher._progress.refresh()
    finally:
        watcher.close()
    return file.getvalue()


def timeless(event):
    """The event with timings that do not vary."""
    if not isinstance(event, EpochDone):
        return event
    metrics = replace(event.metrics, evaluation_seconds=0.25)
    if metrics.epoch:
        metrics = replace(metrics, train_seconds=1.0, images_per_second=12345.6)
    return EpochDone(metrics)


@pytest.mark.parametrize(
    ("name", "validation"), [("terminal-lecture", 0), ("terminal-validation", 10)], ids=["plain", "validation"]
)
def test_the_transcript_of_a_run(tiny, name, validation):
    text = shown(events_of(tiny.hold_out(validation, 0), validation=validation))
    assert text == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_on_a_terminal_a_bar_appears_and_is_gone_at_the_end(tiny):
    text = shown(events_of(tiny, epochs=3), terminal=True)
    assert "━" in text
    assert re.search(r"epoch 1 ━+.* [123]/3 loss \d\.\d{4}", text)
    assert re.search(r"epoch 3 ━+", text)
    screen = text.rsplit("\x1b[2K", 1)[1]  # what stands after the last line was erased
    assert "━" not in screen
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") >= 1  # the cursor is back
    plain = shown(events_of(tiny, epochs=3)).splitlines()
    assert all(line in text for line in plain[-3:])


def test_each_epoch_has_an_estimate_of_its_own(tiny):
    """The bar starts anew: a task that was once finished would say 0:00:00 for ever."""
    watcher = TerminalWatcher(Console(file=io.StringIO(), width=100, force_terminal=True, _environ={}))
    for event in events_of(tiny, batch_size=2):
        watcher(event)
        if isinstance(event, StepsDone):
            (task,) = watcher._progress.tasks
            done = event.step - 30 * (event.epoch - 1)
            assert (task.completed, task.total, task.finished) == (done, 30, done == 30)
            assert task.description == f"epoch {event.epoch}"
    watcher.close()


def test_a_stopped_run_takes_the_bar_away():
    file = io.StringIO()
    watcher = TerminalWatcher(Console(file=file, width=100, force_terminal=True, _environ={}))
    config = TrainConfig(device="cpu")
    watcher(RunStarted(config, 60, 0, 20, tuple("0123456789"), 1, 6, 3, "torch", "cpu", 2, {}))
    watcher(RunStopped(1, {}, "interrupted"))
    assert watcher._progress.finished is False
    assert not watcher._progress.live.is_started
    watcher.close()


def test_steps_before_the_start_are_no_error(tiny):
    watcher = TerminalWatcher(Console(file=io.StringIO()))
    watcher(next(event for event in events_of(tiny) if isinstance(event, StepsDone)))
    watcher.close()


def test_without_test_images_the_accuracy_is_that_of_the_validation_part():
    file = io.StringIO()
    watcher = TerminalWatcher(Console(file=file, width=100))
    watcher(EpochDone(EpochMetrics(3, 0.5, None, 0.6, 0.875, train_seconds=1.0)))
    watcher(EpochDone(EpochMetrics(4, 0.5)))
    with_accuracy, without = file.getvalue().splitlines()
    assert with_accuracy.split() == ["3", "0.5000", "87.50", "%", "1.00"]
    assert without.split() == ["4", "0.5000", "0.00"]


def test_a_loss_near_zero_has_no_minus_and_a_huge_one_fits_its_column(tiny, tiny_run, monkeypatch, capsys):
    """Float32 can give a log-probability a little above 0."""
    file = io.StringIO()
    TerminalWatcher(Console(file=file, width=100))(EpochDone(EpochMetrics(1, -1e-9, test_loss=-1e-6)))
    TerminalWatcher(Console(file=file, width=100))(EpochDone(EpochMetrics(1, 1.2e12, test_loss=99_999.5)))
    assert file.getvalue().split()[1:3] == ["0.0000", "0.0000"]
    assert file.getvalue().splitlines()[1].startswith("    1    1.20e+12  99999.5000")
    sure = lenscope.api.evaluate(tiny_run, tiny)
    monkeypatch.setattr("lenscope.api.evaluate", lambda *_, **__: replace(sure, loss=-1e-9))
    assert main(["evaluate", str(tiny_run.path)]) == 0
    assert capsys.readouterr().out.endswith("loss 0.0000 nats per image\n")


@pytest.mark.parametrize(
    ("device", "said"), [("cpu", "on the CPU, 2 threads"), ("cuda", "on the GPU"), ("mps", "on the GPU")]
)
def test_the_start_tells_where_it_runs_and_gd_its_whole_batch(device, said):
    config = TrainConfig(optimizer="gd", device="cpu", learning_rate=0.5, epochs=7)
    started = RunStarted(config, 60_000, 0, 10_000, tuple("0123456789"), 1, 7, 1, "torch", device, 2, {})
    data, engine, recipe, *summary = describe_start(started)
    assert data == "data      mnist: 60,000 training images, 10,000 test images, 10 classes"
    assert engine == f"engine    torch, {said}"
    assert "gd, learning rate 0.5 (constant), batches of 60,000, 7 epochs of 1 step, seed 0" in recipe
    assert any("60000×6×14×14" in line for line in summary)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_as_it_stands_is_not_said_to_be_changed(recipe):
    config = resolve(recipe, device="cpu")
    started = RunStarted(config, 60_000, 0, 10_000, tuple("0123456789"), 1, 7, 1, "torch", "cpu", 2, {})
    said = list(describe_start(started))[2]
    assert said.startswith(f"recipe    {recipe}: adam")
    assert ("distorted by" in said) == config.augment.distorts
    changed = RunStarted(resolve(recipe, epochs=77), *dataclasses.astuple(started)[1:])
    assert "with changes" in list(describe_start(changed))[2]
