"""This process's rank among the processes that torchrun starts to train one network together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lenscope.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

TORCHRUNS_STORE = "TORCHELASTIC_USE_AGENT_STORE"  # "True" where torchrun serves the key-value store of the ranks
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class RankInfo:
    """One process among those that train a network together.

    Attributes:
        rank: counted from 0; rank 0 writes the run directory.
        count: the number of ranks.
        local_rank: counted from 0 on this machine.
        local_count: the number of ranks on this machine.
        address: of the machine through which they connect.
        port: on that machine.
    """

    rank: int
    count: int
    local_rank: int
    local_count: int
    address: str
    port: int

    @property
    def on_one_machine(self) -> bool:
        """Whether all ranks are on this machine."""
        return self.local_count == self.count


def find_rank_info(environment: Mapping[str, str] | None = None) -> RankInfo | None:
    """This process's rank from torchrun's variables; None where it is alone; raises UsageError for invalid ones."""
    environment = os.environ if environment is None else environment
    if not all(environment.get(name) for name in NEEDED):
        return None
    rank, count = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    alone = environment["MASTER_ADDR"] in {"localhost", "::1"} or environment["MASTER_ADDR"].startswith("127.")
    local_rank = _number(environment, "LOCAL_RANK", rank)
    local_count = _number(environment, "LOCAL_WORLD_SIZE", count if alone else 1)
    if not (rank < count and local_rank < local_count <= count):
        raise UsageError(f"invalid RANK={rank} for WORLD_SIZE={count}; start the processes with torchrun")
    if count == 1:
        return None
    return RankInfo(
        rank, count, local_rank, local_count, environment["MASTER_ADDR"], _number(environment, "MASTER_PORT")
    )


def describe_exposure() -> str | None:
    """A warning where torchrun's key-value store listens on all addresses; None where torchrun has none.

    PyTorch's TCPStore cannot listen on one address alone, and torchrun unpickles its values.
    """
    if os.environ.get(TORCHRUNS_STORE) != "True":
        return None
    return (
        "torchrun listens on all addresses of this machine, and anyone who can connect can run code as you; "
        "docs/scale.md has a command that does not listen"
    )


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 7):
        raise UsageError(f"{name}: got {text[:20]!r}, expected a number; start the processes with torchrun")
    return int(text)
