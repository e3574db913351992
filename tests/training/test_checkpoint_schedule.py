from __future__ import annotations

import pytest

from lenscope.training import checkpoint_schedule
from lenscope.training.checkpoint_schedule import CheckpointSchedule


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint_schedule, "monotonic", lambda: now[0])
    return now


def test_by_default_each_epoch_and_at_most_every_ten_seconds(clock):
    default = CheckpointSchedule(None)
    assert not default.due(600, epoch_done=1)
    clock[0] = 10
    assert not default.due(700, epoch_done=None)
    assert default.due(1200, epoch_done=2)
    default.written()
    assert not default.due(1800, epoch_done=3)


def test_every_few_epochs_however_quick_they_are(clock):
    every = CheckpointSchedule("3")
    assert [epoch for epoch in range(1, 8) if every.due(epoch, epoch_done=epoch)] == [3, 6]


def test_every_few_seconds_wherever_the_run_is(clock):
    every = CheckpointSchedule("30s")
    clock[0] = 29.9
    assert not every.due(1, epoch_done=1)
    clock[0] = 30
    assert every.due(2, epoch_done=None)


def test_every_few_steps_to_the_step(clock):
    every = CheckpointSchedule("4steps")
    assert [step for step in range(1, 13) if every.due(step, epoch_done=None)] == [4, 8, 12]
    assert [every.next_step(step) for step in (0, 3, 4, 5)] == [4, 4, 8, 8]
    assert CheckpointSchedule("4").next_step(3) is None
