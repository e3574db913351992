"""How often a run writes a checkpoint."""

from __future__ import annotations

from time import monotonic

LEAST_SECONDS = 10.0  # between checkpoints, by default


class CheckpointSchedule:
    """When a checkpoint is due. The clock decides that, but not the checkpoint's content.

    Args:
        every: a number of epochs such as `5`, of seconds such as `30s` or of steps such as `200steps`; None for each
            epoch, at most one every ten seconds.
    """

    def __init__(self, every: str | None) -> None:
        number = "".join(filter(str.isdecimal, every or ""))
        unit = (every or "").removeprefix(number)
        self.steps = int(number) if unit == "steps" else None
        self._epochs = int(number or 1) if not unit else None
        self._seconds = float(number) if unit == "s" else 0.0 if every else LEAST_SECONDS
        self._last = monotonic()

    def due(self, step: int, *, epoch_done: int | None) -> bool:
        """Whether to write one now, after a step that may be the last of an epoch."""
        if self.steps:
            return step % self.steps == 0
        if self._epochs and (epoch_done is None or epoch_done % self._epochs):
            return False
        return monotonic() - self._last >= self._seconds

    def written(self) -> None:
        """Restart the clock: a checkpoint was written."""
        self._last = monotonic()

    def next_step(self, step: int) -> int | None:
        """The next step after which one is certainly due; None where steps are not counted."""
        return (step // self.steps + 1) * self.steps if self.steps else None
