"""Several processes that train one network together, as torchrun starts them: its ranks.

Each computes its share of every batch. One sum over all ranks, of gradient, loss and requests to stop, gives them equal
weights and losses, and lets them stop at the same step. A rank that has ended is noticed in that sum, too.

ProcessGroup on one machine communicate over its loopback interface and listen on no other address.
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
from lenscope.training.ranks import TORCHRUNS_STORE, RankInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOOPBACK = "127.0.0.1"
TIMEOUT = timedelta(minutes=10)  # for a rank that neither answers nor ends
EXTRA = 2  # numbers that are summed with a gradient: the loss, and how many ranks were asked to stop


class ProcessGroup:
    """The processes that train a network together, once all have joined.

    Attributes:
        info: this process's rank.
        stopped: whether a rank was asked to stop, or has ended.
        lost: whether a rank has ended.
    """

    def __init__(self, place: RankInfo) -> None:
        self.info = place
        self.stopped = self.lost = False

    @property
    def count(self) -> int:
        """The number of ranks."""
        return self.info.count

    @property
    def threads(self) -> int:
        """This rank's default number of threads: OMP_NUM_THREADS, or its share of the machine's processors.

        torchrun sets OMP_NUM_THREADS to 1 where it is not set; any other number is the user's.
        """
        asked = os.environ.get("OMP_NUM_THREADS", "1")
        share = usable_processors() // self.info.local_count
        return int(asked) if asked.isdecimal() and int(asked) > 1 else max(1, share)

    def share(self, count: int) -> slice:
        """This rank's share of `count` items; empty for some ranks where there are more ranks than items."""
        rank, ranks = self.info.rank, self.count
        return slice(count * rank // ranks, count * (rank + 1) // ranks)

    def stop_or(self, asked: Callable[[], bool]) -> Callable[[], bool]:
        """Whether this rank was asked to stop, or another was by the time of the last sum."""
        return lambda: self.stopped or asked()

    def sum_step(self, total: torch.Tensor, loss: float, *, stop: bool) -> tuple[float, bool]:
        """Add up a step's gradient over the ranks, in place.

        Args:
            total: the flat gradient, followed by EXTRA numbers that are overwritten.
            loss: this rank's share of the loss.
            stop: whether this rank was asked to stop.

        Returns:
            The loss of the step, and whether the step must not be taken. Both are equal on all ranks, unless one has
            ended: then no rank takes the step, and the values in `total` are undefined.
        """
        if total.device.type == "cpu":
            total[-EXTRA], total[-1] = loss, stop
            self._try_sum(total)
            loss, asked = total[-EXTRA:].tolist()
        else:  # a sum on GPUs never ends if a rank has ended: first check on the CPUs that all are present
            loss, asked = self.sum_numbers([loss], stop=stop)[0], self.stopped
            if not asked:
                self._try_sum(total[:-EXTRA])
        self.stopped = self.stopped or bool(asked)
        return loss, self.stopped

    def sum_numbers(self, numbers: Sequence[float], *, stop: bool) -> list[float]:
        """Add up some numbers over the ranks in float64; sets `stopped` if one was asked to stop or has ended."""
        values = torch.tensor([*numbers, stop], dtype=torch.float64)
        self._try_sum(values)
        *sums, asked = values.tolist()
        self.stopped = self.stopped or bool(asked)
        return list(sums)

    def spread(self, content: bytes = b"") -> bytes:
        """The first rank's content, on all ranks; raises RankLostError where a rank has ended."""
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
        """Wait until all ranks have got here; return at once where a rank has ended."""
        if not self.lost:
            self.sum_numbers([], stop=False)

    def loss(self, then: str) -> RankLostError:
        """The error for a rank that has ended, with its consequence."""
        return RankLostError(f"another of the {self.count} ranks has ended; {then}")

    def leave(self) -> None:
        """Leave the process group."""
        distributed.destroy_process_group()

    def _try_sum(self, values: torch.Tensor) -> None:
        try:
            self._sum(values)
        except RuntimeError:  # gloo's for a closed connection, or a timeout
            self.lost = self.stopped = True

    def _sum(self, values: torch.Tensor) -> None:
        distributed.all_reduce(values)

    def _from_first(self, values: torch.Tensor) -> None:
        distributed.broadcast(values, 0)


def join(place: RankInfo) -> ProcessGroup:
    """Wait until all ranks have joined; raises RankLostError where some do not."""
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
            timeout=TIMEOUT,
        )
    except (RuntimeError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise RankLostError(f"the {place.count} ranks could not connect: {reason}") from None
    return ProcessGroup(place)


def _loopback_name() -> str:
    """The system's name of the loopback interface: lo, lo0."""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")


def _meet(place: RankInfo) -> Any:
    """The key-value store through which the ranks connect: torchrun's, or else one that the first rank serves."""
    stores: Any = distributed  # its type stubs lack the stores
    theirs = os.environ.get(TORCHRUNS_STORE) == "True"
    address = LOOPBACK if place.on_one_machine else place.address
    serves, descriptor = not theirs and place.rank == 0, None
    if serves and place.on_one_machine:  # by default it listens on every address
        descriptor = socket.create_server((address, place.port)).detach()
    store = stores.TCPStore(
        address,
        place.port,
        place.count,
        is_master=serves,
        timeout=TIMEOUT,
        master_listen_fd=descriptor,
        multi_tenant=serves and descriptor is None,
    )
    return stores.PrefixStore(f"lenscope/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
