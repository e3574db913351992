"""Where this process stands among those that torchrun starts to train one network together: its ranks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lenscope.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

TORCHRUNS_TABLE = "TORCHELASTIC_USE_AGENT_STORE"  # "True" where the ranks use the one that torchrun serves
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """Where this process stands among those that train a network together.

    Attributes:
        rank: from 0, the first, which keeps the run.
        count: how many there are.
        local_rank: from 0, on this machine.
        local_count: how many there are on this machine.
        address: of the machine on which they find one another.
        port: there.
    """

    rank: int
    count: int
    local_rank: int
    local_count: int
    address: str
    port: int

    @property
    def on_one_machine(self) -> bool:
        """Whether all of them are on this machine."""
        return self.local_count == self.count


def find_place(environment: Mapping[str, str] | None = None) -> Place | None:
    """This process's place, as torchrun tells it; None where it is alone; raises UsageError for what cannot be."""
    environment = os.environ if environment is None else environment
    if not all(environment.get(name) for name in NEEDED):
        return None
    rank, count = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    alone = environment["MASTER_ADDR"] in {"localhost", "::1"} or environment["MASTER_ADDR"].startswith("127.")
    local_rank = _number(environment, "LOCAL_RANK", rank)
    local_count = _number(environment, "LOCAL_WORLD_SIZE", count if alone else 1)
    if not (rank < count and local_rank < local_count <= count):
        raise UsageError(f"RANK={rank} of WORLD_SIZE={count}: cannot be; start the processes with torchrun")
    if count == 1:
        return None
    return Place(rank, count, local_rank, local_count, environment["MASTER_ADDR"], _number(environment, "MASTER_PORT"))


def describe_exposure() -> str | None:
    """What follows from a table of torchrun's that listens on all addresses; None where torchrun has none.

    PyTorch's TCPStore cannot listen on one address alone, and torchrun reads what is in it with pickle.
    """
    if os.environ.get(TORCHRUNS_TABLE) != "True":
        return None
    return (
        "torchrun listens on all addresses of this machine, and whoever reaches it can run code as you; "
        "docs/scale.md has the command that listens nowhere"
    )


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 7):
        raise UsageError(f"{name}: got {text[:20]!r}, expected a number; start the processes with torchrun")
    return int(text)
