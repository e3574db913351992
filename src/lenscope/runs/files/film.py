"""The film: the convolution kernels at each snapshot, as records of fixed size; empty for a network without any.

`film.json` names the tensors and their shapes; a record of `film.bin` is the step as uint64, the values as float32
(one tensor after the other, row-major) and the CRC32 of both, all little-endian.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.runs.files.decoding import broken, decoding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.nets.layers import Weights

Layout = dict[str, tuple[int, ...]]

MAX_RECORDS = 1_000_100  # one per epoch, and those within the first
LARGEST = 10_000_000  # values in a record; the kernels of AlexNet have 2.3 million


@dataclass(frozen=True, eq=False)
class Film:
    """Kernels over time.

    Attributes:
        steps: int64, shape (S,), the number of steps before each snapshot.
        kernels: by layer, float32, shape (S, out, in, height, width).
    """

    steps: NDArray[np.int64]
    kernels: dict[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.steps)


def describe_layout(kernels: Weights) -> bytes:
    """The content of `film.json` for kernels of these shapes."""
    tensors = [{"name": name, "shape": list(kernel.shape)} for name, kernel in kernels.items()]
    record = "uint64 step, float32 values of each tensor in turn, uint32 CRC32 of what is before; little-endian"
    return (json.dumps({"record": record, "tensors": tensors}, indent=1) + "\n").encode()


def read_layout(text: bytes, source: str) -> Layout:
    """Names and shapes from `film.json`; raises RunError naming `source`."""
    with decoding(source, "a film's layout"):
        layout = {str(tensor["name"]): tuple(map(int, tensor["shape"])) for tensor in json.loads(text)["tensors"]}
    sound = all(len(shape) == 4 and all(0 < size <= LARGEST for size in shape) for shape in layout.values())
    if not sound or sum(map(math.prod, layout.values())) > LARGEST:
        raise broken(source, "invalid shapes of kernels, expected (out, in, height, width) per layer")
    return layout


def encode_record(step: int, kernels: Weights) -> bytes:
    """One record of `film.bin`."""
    values = (kernel.astype("<f4").tobytes() for kernel in kernels.values())
    body = b"".join([step.to_bytes(8, "little"), *values])
    return body + zlib.crc32(body).to_bytes(4, "little")


def decode_film(content: bytes, layout: Layout, source: str) -> Film:
    """The film in complete records; an incomplete last record is ignored.

    Raises:
        RunError: a wrong checksum.
    """
    count = sum(map(math.prod, layout.values()))
    record = np.dtype([("step", "<u8"), ("values", "<f4", (count,)), ("crc", "<u4")])
    if len(content) > MAX_RECORDS * record.itemsize:
        raise broken(source, f"more than {MAX_RECORDS:,} snapshots")
    records = np.frombuffer(content[: len(content) // record.itemsize * record.itemsize], record)
    for number, (raw, crc) in enumerate(zip(records, records["crc"], strict=True)):
        if zlib.crc32(raw.tobytes()[:-4]) != crc:
            raise broken(source, f"the checksum of record {number} is wrong")
    return Film(records["step"].astype(np.int64), _by_layer(records["values"], layout))


def _by_layer(values: NDArray[np.float32], layout: Layout) -> dict[str, NDArray[np.float32]]:
    if not layout:
        return {}
    ends = np.cumsum([math.prod(shape) for shape in layout.values()])
    parts = np.split(values, ends[:-1], axis=1)
    return {name: part.reshape(-1, *shape) for (name, shape), part in zip(layout.items(), parts, strict=True)}
