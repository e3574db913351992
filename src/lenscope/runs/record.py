"""Training from settings and data to a run directory."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lenscope.engines import engine_for
from lenscope.errors import Interrupted, StorageError
from lenscope.runs import lock as locks
from lenscope.runs.follow import send_settings, send_start
from lenscope.runs.init_from import start_from
from lenscope.runs.prepare import prepare
from lenscope.runs.provenance import environment_of, require_same_data
from lenscope.runs.recorder import Recorder, claim_directory
from lenscope.runs.resume import plan_resumption, read_saved, require_no_links
from lenscope.runs.run import Run, open_run
from lenscope.storage import remove_directory, remove_file
from lenscope.training.events import RunStarted, RunStopped
from lenscope.training.fit import fit
from lenscope.training.interrupt import listen_for_stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.pytorch.ranks import ProcessGroup
    from lenscope.runs.prepare import Prepared
    from lenscope.training.engine import Engine
    from lenscope.training.events import Event
    from lenscope.training.fit import Start


class Watcher(Protocol):
    """Shows the events of training as they occur."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """Restore the screen; called once, also after an error."""


def record_run(
    config: TrainConfig,
    splits: Splits,
    out: Path | None,
    watcher: Watcher | None = None,
    ranks: ProcessGroup | None = None,
) -> Run:
    """Train with these settings on these data, and record everything in a run directory.

    Nothing is written before settings, data, network and device have been checked against each other.

    Args:
        config: the settings; its validation split is held out of the training images here.
        splits: the data at their own size.
        out: the run's directory, which must not exist; None for the next free one under `runs/`.
        watcher: shows the events.
        ranks: the group of processes, in the first of them; the others call `follow_run`.

    Raises:
        UsageError: settings that do not fit the data or the machine, or an `out` that exists.
        NonFiniteError: the loss became NaN or infinite; the directory holds the last finite weights.
        StorageError: a file could not be written.
        RankLostError: another rank has ended; the run can be resumed.
        Interrupted: Ctrl-C or SIGTERM; the run can be resumed.
    """
    send_settings(ranks, config, splits)
    prepared = prepare(config, splits)
    weights, origin = start_from(config.init_from, prepared.network, prepared.weights)
    with engine_for(prepared.network, weights, prepared.sized.train, config, ranks) as engine:
        path = claim_directory(out, f"{Path(splits.name).name}-{config.network}")
        with _first_lock(path) as lock:
            environment = environment_of(engine, prepared) | origin
            send_start(ranks, engine, None)
            recorder = Recorder(path, environment, lock, calibrate=prepared.unsure_rule)
            _train(prepared, engine, recorder, watcher, ranks)
    return open_run(path)


def resume_run(
    path: Path, splits: Splits, config: TrainConfig, watcher: Watcher | None = None, ranks: ProcessGroup | None = None
) -> Run:
    """Resume a run from its newest intact checkpoint, or start it again if it has none.

    Args:
        path: the run's directory.
        splits: its data at their own size.
        config: its settings, from `settings_to_resume`.
        watcher: shows the events.
        ranks: as for `record_run`; their number may differ from before.

    Raises:
        RunError: not a run directory; a run that another process writes; data that differ from the run's; or a run
            that is broken beyond its checkpoints.
        UsageError, NonFiniteError, StorageError, RankLostError, Interrupted: as for `record_run`.
    """
    send_settings(ranks, config, splits)
    with locks.hold(path) as lock, ExitStack() as stack:
        require_no_links(path)
        saved = read_saved(path)
        if saved.environment:
            require_same_data(saved.environment, splits, path)
        prepared = prepare(config, splits)
        weights, origin = saved.initial(prepared)
        engine = stack.enter_context(engine_for(prepared.network, weights, prepared.sized.train, config, ranks))
        environment = environment_of(engine, prepared) | origin
        start, resumed, notes = plan_resumption(saved, environment)
        send_start(ranks, engine, start)
        environment |= resumed
        recorder = Recorder(path, environment, lock, saved.manifest, saved.checkpoint, calibrate=prepared.unsure_rule)
        _train(prepared, engine, recorder, watcher, ranks, start=start, notes=notes)
    return open_run(path)


def _train(  # noqa: PLR0913 - called twice
    prepared: Prepared,
    engine: Engine,
    recorder: Recorder,
    watcher: Watcher | None,
    ranks: ProcessGroup | None,
    *,
    start: Start | None = None,
    notes: tuple[str, ...] = (),
) -> None:
    """Train, and pass each event to recorder and watcher; raise whatever ended training early."""
    resume = f"resume with: lenscope train --resume {recorder.path}"
    with listen_for_stop() as flag, closing(watcher) if watcher else nullcontext():
        stop = ranks.stop_or(flag) if ranks else flag
        try:
            for event in fit(prepared.config, prepared.sized, engine, stop, start):
                recorder.record(event)
                if watcher:
                    watcher(replace(event, notes=notes + event.notes) if isinstance(event, RunStarted) else event)
        except BaseException as error:
            recorder.give_up(error)
            if isinstance(error, StorageError) and (recorder.path / "config.toml").exists():
                raise StorageError(f"{error}; then {resume}") from error
            raise
        lost = ranks.lost if ranks else False
        if ranks:  # all results are on disk, and the other ranks may end
            ranks.wait_for_all()
        stopped = isinstance(event, RunStopped)
        if isinstance(event, RunStopped) and event.error:
            raise event.error
        following = resume if stopped else f"the run is finished; draw it with: lenscope plot {recorder.path}"
        if ranks and lost:
            raise ranks.loss(following)
        if stopped or flag():  # after the last step, the flag alone is raised
            raise Interrupted(recorder.path, flag.signal, following)


@contextmanager
def _first_lock(path: Path) -> Iterator[locks.Lock]:
    """The lock of a new directory; if nothing was written when the block fails, the directory is removed."""
    try:
        with locks.hold(path) as lock:
            yield lock
    except BaseException:
        if all(left.name == locks.FILE for left in path.glob("*")):  # also true if the directory was moved
            with suppress(StorageError):
                remove_file(path / locks.FILE)
            remove_directory(path)
        raise
