"""Pages: one HTML file that contains all that it shows, and may ask for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from lenscope.environment import package_version
from lenscope.insight.story import facts_of
from lenscope.reports.comparison import comparison_sections
from lenscope.reports.data import page_data
from lenscope.reports.files import read, script, style
from lenscope.reports.section_data import section_data
from lenscope.reports.sections import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lenscope.insight.insight import Insight
    from lenscope.insight.section import Section
    from lenscope.runs.run import Run

MOST_COMPARED = 8  # lines that colour and dash tell apart


def render_report(insight: Insight) -> str:
    """The whole page of a run; a section without content says why."""
    sections = tuple(make(insight) for make in SECTIONS)
    facts = tuple(facts_of(insight.run, insight.result))
    return Page(insight.run.name, insight.sentence, sections, facts=facts, data=page_data(insight)).render()


def render_comparison(insights: Sequence[Insight]) -> str:
    """The page of several runs: their curves, their kernels and their differences."""
    names = distinct_names([insight.run for insight in insights])
    sentence = f"{len(names)} runs compared: {', '.join(names)}."
    return Page(" and ".join(names), sentence, comparison_sections(insights, names)).render()


def distinct_names(runs: Sequence[Run]) -> list[str]:
    """The names of runs, with a number where two have the same."""
    names = [run.name for run in runs]
    return [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, start=1)]


@dataclass(frozen=True)
class Page:
    """The content of a page.

    Attributes:
        name: its heading.
        sentence: below it, what happened.
        sections: one or more.
        facts: names and values, below the sentence.
        conclusions: sentences, below the facts.
        data: what scripts made for some sections alone read, as plain values by name.
    """

    name: str
    sentence: str
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...] = ()
    conclusions: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    def render(self) -> str:
        """The page as HTML."""
        sections = {section.anchor: section_data(section) for section in self.sections}
        template = _templates().get_template("page.html.j2")
        return template.render(
            page=self,
            policy=_policy(),
            css=Markup(style()),  # noqa: S704 - ours, as are the scripts
            script=Markup(script()),  # noqa: S704
            data=Markup(_json({**self.data, "sections": sections})),  # noqa: S704 - no < remains
            version=package_version("lenscope"),
        )


@cache
def _templates() -> Environment:
    loader = FunctionLoader(lambda name: read(f"template/{name}"))
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, finalize=_with_units_kept)


def _with_units_kept(value: object) -> object:
    """A text in which no line breaks between a number and its percent sign; scripts and styles as they are."""
    return re.sub(r"(?<=\d) %", "\u00a0%", value) if type(value) is str else value


@cache
def _policy() -> str:
    """Nothing may be loaded, sent or run but the page's own script and style, which are named by their SHA-256."""
    return (
        f"default-src 'none'; script-src 'sha256-{_sha256(script())}'; style-src 'sha256-{_sha256(style())}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: object) -> str:
    """JSON that cannot end the element that holds it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    text = re.sub(r"(?<=\d) %", r"\\u00a0%", text)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
