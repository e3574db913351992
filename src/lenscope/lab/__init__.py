"""Experiments: one question, many runs, and conclusions with intervals.

>>> from lenscope.lab import Reproduce, conduct
>>> findings = conduct(Reproduce(seeds="5"), processes=2)  # doctest: +SKIP
>>> findings.conclusions  # doctest: +SKIP
"""

from lenscope.lab.conduct import conduct
from lenscope.lab.directory import rebuild
from lenscope.lab.experiment import Experiment
from lenscope.lab.questions.initlab import Initlab
from lenscope.lab.questions.longrun import Longrun
from lenscope.lab.questions.race import Race
from lenscope.lab.questions.reproduce import Reproduce
from lenscope.lab.questions.sweep import Sweep

__all__ = ["Experiment", "Initlab", "Longrun", "Race", "Reproduce", "Sweep", "conduct", "rebuild"]
