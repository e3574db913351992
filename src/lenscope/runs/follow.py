"""What the ranks of one run tell one another before they train: the first keeps the run, the others follow it.

All that decides the result comes from the first: the settings, where the run goes on or which weights it starts from.
The data are each rank's own, and compared.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lenscope.config import TrainConfig
from lenscope.engines import engine_for
from lenscope.errors import DataError, Interrupted
from lenscope.runs import checkpoint
from lenscope.runs.prepare import prepare
from lenscope.training.events import Checkpoint, Position, RunStopped
from lenscope.training.fit import Start, fit
from lenscope.training.interrupt import listen_for_stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.data.dataset import Splits
    from lenscope.pytorch.ranks import Ranks
    from lenscope.training.engine import Engine

BEGINS, GOES_ON = b"begins", b"goes on"


def tell_settings(ranks: Ranks | None, config: TrainConfig, splits: Splits) -> None:
    """Tell the other ranks, if there are any, what is trained, and on which data."""
    if ranks:
        ranks.spread(config.to_toml().encode())
        ranks.spread(_hashes(splits))


def tell_start(ranks: Ranks | None, engine: Engine, start: Start | None) -> None:
    """Tell the other ranks, if there are any, where it goes on, or which weights it begins with."""
    if ranks:
        position, state = (start.position, start.state) if start else (Position(), engine.state())
        ranks.spread(GOES_ON if start else BEGINS)
        ranks.spread(checkpoint.encode(Checkpoint(0, position, state), {}))
        ranks.spread(start.losses.astype("<f4").tobytes() if start else b"")


def follow_run(ranks: Ranks, load: Callable[[TrainConfig], Splits]) -> None:
    """Do this rank's part of a run that the first one keeps, and write nothing.

    Args:
        ranks: of which this is not the first.
        load: gives the data that settings ask for.

    Raises:
        DataError: other data than the first rank's.
        UsageError, NonFiniteError, Interrupted: as on the first.
        RankLostError: another rank is gone.
    """
    config = TrainConfig.from_toml(ranks.spread().decode(), "the first rank's settings")
    expected, splits = ranks.spread(), load(config)
    if _hashes(splits) != expected:
        raise DataError(f"{config.data}: others than the first rank's; give all ranks the same data")
    prepared = prepare(config, splits)
    begins, kept = ranks.spread() == BEGINS, checkpoint.decode(ranks.spread(), "the first rank's state")
    start = Start(kept.position, np.frombuffer(ranks.spread(), "<f4").astype(np.float32), kept.state)
    weights = prepared.network.check(kept.state.weights)
    training = engine_for(prepared.network, weights, prepared.sized.train, config, ranks)
    with training as engine, listen_for_stop() as flag:
        events = fit(config, prepared.sized, engine, ranks.hearing(flag), None if begins else start)
        [last] = deque(events, maxlen=1)
        lost = ranks.lost
        ranks.wait_for_all()
    if isinstance(last, RunStopped) and last.error:
        raise last.error
    if lost and not flag():  # where torchrun asked for the end of all of them, that is why another is gone
        raise ranks.loss("the first one tells how to go on")
    if isinstance(last, RunStopped):
        raise Interrupted(Path(), flag.signal, "the first rank tells how to go on")


def _hashes(splits: Splits) -> bytes:
    return f"{splits.train.sha256} {splits.test.sha256 if splits.test else None}".encode()
