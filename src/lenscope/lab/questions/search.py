"""A search for settings with Optuna, as a function of finished runs.

Settings are asked for in groups, and each group is finished before its scores are passed on: the next settings then
depend on the experiment's settings and on scores alone, and not on which run ended first. So nothing has to be saved: a
search that was killed asks again from the beginning, in seconds for hundreds of settings, and finds its runs done.

Successive halving: K. Jamieson and A. Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", AISTATS 2016, section 3, with a factor of three. Each rung trains from the start instead of resuming, so
that every run is an ordinary one whose schedule fits its length; it costs at most half as much again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lenscope.config import TrainConfig
from lenscope.environment import install_command
from lenscope.errors import UsageError
from lenscope.lab.questions.grid import range_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lenscope.lab.execution.trials import Trial
    from lenscope.lab.experiment import Plan, Runs

FACTOR = 3
MOST_RUNGS = 4


class Searched(Protocol):
    """What a search needs of a sweep; the fields are those of `Sweep`."""

    @property
    def grid(self) -> dict[str, list[Any]]:
        """The values of each setting."""

    @property
    def search(self) -> int:
        """Number of settings to try."""

    @property
    def at_once(self) -> int:
        """Number of settings proposed at a time."""

    @property
    def halving(self) -> bool:
        """Whether settings are compared with few epochs first."""

    def configure(self, setting: dict[str, Any]) -> TrainConfig:
        """The complete settings of a run."""

    def over_seeds(self, config: TrainConfig, names: Sequence[str]) -> list[Trial]:
        """The runs of one setting."""


def require_optuna() -> None:
    """Raise UsageError where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UsageError(f"--search: needs Optuna; run: {install_command('optuna')}") from None


def search(sweep: Searched, runs: Runs) -> Plan:
    """Yield the runs of one group of settings after another; `runs` has those that are done."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=0, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    options = {name: _distribution(sweep, name) for name in sweep.grid}
    for first in range(0, sweep.search, sweep.at_once):
        size = min(sweep.at_once, sweep.search - first)
        yield from _climb(sweep, runs, study, [study.ask(options) for _ in range(size)])


def _climb(sweep: Searched, runs: Runs, study: Any, group: list[Any]) -> Plan:
    """Train a group of Optuna's trials on each rung, and keep the best third of them for the next."""
    from optuna.trial import TrialState

    names = [name for name, values in sweep.grid.items() if len(values) > 1 or range_of(values)]
    *lower, highest = rungs(sweep)
    for epochs in (*lower, highest):
        configs = [sweep.configure(one.params) for one in group]
        if sweep.halving:
            configs = [config.with_settings(epochs=epochs) for config in configs]
        trials = [sweep.over_seeds(config, names) for config in configs]
        yield [trial for own in trials for trial in own]
        scores = [_score(own, runs) for own in trials]
        for one, score in zip(group, scores, strict=True):
            one.report(score, epochs)
        if epochs == highest:
            for one, score in zip(group, scores, strict=True):
                study.tell(one, score)
            return
        order = np.argsort(np.negative(scores), kind="stable")
        kept = sorted(order[: max(1, len(group) // FACTOR)].tolist())
        for place, one in enumerate(group):
            if place not in kept:
                study.tell(one, state=TrialState.PRUNED)
        group = [group[place] for place in kept]


def rungs(sweep: Searched) -> list[int]:
    """The epochs of each rung, ascending; without halving there is one, and every setting has its own epochs.

    >>> from lenscope.lab.questions.sweep import Sweep
    >>> rungs(Sweep(grid=["epochs=27", "lr=1e-4,1e-3"], search=9, halving=True))
    [1, 3, 9, 27]
    """
    most = sweep.configure({name: values[0] for name, values in sweep.grid.items() if not range_of(values)}).epochs
    divisors = [FACTOR**power for power in range(MOST_RUNGS)] if sweep.halving else [1]
    return sorted({max(1, round(most / divisor)) for divisor in divisors})


def expected_sizes(sweep: Searched, epochs: int) -> list[tuple[int, int]]:
    """The epochs and the number of settings of each rung of each group, in the order in which they are trained.

    >>> from lenscope.lab.questions.sweep import Sweep
    >>> expected_sizes(Sweep(grid=["epochs=9", "lr=1e-4..1e-3"], search=12, halving=True), 9)
    [(1, 9), (3, 3), (9, 1), (1, 3), (3, 1), (9, 1)]
    """
    sizes = []
    for first in range(0, sweep.search, sweep.at_once):
        size = min(sweep.at_once, sweep.search - first)
        for rung in rungs(sweep) if sweep.halving else [epochs]:
            sizes.append((rung, size))
            size = max(1, size // FACTOR)
    return sizes


def _score(trials: Sequence[Trial], runs: Runs) -> float:
    """The mean validation accuracy over the seeds; that of a run that failed is 0."""
    own = [runs[trial.name] for trial in trials]
    return float(np.mean([r.metrics.validation_accuracy[-1] if r.status.state == "finished" else 0.0 for r in own]))


def _distribution(sweep: Searched, name: str) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = sweep.grid[name]
    between = range_of(values)
    if between is None:
        plain = [str(getattr(sweep.configure({name: one}), name)) if isinstance(one, dict) else one for one in values]
        return CategoricalDistribution(plain)
    whole = between.whole and TrainConfig.model_fields[name].annotation is not float
    kind: Any = IntDistribution if whole else FloatDistribution
    return kind(between.low, between.high, log=between.logarithmic)
