"""What a network can do within its first epoch, after so few updates that no epoch's end shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenscope.engines import engine_for
from lenscope.runs.prepare import prepare
from lenscope.training.events import EpochDone, Snapshot
from lenscope.training.fit import fit

if TYPE_CHECKING:
    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits


def measure_first_epoch(config: TrainConfig, splits: Splits) -> list[dict[str, float | None]]:
    """Test loss and accuracy wherever the first epoch has a snapshot, in the very run that the config makes.

    Args:
        config: its schedule must be constant: the first epoch of a run of one is then that of a longer one.
        splits: with a test part.

    Returns:
        A row each, from step 0 to the end of the epoch: step, test_loss, test_accuracy.
    """
    prepared = prepare(config.with_settings(epochs=1), splits)
    if prepared.sized.test is None or config.schedule != "constant":
        return []
    rows, before = [], -1
    with engine_for(prepared.network, prepared.weights, prepared.sized.train, prepared.config) as engine:
        for event in fit(prepared.config, prepared.sized, engine):
            if isinstance(event, Snapshot) and event.step > before:
                before, score = event.step, engine.evaluate(prepared.sized.test)
                rows.append({"step": event.step, "test_loss": score.loss, "test_accuracy": score.accuracy})
            if isinstance(event, EpochDone) and event.metrics.epoch == 1:
                break
    return rows
