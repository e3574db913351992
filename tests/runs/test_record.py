from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save

from fixtures_runs import plant
from lenscope.config import TrainConfig
from lenscope.errors import ConfigError, Interrupted, NonFiniteError, RunError, StorageError, UsageError
from lenscope.runs import record
from lenscope.runs.record import record_run
from lenscope.runs.replay import replay_run
from lenscope.runs.run import open_run
from lenscope.runs.verify import verify_run
from lenscope.training.events import EpochDone, Event, RunFinished, RunStarted, RunStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = TrainConfig(epochs=1, batch_size=20)


class Watch:
    """Keeps the events, counts the closings, and does something at each event."""

    def __init__(self, act: Callable[[Event], None] = lambda _: None) -> None:
        self.act, self.events, self.closed = act, list[Event](), 0

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.act(event)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def at_epoch(number: int, act: Callable[[], None]) -> Watch:
    return Watch(lambda event: act() if isinstance(event, EpochDone) and event.metrics.epoch == number else None)


def test_the_watcher_sees_all_and_is_closed_once(tiny, out: Path) -> None:
    watch = Watch()
    run = record_run(QUICK, tiny, out, watch)
    assert run.path == out
    assert isinstance(watch.events[0], RunStarted)
    assert isinstance(watch.events[-1], RunFinished)
    assert [event.metrics for event in watch.events if isinstance(event, EpochDone)] == run.metrics.rows()
    assert watch.closed == 1


