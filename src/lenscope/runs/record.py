"""One experiment from its settings to its run directory."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lenscope.engines import engine_for
from lenscope.errors import Interrupted, StorageError
from lenscope.runs import lock as locks
from lenscope.runs.follow import tell_settings, tell_start
from lenscope.runs.prepare import environment_of, prepare, start_from, unsure_rule
from lenscope.runs.recorder import Recorder, claim_directory
from lenscope.runs.resume import find_start, look_back, require_no_links, require_same_data
from lenscope.runs.run import Run, open_run
from lenscope.runs.storage import remove_directory, remove_file
from lenscope.training.events import RunStarted, RunStopped
from lenscope.training.fit import fit
from lenscope.training.interrupt import StopFlag, listen_for_stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.pytorch.ranks import Ranks
    from lenscope.training.events import Event


class Watcher(Protocol):
    """Whoever shows the events of training as they come."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """Leave the screen in order; called once, also after an error."""


def record_run(
    config: TrainConfig, splits: Splits, out: Path | None, watcher: Watcher | None = None, ranks: Ranks | None = None
) -> Run:
    """Train with these settings on these data, and keep everything in a run directory.

    Nothing is written before settings, data, network and device have been found to fit.

    Args:
        config: the settings; its `validation` is held out of the training images here.
        splits: the data at their own size.
        out: the run's directory, which must not exist; None for the next free one under `runs/`.
        watcher: who shows the events.
        ranks: the processes that train it together, of which this is the first; the others call `follow_run`.

    Raises:
        UsageError: settings that do not fit the data or the machine, or an `out` that exists.
        NonFiniteError: see there; the directory keeps the last good weights.
        StorageError: a file could not be written.
        RankLostError: another rank is gone; as for Interrupted.
        Interrupted: asked to stop; the directory opens with all that was done.
    """
    tell_settings(ranks, config, splits)
    prepared = prepare(config, splits)
    weights, origin = start_from(config.init_from, prepared.network, prepared.weights)
    with engine_for(prepared.network, weights, prepared.sized.train, config, ranks) as engine:
        path = claim_directory(out, f"{Path(splits.name).name}-{config.network}")
        with _first_lock(path) as lock:
            environment = environment_of(engine, prepared) | origin
            tell_start(ranks, engine, None)
            begin = partial(fit, config, prepared.sized, engine)
            _train(begin, Recorder(path, environment, lock, calibrate=partial(unsure_rule, prepared)), watcher, ranks)
    return open_run(path)


def resume_run(
    path: Path, splits: Splits, config: TrainConfig, watcher: Watcher | None = None, ranks: Ranks | None = None
) -> Run:
    """Go on with a run from its newest sound checkpoint, or from its beginning where it has none.

    Args:
        path: the run's directory.
        splits: its data at their own size.
        config: its settings, from `settings_to_resume`.
        watcher: who shows the events.
        ranks: as for `record_run`; as many as before, or others.

    Raises:
        RunError: data other than the run's, a run that another process writes, or one that is broken beyond its
            checkpoints.
        NonFiniteError, StorageError, RankLostError, Interrupted: as for `record_run`.
    """
    tell_settings(ranks, config, splits)
    with locks.hold(path) as lock, ExitStack() as stack:
        require_no_links(path)
        before = look_back(path)
        if before.environment:
            require_same_data(before.environment, splits, path)
        prepared = prepare(config, splits)
        weights, origin = before.initial(prepared)
        engine = stack.enter_context(engine_for(prepared.network, weights, prepared.sized.train, config, ranks))
        environment = environment_of(engine, prepared) | origin
        resumption = find_start(before, environment)
        tell_start(ranks, engine, resumption.start)

        def begin(stop: Callable[[], bool]) -> Iterator[Event]:
            for event in fit(config, prepared.sized, engine, stop, resumption.start):
                if isinstance(event, RunStarted):
                    event = replace(event, notes=resumption.notes + event.notes)  # noqa: PLW2901
                yield event

        facts, calibrate = environment | resumption.facts, partial(unsure_rule, prepared)
        recorder = Recorder(path, facts, lock, before.manifest, before.kept, calibrate=calibrate)
        _train(begin, recorder, watcher, ranks)
    return open_run(path)


def _train(
    begin: Callable[[Callable[[], bool]], Iterable[Event]],
    recorder: Recorder,
    watcher: Watcher | None,
    ranks: Ranks | None,
) -> None:
    """Drive the events of a training loop, which is begun with what it asks whether to stop."""
    with listen_for_stop() as flag, closing(watcher) if watcher else nullcontext():
        _drive(begin(ranks.hearing(flag) if ranks else flag), recorder, watcher, flag, ranks)


@contextmanager
def _first_lock(path: Path) -> Iterator[locks.Lock]:
    """The lock of a new directory, which goes where nothing at all was written, so that its name is free."""
    try:
        with locks.hold(path) as lock:
            yield lock
    except BaseException:
        if all(left.name == locks.FILE for left in path.glob("*")):  # which finds nothing where it was moved
            with suppress(StorageError):
                remove_file(path / locks.FILE)
            remove_directory(path)
        raise


def _drive(
    events: Iterable[Event], recorder: Recorder, watcher: Watcher | None, flag: StopFlag, ranks: Ranks | None = None
) -> None:
    """Hand each event to whoever keeps it and whoever shows it; raise what ended the run before its end."""
    try:
        for event in events:
            recorder.record(event)
            if watcher:
                watcher(event)
    except BaseException as error:
        recorder.give_up(error)
        if isinstance(error, StorageError) and (recorder.path / "config.toml").exists():
            raise StorageError(f"{error}; then 'lenscope train --resume {recorder.path}' goes on") from error
        raise
    lost = ranks.lost if ranks else False
    if ranks:  # what was done is kept: now the others may end
        ranks.wait_for_all()
    if isinstance(event, RunStopped) and event.error:
        raise event.error
    follows = _what_follows(recorder.path, finished=not isinstance(event, RunStopped))
    if ranks and lost:
        raise ranks.loss(follows)
    if isinstance(event, RunStopped) or flag():  # the flag alone: it was raised when all was done
        raise Interrupted(recorder.path, flag.signal, follows)


def _what_follows(path: Path, *, finished: bool) -> str:
    verb, what = ("plot", "draws the finished run") if finished else ("train --resume", "goes on")
    return f"'lenscope {verb} {path}' {what}"
