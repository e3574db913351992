from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lenscope.config import TrainConfig
from lenscope.data.dataset import Splits
from lenscope.errors import ConfigError, NonFiniteError
from lenscope.pytorch.engine import TorchEngine
from lenscope.pytorch.nets.build import build
from lenscope.randomness import Purpose, random_order
from lenscope.training import fit as fit_module
from lenscope.training.engine import Score
from lenscope.training.events import (
    Checkpoint,
    EpochDone,
    RunFinished,
    RunStarted,
    RunStopped,
    Snapshot,
    State,
    StepsDone,
)
from lenscope.training.fit import Start, fit


class Spy:
    """An engine that trains nothing: a step's loss is the mean of its indices, and it keeps what it was asked."""

    name, device, threads, ranks, isa, failed_layer, note = "spy", "cpu", 3, 1, None, "", ""

    def __init__(self, validation_losses=()):
        self.batches, self.rates, self.calls, self.epochs, self.scored = [], [], [], [], []
        self.validation_losses = iter(validation_losses)

    def run(self, epoch, batches, learning_rates, _stop):
        self.epochs += [epoch] * len(batches)
        self.calls.append(len(batches))
        self.batches += batches
        self.rates += learning_rates
        return np.array([batch.mean() for batch in batches], np.float32)

    def evaluate(self, dataset, _look):
        self.scored.append(len(dataset))
        return Score(next(self.validation_losses, 1.0) if len(dataset) == 6 else 3.0, 0.5)

    def weights(self):
        return {"w": np.array([len(self.batches)], np.float32)}

    def kernels(self):
        return {"conv1": np.array([len(self.batches)], np.float32)}

    def state(self):
        nothing = np.empty(0, np.float32)
        return State(self.weights(), len(self.batches), nothing, nothing)

    def load(self, _state):
        raise AssertionError("nothing was to go on")


def settings(**changes):
    return TrainConfig(**{"device": "cpu", "batch_size": 25, "epochs": 2, **changes})


def trained(splits, stop=lambda: False, plant=None, start=None, **changes):
    """The events of a run on the torch engine, and the engine."""
    config, sized = settings(**changes), splits.resized(32)
    engine = TorchEngine(build("lenet", 1, 10, config.seed), sized.train, config)
    if plant:
        plant(engine)
    return list(fit(config, sized, engine, stop, start)), engine


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def losses_of(events):
    return np.concatenate([event.losses for event in of(StepsDone, events)])


def rows_of(events):
    return [event.metrics for event in of(EpochDone, events)]


