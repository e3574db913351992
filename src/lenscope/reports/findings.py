"""The page of an experiment: its conclusions first, then the charts, tables and kernels that they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenscope.insight.section import Listing, Section, Table
from lenscope.reports.html import Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lenscope.insight.findings import Findings

MADE = (
    "This command with these settings; every run is an ordinary run directory under runs, its rows are in results.csv, "
    "and 'lenscope lab show DIRECTORY' makes this page again from the tables alone."
)


def render_findings(findings: Findings, settings: Mapping[str, object]) -> str:
    """The whole page; `settings` are those of the experiment, by name."""
    rows = tuple((name, _shown(value)) for name, value in settings.items())
    command = Listing("", f"lenscope lab {settings['experiment']}")
    made = Section("made", "How it was made", MADE, (), (Table("Settings", (), rows, words=True),), listings=(command,))
    sections = (*findings.sections, made)
    return Page(findings.title, findings.question, sections, conclusions=findings.conclusions).render()


def _shown(value: object) -> str:
    """A setting on one line: lists by commas, tables as the command line takes them.

    >>> _shown({"epochs": [5], "augment": ["none", "shift=1,rotation=5"]})
    'epochs=5; augment=none | shift=1,rotation=5'
    """
    if isinstance(value, dict):
        return "; ".join(f"{name}={_listed(one)}" for name, one in value.items()) or "none"
    return _listed(value)


def _listed(value: object) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    words = [_shown(one) for one in value]
    return (" | " if any("," in word for word in words) else ", ").join(words) or "none"
