"""One experiment from its settings to its run directory."""

from __future__ import annotations

from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Protocol

import torch

from lenscope.environment import describe_environment
from lenscope.errors import Interrupted, StorageError, UsageError
from lenscope.nets.catalogue import build
from lenscope.runs import lock as locks
from lenscope.runs.recorder import Recorder, claim_directory
from lenscope.runs.resume import find_start
from lenscope.runs.run import DataFacts, Run, open_run
from lenscope.training.choice import choose_engine
from lenscope.training.events import RunStopped
from lenscope.training.fit import check_batch_size, fit
from lenscope.training.interrupt import StopFlag, listen_for_stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.nets.catalogue import Network
    from lenscope.training.engine import Engine
    from lenscope.training.events import Event
    from lenscope.training.fit import Start


class Watcher(Protocol):
    """Whoever shows the events of training as they come."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """Leave the screen in order; called once, also after an error."""


def record_run(config: TrainConfig, splits: Splits, out: Path | None, watcher: Watcher | None = None) -> Run:
    """Train with these settings on these data, and keep everything in a run directory.

    Nothing is written before settings, data, network and device have been found to fit.

    Args:
        config: the settings; its `validation` is held out of the training images here.
        splits: the data at their own size.
        out: the run's directory, which must not exist; None for the next free one under `runs/`.
        watcher: who shows the events.

    Raises:
        UsageError: settings that do not fit the data or the machine, or an `out` that exists.
        NonFiniteError: see there; the directory keeps the last good weights.
        StorageError: a file could not be written.
        Interrupted: asked to stop; the directory opens with all that was done.
    """
    prepared = _prepare(config, splits)
    _start_from(config.init_from, prepared.network)
    with _threads_kept():
        engine = choose_engine(prepared.network, prepared.sized.train, config)
        path = claim_directory(out, f"{Path(splits.name).name}-{config.network}")
        with _first_lock(path) as lock:
            environment = _environment(engine, prepared)
            _train(prepared, engine, lambda: Recorder(path, environment, lock), watcher)
    return open_run(path)


def resume_run(path: Path, splits: Splits, config: TrainConfig, watcher: Watcher | None = None) -> Run:
    """Go on with a run from its newest sound checkpoint, or from its beginning where it has none.

    Args:
        path: the run's directory.
        splits: its data at their own size.
        config: its settings, from `settings_to_resume`.
        watcher: who shows the events.

    Raises:
        RunError: data other than the run's, a run that another process writes, or one that is broken beyond its
            checkpoints.
        NonFiniteError, StorageError, Interrupted: as for `record_run`.
    """
    prepared = _prepare(config, splits)
    with _threads_kept(), locks.hold(path) as lock:
        engine = choose_engine(prepared.network, prepared.sized.train, config)
        environment = _environment(engine, prepared)
        resumption = find_start(path, environment)
        if resumption.kept is None:
            _start_from(config.init_from, prepared.network)
        facts, before, kept = environment | resumption.facts, resumption.manifest, resumption.kept
        _train(prepared, engine, lambda: Recorder(path, facts, lock, before, kept), watcher, resumption.start)
    return open_run(path)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """Settings, data and network that were found to fit each other."""

    config: TrainConfig
    whole: Splits
    held: Splits
    sized: Splits
    network: Network


def _prepare(config: TrainConfig, splits: Splits) -> _Prepared:
    held = splits.hold_out(config.validation, config.seed)
    check_batch_size(config, len(held.train))
    network = build(config.network, held.train.channels, len(held.classes), config.seed)
    return _Prepared(config, splits, held, held.resized(network.image_size), network)


def _environment(engine: Engine, prepared: _Prepared) -> dict[str, object]:
    facts = {"engine": engine.name, "device": engine.device, "isa": engine.isa, "threads": engine.threads}
    return describe_environment() | facts | {"data": asdict(_facts(prepared.whole, prepared.held))}


def _train(
    prepared: _Prepared,
    engine: Engine,
    recorder: Callable[[], Recorder],
    watcher: Watcher | None,
    start: Start | None = None,
) -> None:
    with listen_for_stop() as flag, closing(watcher) if watcher else nullcontext():
        _drive(fit(prepared.config, prepared.sized, engine, flag, start), recorder(), watcher, flag)


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Give PyTorch back the number of threads that it had."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _first_lock(path: Path) -> Iterator[locks.Lock]:
    """The lock of a new directory, which goes where nothing at all could be written, so that its name is free."""
    try:
        with locks.hold(path) as lock:
            yield lock
    except StorageError:
        if all(left.name == locks.FILE for left in path.iterdir()):
            rmtree(path, ignore_errors=True)
        raise


def _drive(events: Iterable[Event], recorder: Recorder, watcher: Watcher | None, flag: StopFlag) -> None:
    """Hand each event to whoever keeps it and whoever shows it; raise what ended the run before its end."""
    try:
        for event in events:
            recorder.record(event)
            if watcher:
                watcher(event)
    except BaseException as error:
        recorder.give_up(error)
        raise
    if isinstance(event, RunStopped) and event.error:
        raise event.error
    if isinstance(event, RunStopped) or flag():  # the flag alone: it was raised when all was done
        raise Interrupted(recorder.path, flag.signal)


def _facts(whole: Splits, splits: Splits) -> DataFacts:
    train = whole.train
    return DataFacts(
        name=train.name,
        source=train.source,
        licence=train.licence,
        train_sha256=train.sha256,
        test_sha256=whole.test.sha256 if whole.test else None,
        classes=train.classes,
        channels=train.channels,
        image_size=(train.images.shape[2], train.images.shape[3]),
        train_images=len(splits.train),
        validation_images=len(splits.validation or ()),
        test_images=len(splits.test or ()),
    )


def _start_from(source: str | None, network: Network) -> None:
    """Give a network the trained weights of a run, if one is named."""
    if source is None:
        return
    weights = open_run(source).weights()
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    theirs = {name: array.shape for name, array in weights.items()}
    if own != theirs:
        name, _ = min(own.items() ^ theirs.items())
        raise UsageError(
            f"--init-from {source}: {name} is {theirs.get(name, 'not there')}, expected {own.get(name, 'none')}; "
            "choose a run of the same network, channels and classes"
        )
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
