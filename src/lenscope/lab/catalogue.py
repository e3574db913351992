"""The experiments by name, each with the function that draws findings from its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lenscope.lab.questions.initlab import Initlab
from lenscope.lab.questions.initlab_findings import initlab_findings
from lenscope.lab.questions.longrun import Longrun
from lenscope.lab.questions.longrun_findings import longrun_findings
from lenscope.lab.questions.race import Race
from lenscope.lab.questions.race_findings import race_findings
from lenscope.lab.questions.reproduce import Reproduce
from lenscope.lab.questions.reproduce_findings import reproduce_findings
from lenscope.lab.questions.sweep import Sweep
from lenscope.lab.questions.sweep_findings import sweep_findings

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.insight.findings import Findings
    from lenscope.lab.experiment import Experiment, Tables

EXPERIMENTS: dict[str, type[Experiment]] = {kind.name: kind for kind in (Reproduce, Race, Initlab, Longrun, Sweep)}
FINDINGS: dict[str, Callable[[Any, Tables], Findings]] = {
    Reproduce.name: reproduce_findings,
    Race.name: race_findings,
    Initlab.name: initlab_findings,
    Longrun.name: longrun_findings,
    Sweep.name: sweep_findings,
}
