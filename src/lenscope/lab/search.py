"""Searching for settings with Optuna, as a function of the runs that are done.

Settings are asked for in groups, and every group is finished before its results are told: what is asked next then
depends on the settings of the experiment and on results alone, and not on which run ended first. So there is nothing to
save: a search that was killed asks again from the beginning, in seconds for hundreds of settings, and finds its runs
done.

Successive halving: K. Jamieson and A. Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", AISTATS 2016, section 3, with a factor of three. Each rung is trained anew, and not gone on with, so that
every run is an ordinary one whose schedule fits its length; it costs at most half as much again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lenscope.config import TrainConfig
from lenscope.errors import UsageError
from lenscope.lab.grid import range_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from lenscope.lab.experiment import Runs
    from lenscope.lab.sweep import Sweep
    from lenscope.lab.trials import Trial

    Steps = Generator[list[list[Trial]], list[float], None]

FACTOR = 3
MOST_RUNGS = 4


def require_optuna() -> None:
    """Raise UsageError where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UsageError("--search: needs Optuna; pip install 'lenscope[optuna]'") from None


class Search:
    """What a sweep asks for, told step by step what came of it; begun again where less is known than before."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._begin()

    def asked(self, runs: Runs) -> list[Trial]:
        """All runs that are asked for so far, given those that are done."""
        if not self._used <= runs.keys():
            self._begin()
        while self._open and all(trial.name in runs for own in self._open for trial in own):
            self._used |= {trial.name for own in self._open for trial in own}
            self._take([_score(own, runs) for own in self._open])
        return list(self._found.values())

    def _begin(self) -> None:
        self._found: dict[str, Trial] = {}
        self._used: set[str] = set()
        self._steps = _steps(self._sweep)
        self._take(None)

    def _take(self, scores: list[float] | None) -> None:
        """Tell what came of the open step, and open the next one; there is none at the end."""
        try:
            self._open = next(self._steps) if scores is None else self._steps.send(scores)
        except StopIteration:
            self._open = []
        self._found |= {trial.name: trial for own in self._open for trial in own}


def _steps(sweep: Sweep) -> Steps:
    """The runs of each setting that is asked for next; takes the scores of these settings."""
    study = _study()
    options = {name: _distribution(sweep, name) for name in sweep.grid}
    for begin in range(0, sweep.search, sweep.at_once):
        yield from _climb(sweep, study, [study.ask(options) for _ in range(min(sweep.at_once, sweep.search - begin))])


def _climb(sweep: Sweep, study: Any, group: list[Any]) -> Steps:
    """Take a group from rung to rung, keeping the best third on each."""
    import optuna

    names = [name for name, values in sweep.grid.items() if len(values) > 1 or range_of(values)]
    *lower, highest = rungs(sweep)
    for epochs in (*lower, highest):
        configs = [sweep.configure(one.params) for one in group]
        if sweep.halving:
            configs = [config.with_settings(epochs=epochs) for config in configs]
        scores = yield [sweep.over_seeds(config, names) for config in configs]
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
                study.tell(one, state=optuna.trial.TrialState.PRUNED)
        group = [group[place] for place in kept]


def rungs(sweep: Sweep) -> list[int]:
    """The epochs of each rung, the most last; without halving there is one, and every setting has its own.

    >>> from lenscope.lab.sweep import Sweep
    >>> rungs(Sweep(grid=["epochs=27", "lr=1e-4,1e-3"], search=9, halving=True))
    [1, 3, 9, 27]
    """
    most = sweep.configure({name: values[0] for name, values in sweep.grid.items() if not range_of(values)}).epochs
    shares = [FACTOR**power for power in range(MOST_RUNGS)] if sweep.halving else [1]
    return sorted({max(1, round(most / share)) for share in shares})


def _score(trials: Sequence[Trial], runs: Runs) -> float:
    """The mean validation accuracy over the seeds; where a run failed, none right."""
    return float(np.mean([_accuracy(runs[trial.name]) for trial in trials]))


def _accuracy(run: Any) -> float:
    return float(run.metrics.validation_accuracy[-1]) if run.status.state == "finished" else 0.0


def _study() -> Any:
    """A study in memory whose questions depend on nothing but what it is told."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True))


def _distribution(sweep: Sweep, name: str) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = sweep.grid[name]
    between = range_of(values)
    if between is None:
        told = [str(getattr(sweep.configure({name: one}), name)) if isinstance(one, dict) else one for one in values]
        return CategoricalDistribution(told)
    whole = between.whole and TrainConfig.model_fields[name].annotation is not float
    kind: Any = IntDistribution if whole else FloatDistribution
    return kind(between.low, between.high, log=between.logarithmic)
