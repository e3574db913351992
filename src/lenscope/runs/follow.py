"""A run of several ranks: the first rank records the run, the others receive its settings and weights, and follow.

All that decides the result comes from the first rank: the settings, and the checkpoint or the initial weights. Each
rank loads the data itself, and compares them with the first rank's.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lenscope.config import TrainConfig
from lenscope.engines import engine_for
from lenscope.errors import DataError, Interrupted
from lenscope.runs.files import checkpoint
from lenscope.runs.prepare import prepare
from lenscope.training.events import Checkpoint, Position, RunStopped
from lenscope.training.fit import Start, fit
from lenscope.training.interrupt import listen_for_stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from lenscope.data.dataset import Splits
    from lenscope.pytorch.ranks import ProcessGroup
    from lenscope.training.engine import Engine

NEW, RESUMED = b"new", b"resumed"


def send_settings(ranks: ProcessGroup | None, config: TrainConfig, splits: Splits) -> None:
    """Send the settings and the hashes of the data to the other ranks, if there are any."""
    if ranks:
        ranks.spread(config.to_toml().encode())
        ranks.spread(_hashes(splits))


def send_start(ranks: ProcessGroup | None, engine: Engine, start: Start | None) -> None:
    """Send the checkpoint, or the initial weights, to the other ranks, if there are any."""
    if ranks:
        position, state = (start.position, start.state) if start else (Position(), engine.state())
        ranks.spread(RESUMED if start else NEW)
        ranks.spread(checkpoint.encode(Checkpoint(0, position, state), {}))
        ranks.spread(start.losses.astype("<f4").tobytes() if start else b"")


def follow_run(ranks: ProcessGroup, load: Callable[[TrainConfig], Splits]) -> None:
    """Train as a rank other than the first, which records the run; write nothing.

    Args:
        ranks: the group of processes.
        load: loads the data that settings name.

    Raises:
        DataError: data that differ from the first rank's.
        UsageError, NonFiniteError, Interrupted: as in the first rank.
        RankLostError: another rank has ended.
    """
    config = TrainConfig.from_toml(ranks.spread().decode(), "the first rank's settings")
    expected, splits = ranks.spread(), load(config)
    if _hashes(splits) != expected:
        raise DataError(f"{config.data}: differs from the first rank's data; give all ranks the same data")
    prepared = prepare(config, splits)
    is_new, loaded = ranks.spread() == NEW, checkpoint.decode(ranks.spread(), "the first rank's state")
    start = Start(loaded.position, np.frombuffer(ranks.spread(), "<f4").astype(np.float32), loaded.state)
    weights = prepared.network.check(loaded.state.weights)
    training = engine_for(prepared.network, weights, prepared.sized.train, config, ranks)
    with training as engine, listen_for_stop() as flag:
        events = fit(config, prepared.sized, engine, ranks.stop_or(flag), None if is_new else start)
        [last] = deque(events, maxlen=1)
        lost = ranks.lost
        ranks.wait_for_all()
    if isinstance(last, RunStopped) and last.error:
        raise last.error
    if lost and not flag():  # if torchrun stops all ranks, the others end for that reason
        raise ranks.loss("the first rank says how to resume")
    if isinstance(last, RunStopped):
        raise Interrupted(Path(), flag.signal, "the first rank says how to resume")


def _hashes(splits: Splits) -> bytes:
    return repr(splits.hashes).encode()
