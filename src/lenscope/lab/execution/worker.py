"""What the scheduler and its workers agree on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from lenscope.training.events import EpochDone, RunStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lenscope.lab.execution.trials import Trial
    from lenscope.training.events import Event

LOOK_SECONDS = 0.2  # the longest wait between two looks for a request to stop


class State(Enum):
    """What a worker reports of itself: it has started, or is done with its run; or it has died."""

    FREE = "free"
    DIED = "died"


class Worker(Protocol):
    """Trains one run at a time."""

    def give(self, trial: Trial, runs: Path) -> None:
        """Start training a run in this directory of runs."""

    def read(self) -> State | int | str:
        """The next message: a state, the epochs of the run that are done, or an error message."""


class Workers(Protocol):
    """Where workers come from.

    Attributes:
        most: workers at a time.
    """

    most: int

    def start(self) -> Worker:
        """A new worker."""

    def ready(self, workers: Sequence[Worker]) -> Sequence[Worker]:
        """Those of these workers that have a message, after at most `LOOK_SECONDS`."""

    def close(self) -> None:
        """End all workers."""


@dataclass(frozen=True)
class EpochWatcher:
    """A watcher of a run that passes on the number of epochs done, including those before it was resumed."""

    advance: Callable[[int], None]

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, RunStarted) and event.rows:
            self.advance(event.rows[-1].epoch)
        if isinstance(event, EpochDone):
            self.advance(event.metrics.epoch)

    def close(self) -> None:
        """Nothing to close."""