def same_weights(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture
def in_single_steps(monkeypatch):
    monkeypatch.setattr(fit_module, "CALL_SECONDS", 0.0)


def test_the_events_of_a_run_in_their_order(tiny, in_single_steps):
    events = list(fit(settings(), tiny, Spy()))
    epoch_1 = [StepsDone, Snapshot, StepsDone, Snapshot, StepsDone, Snapshot, EpochDone]
    epoch_2 = [StepsDone, StepsDone, StepsDone, Snapshot, EpochDone]
    assert [type(event) for event in events] == [
        RunStarted, Snapshot, EpochDone, *epoch_1, *epoch_2, Checkpoint, RunFinished
    ]  # fmt: skip
    assert [event.step for event in of(Snapshot, events)] == [0, 1, 2, 3, 6]
    assert [event.kernels["conv1"][0] for event in of(Snapshot, events)] == [0, 1, 2, 3, 6]
    assert [(event.epoch, event.step) for event in of(StepsDone, events)] == [
        (1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)
    ]  # fmt: skip
    last = events[-1]
    assert (last.step, last.why, last.weights["w"][0]) == (6, None, 6)


def test_the_start_tells_what_is_to_come(tiny):
    config = settings(validation=6)
    started = next(fit(config, tiny.hold_out(6, 0), Spy()))
    assert started.config is config
    assert (started.train_images, started.validation_images, started.test_images) == (54, 6, 20)
    assert (started.classes, started.channels) == (tuple("0123456789"), 1)
    assert (started.steps, started.steps_per_epoch) == (6, 3)
    assert (started.engine, started.device, started.threads) == ("spy", "cpu", 3)
    assert started.weights["w"][0] == 0
    alone = next(fit(settings(), replace(tiny, test=None), Spy()))
    assert (alone.validation_images, alone.test_images) == (0, 0)


def test_row_0_is_the_untrained_network(tiny):
    events, _ = trained(tiny)
    row = rows_of(events)[0]
    untrained = TorchEngine(build("lenet", 1, 10, 0), tiny.train.resized(32), settings())
    assert (row.test_loss, row.test_accuracy) == untrained.evaluate(tiny.test.resized(32))
    assert row.epoch == 0
    assert row.evaluation_seconds > 0
    assert {row.train_loss, row.train_accuracy, row.validation_loss, row.learning_rate, row.train_seconds,
            row.images_per_second} == {None}  # fmt: skip


def test_parts_that_are_not_there_have_empty_cells(tiny):
    row = rows_of(list(fit(settings(), replace(tiny, test=None), Spy())))[-1]
    assert (row.test_loss, row.test_accuracy, row.validation_loss, row.train_accuracy) == (None,) * 4
    row = rows_of(list(fit(settings(train_accuracy=True), tiny.hold_out(6, 0), Spy())))[-1]
    assert (row.test_loss, row.validation_loss, row.train_accuracy, row.validation_accuracy) == (3.0, 1.0, 0.5, 0.5)


@pytest.mark.parametrize(("evaluate", "evaluated"), [("spread", [0, 1, 2, 3, 4, 5, 6, 8, 9]), ("last", [0, 9])])
def test_epochs_without_an_evaluation_have_empty_cells_and_train_alike(tiny, evaluate, evaluated):
    splits = tiny.hold_out(6, 0)
    every, some = (trained(splits, epochs=9, evaluate=how)[0] for how in ("every", evaluate))
    for row, asked in zip(rows_of(every), rows_of(some), strict=True):
        measured = (row.validation_loss, row.validation_accuracy, row.test_loss, row.test_accuracy)
        expected = measured if row.epoch in evaluated else (None,) * 4
        assert (asked.validation_loss, asked.validation_accuracy, asked.test_loss, asked.test_accuracy) == expected
        assert (asked.evaluation_seconds is None) == (row.epoch not in evaluated)
    assert [row.train_loss for row in rows_of(every)] == [row.train_loss for row in rows_of(some)]
    assert same_weights(every[-1].weights, some[-1].weights)


@pytest.mark.parametrize("batch_size", [1, 7, 59])
def test_the_epochs_loss_is_the_mean_over_images(tiny, batch_size):
    """A loss that is the mean of indices must come out as the mean of 0 … 59, whatever the batches."""
    events = list(fit(settings(batch_size=batch_size), tiny, Spy()))
    assert [row.train_loss for row in rows_of(events)[1:]] == pytest.approx([29.5, 29.5], rel=1e-6)


def test_every_image_is_seen_once_an_epoch_in_the_seeds_order(tiny):
    engine = Spy()
    list(fit(settings(seed=5, epochs=3), tiny, engine))
    assert [len(batch) for batch in engine.batches] == [25, 25, 10] * 3
    assert engine.epochs == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    for epoch in range(3):
        seen = np.concatenate(engine.batches[3 * epoch : 3 * epoch + 3])
        np.testing.assert_array_equal(np.sort(seen), np.arange(60))
        np.testing.assert_array_equal(seen, random_order(5, Purpose.ORDER, epoch + 1, 60))


def test_gd_is_one_step_an_epoch_on_all_images_whatever_the_batch_size(tiny):
    engine = Spy()
    events = list(fit(settings(optimizer="gd", batch_size=1000, epochs=3), tiny, engine))
    assert [sorted(batch) for batch in engine.batches] == [list(range(60))] * 3
    assert events[0].steps == 3
    assert [event.step for event in of(Snapshot, events)] == [0, 1, 2, 3]


def test_snapshots_are_dense_at_the_start_and_then_one_an_epoch(mnist, monkeypatch):
    monkeypatch.setattr(fit_module, "CALL_SECONDS", 1e9)
    small = replace(mnist, train=mnist.train.take(np.arange(1010)))
    engine = Spy()
    events = list(fit(settings(batch_size=2), small, engine))
    steps = [event.step for event in of(Snapshot, events)]
    assert steps == [0, 1, 2, 5, 10, 20, 50, 100, 200, 400, 505, 1010]
    assert [event.kernels["conv1"][0] for event in of(Snapshot, events)] == steps
    assert engine.calls[-2:] == [1, 504]  # of the second epoch one to measure the speed, then all


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_the_rates_run_through_the_whole_run(tiny, schedule, in_single_steps):
    from lenscope.training.schedules import learning_rates

    engine = Spy()
    events = list(fit(settings(schedule=schedule, epochs=4), tiny, engine))
    expected = learning_rates(schedule, 1e-4, 12, 0, 12)
    np.testing.assert_array_equal(engine.rates, expected)
    np.testing.assert_array_equal(np.concatenate([e.learning_rates for e in of(StepsDone, events)]), expected)
    assert [row.learning_rate for row in rows_of(events)] == [None, *expected[2::3]]


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(tiny):
    first, again, other = (trained(tiny, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(losses_of(first), losses_of(again))
    assert same_weights(first[-1].weights, again[-1].weights)
    assert not np.array_equal(losses_of(first), losses_of(other))
    assert not same_weights(first[-1].weights, other[-1].weights)


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_any_chunking_of_the_calls_gives_the_same_numbers(tiny, monkeypatch, seconds):
    expected, _ = trained(tiny, batch_size=3, schedule="onecycle", learning_rate=1e-3)
    monkeypatch.setattr(fit_module, "CALL_SECONDS", seconds)
    events, _ = trained(tiny, batch_size=3, schedule="onecycle", learning_rate=1e-3)
    np.testing.assert_array_equal(losses_of(events), losses_of(expected))
    assert same_weights(events[-1].weights, expected[-1].weights)
    assert [row.train_loss for row in rows_of(events)] == [row.train_loss for row in rows_of(expected)]
    assert [event.step for event in of(Snapshot, events)] == [event.step for event in of(Snapshot, expected)]


def test_test_data_steer_nothing(tiny):
    changes = {"validation": 10, "patience": 1, "epochs": 3}
    held = tiny.hold_out(10, 0)
    noise = np.random.default_rng(0).permuted(held.test.images, axis=0)
    replaced = replace(held, test=replace(held.test, images=noise, labels=9 - held.test.labels))
    runs = [trained(splits, **changes)[0] for splits in (held, replaced, replace(held, test=None))]
    for events in runs[1:]:
        np.testing.assert_array_equal(losses_of(events), losses_of(runs[0]))
        assert same_weights(events[-1].weights, runs[0][-1].weights)
        for row, own in zip(rows_of(runs[0]), rows_of(events), strict=True):
            assert (own.train_loss, own.validation_loss, own.learning_rate) == (
                row.train_loss, row.validation_loss, row.learning_rate
            )  # fmt: skip
            assert own.test_loss != row.test_loss


def test_patience_looks_at_the_validation_loss_alone(tiny):
    splits = tiny.hold_out(6, 0)
    losses = [9.0, 5.0, 4.0, 4.5, 4.0, 4.2, 1.0]  # of the untrained network, then of each epoch
    events = list(fit(settings(validation=6, patience=3, epochs=9), splits, Spy(losses)))
    assert [row.validation_loss for row in rows_of(events)] == losses[:6]
    assert isinstance(events[-1], RunFinished)
    assert (events[-1].step, events[-1].why) == (15, "no lower validation loss for 3 epochs")
    assert events[-1].weights["w"][0] == 15


def test_a_validation_loss_that_goes_on_falling_is_waited_for(tiny):
    events = list(
        fit(settings(validation=6, patience=1, epochs=4), tiny.hold_out(6, 0), Spy([5.0, 4.0, 3.0, 2.0, 1.0]))
    )
    assert (events[-1].step, events[-1].why) == (12, None)


@pytest.mark.parametrize(
    ("times", "steps", "rows"),
    [(0, 0, 0), (1, 0, 1), (3, 2, 1), (4, 3, 1), (5, 3, 2), (8, 6, 2)],
)
def test_a_stop_ends_between_steps_or_in_an_evaluation(tiny, times, steps, rows):
    asked = iter([False] * times)
    events, engine = trained(tiny, stop=lambda: next(asked, True))
    stopped = events[-1]
    assert isinstance(stopped, RunStopped)
    assert (stopped.step, stopped.why, stopped.error) == (steps, "interrupted", None)
    assert sum(len(event.losses) for event in of(StepsDone, events)) == steps
    assert len(rows_of(events)) == rows
    assert [(kept.step, kept.position.done) for kept in of(Checkpoint, events)] == [(steps, steps - 3 * (rows - 1))][
        :rows
    ]
    straight, _ = trained(tiny)
    np.testing.assert_array_equal(losses_of(events) if steps else [], losses_of(straight)[:steps])
    assert same_weights(stopped.weights, engine.weights())


@pytest.mark.parametrize("times", [2, 4, 5, 6, 9])
def test_what_a_stop_kept_goes_on_to_the_same_end(tiny, times):
    asked = iter([False] * times)
    events, _ = trained(tiny, stop=lambda: next(asked, True), train_accuracy=True)
    [kept] = of(Checkpoint, events)
    losses = losses_of(events)[len(losses_of(events)) - kept.position.done :] if kept.step else np.empty(0, np.float32)
    later, _ = trained(tiny, start=Start(kept.position, losses, kept.state), train_accuracy=True)
    straight, _ = trained(tiny, train_accuracy=True)
    assert same_weights(later[-1].weights, straight[-1].weights)
    both = rows_of(events) + rows_of(later)
    assert [(row.train_loss, row.train_accuracy, row.test_loss) for row in both] == [
        (row.train_loss, row.train_accuracy, row.test_loss) for row in rows_of(straight)
    ]


def test_a_batch_larger_than_the_set_is_refused(tiny):
    with pytest.raises(ConfigError, match=r"^batch_size: got 61, expected at most the 60 training images$"):
        next(fit(settings(batch_size=61), tiny, Spy()))
    assert isinstance(next(fit(settings(batch_size=60), tiny, Spy())), RunStarted)


def test_a_recipes_batch_larger_than_the_set_is_made_smaller_and_it_says_so(tiny):
    started = next(fit(TrainConfig(), tiny, Spy()))
    assert (started.config.batch_size, started.steps_per_epoch) == (60, 1)
    [note] = started.notes
    assert note.startswith("batch size 60, all training images (the recipe's is 100): one step per epoch; a smaller")
    assert next(fit(TrainConfig(optimizer="gd"), tiny, Spy())).config.batch_size == 100
    assert next(fit(TrainConfig(batch_size=60), tiny, Spy())).notes == ()


def test_classes_without_a_training_image_are_named(tiny):
    by_twenties = replace(tiny.train, labels=tiny.train.labels.astype(int) * 20, classes=tuple(map(str, range(181))))
    started = next(fit(settings(), Splits(by_twenties), Spy()))
    [note] = started.notes
    assert note.startswith("171 of 181 classes have no training image ('1', '2', '3', '4', '5', '6', '7', '8', '9', ")
    assert note.endswith("'10', …); renumber the labels if these are not classes")
    one = replace(tiny.train, labels=tiny.train.labels.astype(int) + 1, classes=tuple(map(str, range(11))))
    [note] = next(fit(settings(), Splits(one), Spy())).notes
    assert note.startswith("1 of 11 classes have no training image ('0');")
    for settled in (settings(network="autoencoder"), settings(train_images=60)):
        assert next(fit(settled, Splits(one), Spy())).notes == ()


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_far_too_high_a_rate_stops_the_run_with_finite_weights(tiny, optimizer):
    events, _ = trained(tiny, optimizer=optimizer, learning_rate=1e30)
    stopped = events[-1]
    assert isinstance(stopped, RunStopped)
    assert isinstance(stopped.error, NonFiniteError)
    assert "try a lower --lr" in stopped.why
    assert "\n" not in stopped.why
    assert stopped.error.layer.split(".")[0] in {"conv1", "conv2", "fc1", "fc2", "fc3"}
    assert all(np.isfinite(values).all() for values in stopped.weights.values())
    assert same_weights(stopped.weights, events[0].weights)