def test_without_out_the_run_numbers_itself_under_runs(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert record_run(QUICK, tiny, None).path == Path("runs/mnist-lenet-001")


def test_the_data_of_a_run_are_described_without_the_test_part_if_there_is_none(tiny, out: Path) -> None:
    run = record_run(QUICK, replace(tiny, test=None), out)
    assert (run.data.train_images, run.data.test_images) == (60, 0)
    assert (run.data.train_sha256, run.data.test_sha256) == (tiny.train.sha256, None)
    assert np.isnan(run.metrics.test_accuracy).all()


def test_validation_is_held_out_of_the_training_images(tiny, out: Path) -> None:
    run = record_run(QUICK.with_settings(validation=0.25), tiny, out)
    assert (run.data.train_images, run.data.validation_images) == (45, 15)
    assert np.isfinite(run.metrics.validation_loss).all()
    assert len(run.losses) == 3


def test_patience_ends_a_run_that_gets_no_better_and_says_so(tiny, out: Path) -> None:
    config = QUICK.with_settings(epochs=9, validation=20, patience=2, learning_rate=1e-30)
    run = record_run(config, tiny, out)
    losses = run.metrics.validation_loss
    assert len(losses) - 1 - np.argmin(losses[1:]) - 1 == 2
    assert len(losses) < 10
    assert run.status.state == "finished"
    assert run.status.why == "no lower validation loss for 2 epochs"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 61}, "batch_size: got 61, expected at most the 60"),
        ({"validation": 60}, "validation: got 60 of 60"),
        ({"device": "mps"}, "--device mps: not available"),
        ({"init_from": "no/such"}, "no/such: no such run directory"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tiny, out: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises((ConfigError, UsageError, RunError), match=message):
        record_run(QUICK.with_settings(**settings), tiny, out)
    assert not out.exists()


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def handled(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal with a handler of somebody's own."""
    before = signal.signal(request.param, not_called)
    yield request.param
    signal.signal(request.param, before)


def not_called(_number: int, _frame: object) -> None:
    raise AssertionError("the handler of before was called while a run was listening")


def test_a_signal_ends_the_run_after_the_step_in_hand_with_all_that_was_done(
    tiny, out: Path, handled: signal.Signals
) -> None:
    watch = at_epoch(1, lambda: os.kill(os.getpid(), handled))
    with pytest.raises(Interrupted, match=f"interrupted; resume with: lenscope train --resume {out}") as caught:
        record_run(QUICK.with_settings(epochs=5), tiny, out, watch)
    assert (caught.value.path, caught.value.signal) == (out, handled)
    assert signal.getsignal(handled) is not_called
    assert watch.closed == 1
    stopped = watch.events[-1]
    assert isinstance(stopped, RunStopped)
    run = open_run(out)
    assert (run.status.state, run.status.why) == ("interrupted", "interrupted")
    assert run.metrics.epoch.tolist() == [0, 1]
    assert all(np.array_equal(array, stopped.weights[name]) for name, array in run.weights().items())


def test_a_keyboard_interrupt_in_between_leaves_a_run_that_opens(tiny, out: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    watch = at_epoch(1, interrupt)
    with pytest.raises(KeyboardInterrupt):
        record_run(QUICK.with_settings(epochs=5), tiny, out, watch)
    assert watch.closed == 1
    run = open_run(out)
    assert run.status.state == "interrupted"
    assert run.metrics.epoch.tolist() == [0, 1]


def test_a_watcher_that_fails_ends_the_run_as_failed(tiny, out: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a watcher's own fault")

    watch = at_epoch(0, fail)
    with pytest.raises(ZeroDivisionError):
        record_run(QUICK, tiny, out, watch)
    assert watch.closed == 1
    assert (open_run(out).status.state, open_run(out).status.why) == ("failed", "a watcher's own fault")


def test_a_rate_too_high_keeps_the_last_weights_that_gave_a_finite_loss(tiny, out: Path) -> None:
    watch = Watch()
    with pytest.raises(NonFiniteError) as caught:
        record_run(QUICK.with_settings(optimizer="sgd", learning_rate=1e30), tiny, out, watch)
    assert watch.closed == 1
    run = open_run(out)
    assert (run.status.state, run.status.why) == ("failed", str(caught.value))
    assert len(run.losses) == caught.value.step - 1 <= 1
    initial = run.weights("initial")  # what step 1 makes of them gives no finite loss any more
    assert all(np.isfinite(array).all() for array in initial.values())
    assert all(np.array_equal(array, initial[name]) for name, array in run.weights("final").items())


def test_weights_that_are_not_finite_are_no_start(tiny, tiny_run, tmp_path: Path, out: Path) -> None:
    weights = {name: array.copy() for name, array in tiny_run.weights().items()}
    weights["conv2.bias"][3] = np.inf
    source = Path(shutil.copytree(tiny_run.path, tmp_path / "poisoned"))
    plant(source, "weights/final.safetensors", save(weights))
    with pytest.raises(UsageError, match=rf"--init-from {source}: conv2\.bias is not finite; choose a run with"):
        record_run(QUICK.with_settings(init_from=str(source)), tiny, out)
    assert not out.exists()


def test_a_signal_after_the_last_step_says_that_the_run_is_finished(tiny, out: Path) -> None:
    watch = Watch(lambda event: signal.raise_signal(signal.SIGINT) if isinstance(event, RunFinished) else None)
    with pytest.raises(Interrupted, match=f"^interrupted; the run is finished; draw it with: lenscope plot {out}$"):
        record_run(QUICK, tiny, out, watch)
    assert open_run(out).status.state == "finished"


def test_an_interrupt_before_anything_was_written_leaves_the_name_free(
    tiny, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record, "environment_of", interrupt)
        with pytest.raises(KeyboardInterrupt):
            record_run(QUICK, tiny, out)
    assert not out.exists()
    record_run(QUICK, tiny, out)


@pytest.mark.parametrize("refused", [2, 20])
def test_a_full_disk_ends_the_run_with_a_storage_error_and_closes_the_watcher(
    tiny, out: Path, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    calls: list[int] = []

    def sync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == refused:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)
    watch = Watch()
    with pytest.raises(StorageError, match="No space left on device"):
        record_run(QUICK, tiny, out, watch)
    assert watch.closed == 1
    assert not list(out.rglob("*.part"))
    if refused == 2:  # nothing at all could be written, so the name is free again
        assert not out.exists()
    else:
        assert open_run(out).status.state == "failed"


def test_a_run_on_few_images_knows_them_and_the_whole_set(tiny, out) -> None:
    run = record_run(QUICK.with_settings(train_images=23, validation=11), tiny, out)
    assert (run.data.train_images, run.data.validation_images) == (23, 11)
    assert run.data.train_sha256 == tiny.train.sha256
    assert len(run.losses) == 2
    assert all(finding.sound for finding in [*verify_run(run), *replay_run(run, tiny)])
    with pytest.raises(ConfigError, match="train_images: got 61, expected at most the 60 training images"):
        record_run(QUICK.with_settings(train_images=61), tiny, out / "more")


def test_a_run_of_an_earlier_release_keeps_the_images_that_it_held_out(tiny, out: Path) -> None:
    """Its settings do not name the rule, and then classes were not looked at."""
    record_run(QUICK.with_settings(validation=15, stratify=False), tiny, out)
    before = (out / "config.toml").read_bytes().replace(b"stratify = false\n", b"")
    plant(out, "config.toml", before)
    assert b"stratify" not in before
    assert not open_run(out).config.stratify
    assert all(finding.sound for finding in replay_run(open_run(out), tiny))


def test_a_set_smaller_than_the_recipes_batch_trains_in_one_batch_and_keeps_that(tiny, out: Path) -> None:
    watch = Watch()
    run = record_run(TrainConfig(epochs=1), tiny, out, watch)
    assert run.config.batch_size == 60
    [started] = [event for event in watch.events if isinstance(event, RunStarted)]
    [note] = started.notes
    assert note.startswith("batch size 60, all training images (the recipe's is 100): one step per epoch; a smaller")
    assert all(finding.sound for finding in [*verify_run(run), *replay_run(run, tiny)])
