"""Watching in a notebook: one display with the two curves, drawn anew as they grow."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from lenscope.insight.curves import curves_of
from lenscope.runs.metrics import Metrics
from lenscope.training.events import EpochDone, RunStarted

if TYPE_CHECKING:
    from lenscope.config import TrainConfig
    from lenscope.training.events import EpochMetrics, Event


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


class NotebookWatcher:
    """Shows the curves after each epoch in one display that it updates: nothing flickers, nothing piles up."""

    def __init__(self) -> None:
        self._config: TrainConfig | None = None
        self._rows: list[EpochMetrics] = []
        self._display: Any = None

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case RunStarted(config=config):
                self._config = config
            case EpochDone(metrics=metrics):
                self._rows.append(metrics)
                self._draw()
            case _:
                pass

    def close(self) -> None:
        """Nothing to close; the last picture stays."""

    def _draw(self) -> None:
        import IPython.display

        from lenscope.plots.curves import CurvesDisplay

        if self._config is None:
            return
        last = self._rows[-1]
        title = f"epoch {last.epoch} of {self._config.epochs}"
        if last.test_accuracy is not None:
            title += f": {100 * last.test_accuracy:.2f} % of the test images right"
        shown = {
            "image/png": CurvesDisplay(curves_of(Metrics.of(self._rows), self._config, title)).png(),
            "text/plain": title,
        }
        if self._display is None:
            show: Any = IPython.display.display
            self._display = show(shown, raw=True, display_id=True)
        else:
            self._display.update(shown, raw=True)
