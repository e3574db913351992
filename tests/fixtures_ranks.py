"""ProcessGroup that train together: as threads of this process, and as processes that torchrun starts."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fixtures_data import write_idx
from lenscope.pytorch.ranks import ProcessGroup
from lenscope.training.ranks import RankInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from lenscope.data.dataset import Splits

RANK = Path(__file__).parent / "rank.py"
WARNING = "lenscope train: warning: torchrun listens on all addresses"
LISTENS = "0A"  # of a TCP socket, as /proc has it


class Meeting:
    """Where threads put what they have to give, and take what all gave; one that is gone ends it for the others."""

    def __init__(self, count: int) -> None:
        self.given: list[list[Any]] = [[] for _ in range(count)]
        self.gone = False
        self.changed = threading.Condition()

    def exchange(self, rank: int, value: Any) -> list[Any]:
        """What all ranks give in the same turn, by rank."""
        with self.changed:
            own = self.given[rank]
            own.append(value)
            turn = len(own)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.gone or self.is_full(turn))
            if not self.is_full(turn):
                raise RuntimeError("Connection closed by peer")
            if turn > 2:  # all have what was given two turns ago
                own[turn - 3] = None
            return [values[turn - 1] for values in self.given]

    def is_full(self, turn: int) -> bool:
        return all(len(values) >= turn for values in self.given)

    def leave(self) -> None:
        with self.changed:
            self.gone = True
            self.changed.notify_all()


class ThreadRanks(ProcessGroup):
    """ProcessGroup that are threads of this process."""

    def __init__(self, place: RankInfo, meeting: Meeting) -> None:
        super().__init__(place)
        self.meeting = meeting

    def _sum(self, values: torch.Tensor) -> None:
        first, *others = self.meeting.exchange(self.info.rank, values.clone())
        values.copy_(sum(others, first))

    def _from_first(self, values: torch.Tensor) -> None:
        values.copy_(self.meeting.exchange(self.info.rank, values.clone())[0])


def in_ranks(count: int, work: Callable[[ThreadRanks], Any]) -> list[Any]:
    """What each of so many ranks comes to, the exception where it raises one; a rank that has ended is gone."""
    meeting = Meeting(count)

    def one(rank: int) -> Any:
        try:
            return work(ThreadRanks(RankInfo(rank, count, rank, count, "localhost", 1), meeting))
        except BaseException as error:  # noqa: BLE001 - told, as a process tells it by its end
            return error
        finally:
            meeting.leave()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def write_folder(folder: Path, whole: Splits, train: int, test: int) -> Path:
    """The first images of a grey data set as a folder of IDX files."""
    folder.mkdir(parents=True)
    for part, dataset, count in (("train", whole.train, train), ("t10k", whole.test, test)):
        taken = dataset.take(np.arange(count))
        write_idx(folder / f"{part}-images-idx3-ubyte", taken.images[:, 0])
        write_idx(folder / f"{part}-labels-idx1-ubyte", taken.labels)
    return folder


class Torchrun:
    """`torchrun … lenscope train …`, without the pictures."""

    def __init__(self, ranks: int, *arguments: str, command: tuple[str, ...] = (), **environment: str) -> None:
        """Start it; `command` is another than torchrun's own, to which the arguments are added."""
        torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks), str(RANK), "train")
        self.process = subprocess.Popen(
            [*(command or torchrun), *arguments],
            env=os.environ | {"PYTHONFAULTHANDLER": "1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, list[str]]:
        """Wait for it: its exit code, what it printed, and the lines in which Lenscope said what is wrong."""
        try:
            out, self.said = self.process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            for pid in (*self.pids().values(), self.process.pid):  # each then tells where it stands
                os.kill(pid, signal.SIGABRT)
            pytest.fail(f"torchrun does not end:\n{self.process.communicate()[1]}")
        lines = [line for line in self.said.splitlines() if line.startswith("lenscope train:")]
        lines = [line for line in lines if not line.startswith(WARNING)]
        return self.process.returncode, out, lines

    def succeed(self) -> str:
        """Wait for its end, which is to be a good one, without a word of what is wrong: what it printed."""
        code, out, lines = self.end()
        assert (code, lines) == (0, []), self.said
        return out

    def pids(self) -> dict[int, int]:
        """The processes of its ranks, by rank, so far as they have begun."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "environ").read_text().split("\0") if parent == self.process.pid else []
            except OSError:  # it has ended meanwhile
                continue
            found |= {int(word.removeprefix("RANK=")): int(folder.name) for word in words if word.startswith("RANK=")}
        return found

    def await_(self, condition: Callable[[], bool]) -> None:
        """Wait until something is there, or for the end."""
        while self.process.poll() is None and not condition():
            time.sleep(0.005)


def addresses_listened_on(pid: int) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses on which a process has a TCP socket that listens."""
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the one through which they are listed
            links.append(str(link.readlink()))
    own = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}
    tables = [Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii") for name in ("tcp", "tcp6")]
    rows = [row.split() for text in tables for row in text.splitlines()]
    return [address_of(row[1]) for row in rows if row[3] == LISTENS and row[9] in own]


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as /proc has it: words of 32 bits in the machine's order, in hexadecimal."""
    words = bytes.fromhex(text.partition(":")[0])
    order = 1 if sys.byteorder == "big" else -1
    octets = b"".join(words[start : start + 4][::order] for start in range(0, len(words), 4))
    address = ipaddress.ip_address(octets)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
