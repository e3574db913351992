"""Several processes that train one network together, as torchrun starts them: its ranks.

Each takes its part of every batch, and one sum over all of them, of gradient, loss and whether somebody was asked to
stop, makes their weights, their losses and their end the same. A rank that is gone is met in that sum, too.

Where all ranks are on one machine they talk over its loopback, and nothing of theirs listens elsewhere.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import distributed

from lenscope.environment import usable_processors
from lenscope.errors import RankLostError
from lenscope.training.ranks import TORCHRUNS_TABLE, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOOPBACK = "127.0.0.1"
PATIENCE = timedelta(minutes=10)  # for a rank that neither answers nor ends
TOLD = 2  # numbers that are summed with a gradient: the loss, and how many ranks were asked to stop


class Ranks:
    """The processes that train a network together, once all of them are there.

    Attributes:
        place: this process's.
        stopped: whether one of them was asked to stop, or is gone.
        lost: whether one of them is gone.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.stopped = self.lost = False

    @property
    def count(self) -> int:
        """How many there are."""
        return self.place.count

    @property
    def threads(self) -> int:
        """How many threads this one uses where nothing else is asked for: its share of the machine's processors.

        torchrun sets OMP_NUM_THREADS to 1 where it is not set; another number is the user's.
        """
        asked = os.environ.get("OMP_NUM_THREADS", "1")
        share = usable_processors() // self.place.local_count
        return int(asked) if asked.isdecimal() and int(asked) > 1 else max(1, share)

    def part(self, count: int) -> slice:
        """Which of so many things in a row are this one's; none where there are more ranks than things."""
        rank, ranks = self.place.rank, self.count
        return slice(count * rank // ranks, count * (rank + 1) // ranks)

    def hearing(self, asked: Callable[[], bool]) -> Callable[[], bool]:
        """Whether this one was asked to stop, or another was, as far as the last sum told."""
        return lambda: self.stopped or asked()

    def sum_step(self, total: torch.Tensor, loss: float, *, stop: bool) -> tuple[float, bool]:
        """Add up a step's gradient over the ranks, in place.

        Args:
            total: the gradient, flat, and room for TOLD numbers behind it.
            loss: this one's share of the loss.
            stop: whether this one was asked to stop.

        Returns:
            The loss of the step, and whether it is not to be taken. Both are the same on all ranks, unless one is gone:
            then none of those that met it takes the step, and what is in `total` means nothing.
        """
        if total.device.type == "cpu":
            total[-TOLD], total[-1] = loss, stop
            self._try_sum(total)
            loss, asked = total[-TOLD:].tolist()
        else:  # a sum on GPUs waits for ever for a rank that is gone: the processors first see that all are there
            loss, asked = self.sum_numbers([loss], stop=stop)[0], self.stopped
            if not asked:
                self._try_sum(total[:-TOLD])
        self.stopped = self.stopped or bool(asked)
        return loss, self.stopped

    def sum_numbers(self, numbers: Sequence[float], *, stop: bool) -> list[float]:
        """Add up some numbers over the ranks in float64; `stopped` tells whether one was asked to stop, or is gone."""
        told = torch.tensor([*numbers, stop], dtype=torch.float64)
        self._try_sum(told)
        *sums, asked = told.tolist()
        self.stopped = self.stopped or bool(asked)
        return list(sums)

    def spread(self, content: bytes = b"") -> bytes:
        """What the first rank gives, on each of them; raises RankLostError where one is gone."""
        size = torch.tensor([len(content)])
        try:
            self._from_first(size)
            values = torch.from_numpy(np.frombuffer(content.ljust(int(size)), np.uint8).copy())
            if len(values):
                self._from_first(values)
        except RuntimeError:
            raise self.loss("nothing was trained") from None
        return values.numpy().tobytes()

    def wait_for_all(self) -> None:
        """Wait until all ranks have got here; not where one is gone."""
        if not self.lost:
            self.sum_numbers([], stop=False)

    def loss(self, then: str) -> RankLostError:
        """The error that says that another rank is gone, and what follows."""
        return RankLostError(f"another of the {self.count} ranks has ended; {then}")

    def leave(self) -> None:
        """Part with the others."""
        distributed.destroy_process_group()

    def _try_sum(self, values: torch.Tensor) -> None:
        try:
            self._sum(values)
        except RuntimeError:  # gloo's for a connection that was closed, or on which nothing came for too long
            self.lost = self.stopped = True

    def _sum(self, values: torch.Tensor) -> None:
        distributed.all_reduce(values)

    def _from_first(self, values: torch.Tensor) -> None:
        distributed.broadcast(values, 0)


def join(place: Place) -> Ranks:
    """Wait until all ranks are there; raises RankLostError where they do not find one another."""
    if place.on_one_machine:
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, _loopback_name())
    gpus = torch.cuda.is_available() and distributed.is_nccl_available()
    try:
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=_meet(place),
            rank=place.rank,
            world_size=place.count,
            timeout=PATIENCE,
        )
    except (RuntimeError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise RankLostError(f"the {place.count} ranks did not find one another: {reason}") from None
    return Ranks(place)


def _loopback_name() -> str:
    """As the system calls it: lo, lo0."""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")


def _meet(place: Place) -> Any:
    """The table on which the ranks find one another: torchrun's, or, where it has none, the first rank's."""
    stores: Any = distributed  # its types do not tell of them
    theirs = os.environ.get(TORCHRUNS_TABLE) == "True"
    address = LOOPBACK if place.on_one_machine else place.address
    serves, descriptor = not theirs and place.rank == 0, None
    if serves and place.on_one_machine:  # left to itself it listens on every address
        descriptor = socket.create_server((address, place.port)).detach()
    store = stores.TCPStore(
        address,
        place.port,
        place.count,
        is_master=serves,
        timeout=PATIENCE,
        master_listen_fd=descriptor,
        multi_tenant=serves and descriptor is None,
    )
    return stores.PrefixStore(f"lenscope/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
