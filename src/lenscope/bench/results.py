"""What was measured, and what follows from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from lenscope.bench.task import EPOCH, TEST, multiply_adds

Kind = Literal["engine", "peer"]
Work = Literal["training", "evaluation"]
BASELINE = "PyTorch eager"  # the peer that all are compared with


@dataclass(frozen=True)
class Row:
    """The times of one contestant.

    Attributes:
        name: such as `fused` or `PyTorch eager`.
        kind: one of our engines, or a peer.
        work: an epoch of 60,000 images, or the evaluation of 10,000.
        device: where it ran, such as `cpu`.
        threads: threads of the processor.
        batch_size: images an update.
        seconds: one a round, told for that many images.
        loss: the mean loss of the last round, in nats: who is quick must also learn.
        note: which of several ways it took.
    """

    name: str
    kind: Kind
    work: Work
    device: str
    threads: int
    batch_size: int
    seconds: tuple[float, ...]
    loss: float
    note: str = ""

    @property
    def median(self) -> float:
        """Seconds in the middle round."""
        return median(self.seconds)

    @property
    def images(self) -> int:
        """How many images the seconds are told for."""
        return EPOCH if self.work == "training" else TEST


@dataclass(frozen=True)
class Benchmark:
    """All rows of one measurement, and the machine's own pace.

    Attributes:
        machine: processor, versions and the like, as plain values.
        instruction_set: what the multiply-adds were measured with; None where native code is not here.
        peaks: float32 multiply-adds a second by number of threads, one a round.
        images: training images that were timed.
        rows: the contestants, engines first.
        missing: why others did not run, by their names.
    """

    machine: dict[str, Any]
    instruction_set: str | None
    peaks: dict[int, tuple[float, ...]]
    images: int
    rows: tuple[Row, ...]
    missing: dict[str, str]

    def of(self, work: Work) -> tuple[Row, ...]:
        """The rows of one kind of work."""
        return tuple(row for row in self.rows if row.work == work)

    def floor(self, row: Row) -> float | None:
        """Seconds that the row's multiply-adds take at the measured peak; None where that was not measured."""
        if row.threads not in self.peaks or row.device != "cpu":
            return None
        an_image = dict(zip(("training", "evaluation"), multiply_adds(), strict=True))[row.work]
        return an_image * row.images / median(self.peaks[row.threads])

    def share_of_peak(self, row: Row) -> float | None:
        """The floor over the median; above 1 where work is left out, as the backward pass of a max-pool allows."""
        floor = self.floor(row)
        return None if floor is None else floor / row.median

    def times_baseline(self, row: Row) -> float | None:
        """How many times the row's median plain PyTorch takes for the same work; None where that did not run."""
        baseline = next((other.median for other in self.of(row.work) if other.name == BASELINE), None)
        return None if baseline is None else baseline / row.median

    def gains(self) -> dict[str, float]:
        """How many times as fast the most threads are as one, for each engine and batch size that ran on both."""
        times = {(row.name, row.batch_size, row.threads): row.median for row in self.of("training")}
        most = max((threads for *_, threads in times), default=1)
        return {
            f"{name}, batch {size}": times[name, size, 1] / seconds
            for (name, size, threads), seconds in times.items()
            if threads == most > 1 and (name, size, 1) in times
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the attributes, and for each row what follows from it."""
        return asdict(self) | {"rows": [self.row_as_dict(row) for row in self.rows], "gains": self.gains()}

    def row_as_dict(self, row: Row) -> dict[str, Any]:
        """One row with its median, spread, share of the peak, and what the baseline takes."""
        return asdict(row) | {
            "images": row.images,
            "median_seconds": row.median,
            "least_seconds": min(row.seconds),
            "most_seconds": max(row.seconds),
            "share_of_peak": self.share_of_peak(row),
            "times_baseline": self.times_baseline(row),
        }
