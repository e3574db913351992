"""The experiments by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenscope.lab.initlab import Initlab
from lenscope.lab.longrun import Longrun
from lenscope.lab.race import Race
from lenscope.lab.reproduce import Reproduce
from lenscope.lab.sweep import Sweep

if TYPE_CHECKING:
    from lenscope.lab.experiment import Experiment

EXPERIMENTS: dict[str, type[Experiment]] = {kind.name: kind for kind in (Reproduce, Race, Initlab, Longrun, Sweep)}
