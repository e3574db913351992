"""The results of an experiment, ready to draw: conclusions, and the sections of its page that they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lenscope.insight.section import Section


@dataclass(frozen=True)
class Findings:
    """The results of an experiment.

    Attributes:
        title: the experiment's name in headings.
        question: the question and the method.
        conclusions: one sentence each, with figure, interval and n.
        sections: the charts and tables that support them.
    """

    title: str
    question: str
    conclusions: tuple[str, ...]
    sections: tuple[Section, ...]

    @property
    def is_empty(self) -> bool:
        """Whether no run finished, so that there are no results."""
        return not self.sections
