"""Progress in a terminal: one line per epoch, and a bar within the epoch; without a terminal, lines only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lenscope.numbers_as_text import percent
from lenscope.training.events import EpochDone, RunFinished, RunStarted, RunStopped, StepsDone
from lenscope.watch.screen import say
from lenscope.watch.start import describe_start

if TYPE_CHECKING:
    from rich.console import Console

    from lenscope.training.events import EpochMetrics, Event

COLUMNS = ("epoch", "train loss", "validation", "test loss", "accuracy", "seconds", "images/s")


class TerminalWatcher:
    """Prints the progress of training.

    Args:
        console: the output; the bar appears only on a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        bar = BarColumn(bar_width=32)
        self._progress = Progress(
            TextColumn("{task.description}"), bar, MofNCompleteColumn(), TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._steps_per_epoch = 1
        self._has_validation = False

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case RunStarted():
                self._start(event)
            case StepsDone(epoch=epoch, step=step, losses=losses):
                self._advance(epoch, step, float(losses[-1]))
            case EpochDone(metrics=metrics):
                say(self._console, self._row(metrics))
            case RunFinished() | RunStopped():
                self.close()
            case _:
                pass

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()

    def _start(self, event: RunStarted) -> None:
        self._steps_per_epoch = event.steps_per_epoch
        self._has_validation = bool(event.validation_images)
        for line in describe_start(event):
            say(self._console, line)
        say(self._console, self._cells(COLUMNS), "bold")
        self._progress.start()
        self._task = self._progress.add_task("epoch 1", total=event.steps_per_epoch, loss="")

    def _advance(self, epoch: int, step: int, loss: float) -> None:
        if self._task is not None:
            done = step - (epoch - 1) * self._steps_per_epoch
            if done <= self._progress.tasks[0].completed:  # a new epoch, with a new estimate of its time
                self._progress.reset(self._task)
            self._progress.update(self._task, completed=done, description=f"epoch {epoch}", loss=f"{loss:z.4f}")

    def _row(self, metrics: EpochMetrics) -> str:
        _, accuracy = metrics.measured
        seconds = (metrics.train_seconds or 0.0) + (metrics.evaluation_seconds or 0.0)
        cells = (
            str(metrics.epoch),
            _number(metrics.train_loss),
            _number(metrics.validation_loss),
            _number(metrics.test_loss),
            percent(accuracy) if accuracy is not None else "",
            f"{seconds:.2f}",
            f"{metrics.images_per_second:,.0f}" if metrics.images_per_second else "",
        )
        return self._cells(cells)

    def _cells(self, cells: tuple[str, ...]) -> str:
        shown = [
            cell for name, cell in zip(COLUMNS, cells, strict=True) if name != "validation" or self._has_validation
        ]
        return "".join(f"{cell:>{5 if place == 0 else 12}}" for place, cell in enumerate(shown)).rstrip()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:z.4f}" if value < 1e5 else f"{value:.2e}"
