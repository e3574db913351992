"""Progress in a notebook: one display with the curves of loss and accuracy, redrawn after each epoch."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from lenscope.insight.curves import curves_of
from lenscope.numbers_as_text import percent
from lenscope.runs.files.metrics import Metrics
from lenscope.text import printable
from lenscope.training.events import EpochDone, RunStarted
from lenscope.watch.start import describe_start

if TYPE_CHECKING:
    from lenscope.config import TrainConfig
    from lenscope.training.events import EpochMetrics, Event


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    return shell is not None and hasattr(shell.get_ipython(), "kernel")


class NotebookWatcher:
    """Shows the curves in one display, which is updated after each epoch."""

    def __init__(self) -> None:
        self._config: TrainConfig | None = None
        self._rows: list[EpochMetrics] = []
        self._display: Any = None

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case RunStarted(config=config):
                self._config, self._rows = config, [*event.rows]
                _show({"text/plain": "\n".join(map(printable, describe_start(event)))})
            case EpochDone(metrics=metrics):
                self._rows.append(metrics)
                self._draw()
            case _:
                pass

    def close(self) -> None:
        """Does nothing; the last picture stays."""

    def _draw(self) -> None:
        from lenscope.plots.curves import CurvesDisplay

        if self._config is None:
            return
        last = self._rows[-1]
        title = f"epoch {last.epoch} of {self._config.epochs}"
        if last.test_accuracy is not None:
            title += f": test accuracy {percent(last.test_accuracy)}"
        elif self._config.reconstructs and last.test_loss is not None:
            title += f": test reconstruction error {last.test_loss:z.4f}"
        if last.train_seconds is not None:
            title += f", {last.train_seconds + (last.evaluation_seconds or 0):.1f} s"
        shown = {
            "image/png": CurvesDisplay(curves_of(Metrics.of(self._rows), self._config, title)).png(),
            "text/plain": title,
        }
        if self._display is None:
            self._display = _show(shown, display_id=True)
        else:
            self._display.update(shown, raw=True)


def _show(content: dict[str, Any], **options: Any) -> Any:
    import IPython.display

    display: Any = IPython.display.display
    return display(content, raw=True, **options)
