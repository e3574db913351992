"""Test loss and accuracy within the first epoch of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenscope.engines import engine_for
from lenscope.runs.prepare import prepare
from lenscope.training.events import Snapshot
from lenscope.training.fit import fit

if TYPE_CHECKING:
    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits


def measure_first_epoch(config: TrainConfig, splits: Splits) -> list[dict[str, float | None]]:
    """Test loss and accuracy at each snapshot of the first epoch.

    Args:
        config: its schedule must be constant: a run of one epoch is then the first epoch of a longer run.
        splits: with test images.

    Returns:
        One row per snapshot, from step 0 to the end of the epoch: step, test_loss, test_accuracy.
    """
    prepared = prepare(config.with_settings(epochs=1), splits)
    test, rows, before = prepared.sized.test, [], -1
    with engine_for(prepared.network, prepared.weights, prepared.sized.train, prepared.config) as engine:
        for event in fit(prepared.config, prepared.sized, engine):
            if test and isinstance(event, Snapshot) and event.step > before:
                before, score = event.step, engine.evaluate(test)
                rows.append({"step": event.step, "test_loss": score.loss, "test_accuracy": score.accuracy})
    return rows
