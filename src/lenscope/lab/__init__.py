"""Experiments: many runs, one question, an answer with error bars.

>>> from lenscope.lab import Reproduce, conduct
>>> findings = conduct(Reproduce(seeds="5"), processes=2)  # doctest: +SKIP
>>> findings.conclusions  # doctest: +SKIP
"""

from lenscope.lab.experiment import Experiment, conduct, rebuild
from lenscope.lab.initlab import Initlab
from lenscope.lab.longrun import Longrun
from lenscope.lab.race import Race
from lenscope.lab.reproduce import Reproduce
from lenscope.lab.sweep import Sweep

__all__ = ["Experiment", "Initlab", "Longrun", "Race", "Reproduce", "Sweep", "conduct", "rebuild"]
