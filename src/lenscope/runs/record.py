"""One experiment from its settings to its run directory."""

from __future__ import annotations

from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from lenscope.environment import describe_environment
from lenscope.errors import Interrupted, StorageError, UsageError
from lenscope.nets.catalogue import build
from lenscope.runs.recorder import Recorder, claim_directory
from lenscope.runs.run import DataFacts, Run, open_run
from lenscope.training.choice import choose_engine
from lenscope.training.events import RunStopped
from lenscope.training.fit import check_batch_size, fit
from lenscope.training.interrupt import StopFlag, listen_for_stop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lenscope.config import TrainConfig
    from lenscope.data.dataset import Splits
    from lenscope.nets.catalogue import Network
    from lenscope.training.events import Event


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
    whole, splits = splits, splits.hold_out(config.validation, config.seed)
    check_batch_size(config, len(splits.train))
    network = build(config.network, splits.train.channels, len(splits.classes), config.seed)
    _start_from(config.init_from, network)
    sized = splits.resized(network.image_size)
    with _threads_kept():
        engine = choose_engine(network, sized.train, config)
        path = claim_directory(out, f"{Path(splits.name).name}-{config.network}")
        facts = {"engine": engine.name, "device": engine.device, "isa": engine.isa, "threads": engine.threads}
        environment = describe_environment() | facts | {"data": asdict(_facts(whole, splits))}
        with listen_for_stop() as flag, closing(watcher) if watcher else nullcontext():
            _drive(fit(config, sized, engine, flag), _recorder(path, environment), watcher, flag)
    return open_run(path)


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Give PyTorch back the number of threads that it had."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _recorder(path: Path, environment: dict[str, object]) -> Recorder:
    """A recorder; where nothing can be written the directory goes again, so that its name is free."""
    try:
        return Recorder(path, environment)
    except StorageError:
        path.rmdir()
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
