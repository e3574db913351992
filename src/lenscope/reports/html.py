"""The report: a page of HTML that holds all that it shows, and may ask for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from lenscope.environment import package_version
from lenscope.insight.comparison import compare_runs
from lenscope.insight.story import facts_of
from lenscope.reports.data import comparison_data, page_data
from lenscope.reports.files import read, script, style
from lenscope.reports.sections import (
    MEANINGS,
    describe_classes,
    describe_learning,
    describe_making,
    describe_shapes,
    kernels_of,
    note_on,
    note_on_comparison,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lenscope.insight.insight import Insight
    from lenscope.runs.run import Run

SECTIONS = (
    ("learning", "Learning"),
    ("kernels", "Kernels"),
    ("look", "Look through it"),
    ("mistakes", "Mistakes"),
    ("shapes", "Shapes"),
    ("made", "How it was made"),
)
MOST_COMPARED = 8  # lines that colour and dash tell apart
COMPARED = (("learning", "Learning"), ("kernels", "Kernels"), ("differences", "Differences"))


def render_report(insight: Insight) -> str:
    """The whole page of a run; what the run cannot tell is said in its section."""
    run, evaluation = insight.run, insight.evaluation
    page = Page("report", run.name, insight.sentence, SECTIONS, page_data(insight))
    return page.render(
        facts=facts_of(run, insight.result),
        notes={section: note_on(section, insight) for section, _ in SECTIONS},
        meanings=MEANINGS if insight.layers else {},
        learning=describe_learning(run),
        classes=describe_classes(evaluation),
        shapes=describe_shapes(run),
        made=describe_making(run),
    )


def render_comparison(insights: Sequence[Insight]) -> str:
    """The page of several runs beside one another: their curves, their kernels and what differs between them."""
    runs = [insight.run for insight in insights]
    names = distinct_names(runs)
    sentence = f"{len(runs)} runs beside one another: {', '.join(names)}."
    page = Page("compare", " and ".join(names), sentence, COMPARED, comparison_data(insights, names))
    return page.render(
        names=names, differences=compare_runs(runs), note=note_on_comparison(runs), kernels=kernels_of(insights)
    )


def distinct_names(runs: Sequence[Run]) -> list[str]:
    """The names of runs, with a number where two share one."""
    names = [run.name for run in runs]
    return [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, start=1)]


@dataclass(frozen=True)
class Page:
    """What every page has: its template, its heading, what happened, its sections, and what its scripts read."""

    template: str
    name: str
    sentence: str
    sections: tuple[tuple[str, str], ...]
    data: object

    def render(self, **more: object) -> str:
        """The page, with what its template needs besides."""
        return (
            _templates()
            .get_template(f"{self.template}.html.j2")
            .render(
                policy=_policy(),
                css=Markup(style()),  # noqa: S704 - ours, as are the scripts
                script=Markup(script()),  # noqa: S704
                data=Markup(_json(self.data)),  # noqa: S704 - has no < left
                version=package_version("lenscope"),
                name=self.name,
                sentence=self.sentence,
                sections=self.sections,
                **more,
            )
        )


@cache
def _templates() -> Environment:
    loader = FunctionLoader(lambda name: read(f"template/{name}"))
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


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
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
