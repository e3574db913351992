"""The film: the convolution kernels at each snapshot, as fixed-size records; none of a network without convolutions.

`film.json` names the tensors and their shapes; a record of `film.bin` is the step as uint64, the values as float32
(tensor after tensor, row-major) and the CRC32 of both, all little-endian.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenscope.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lenscope.nets.layers import Weights

Layout = dict[str, tuple[int, ...]]

MAX_BYTES = 2**20  # of a layout; a layer takes about a hundred
MAX_RECORDS = 1_000_100  # one for each epoch there can be, and those within the first
LARGEST = 10_000_000  # values of a record; the largest kernels we know of (AlexNet) are 2.3 million


@dataclass(frozen=True, eq=False)
class Film:
    """Kernels over time.

    Attributes:
        steps: int64, shape (S,), the step after which each snapshot was taken; 0 is the start.
        kernels: for each layer float32, shape (S, out, in, height, width).
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
    if len(text) > MAX_BYTES:
        raise RunError(f"{source}: more than {MAX_BYTES} bytes for the shapes of kernels; the run is broken")
    try:
        layout = {str(tensor["name"]): tuple(map(int, tensor["shape"])) for tensor in json.loads(text)["tensors"]}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise RunError(f"{source}: not a film's description; the run is broken") from None
    sound = all(len(shape) == 4 and all(0 < size <= LARGEST for size in shape) for shape in layout.values())
    if not sound or sum(map(math.prod, layout.values())) > LARGEST:
        raise RunError(f"{source}: shapes that no kernels have; expected (out, in, height, width) of each layer")
    return layout


def encode_record(step: int, kernels: Weights) -> bytes:
    """One record of `film.bin`."""
    values = (kernel.astype("<f4").tobytes() for kernel in kernels.values())
    body = b"".join([step.to_bytes(8, "little"), *values])
    return body + zlib.crc32(body).to_bytes(4, "little")


def decode_film(content: bytes, layout: Layout, source: str) -> Film:
    """The film in whole records; what follows the last whole one is left out.

    Raises:
        RunError: a record's checksum is wrong, or there are more records than a run can have epochs.
    """
    count = sum(map(math.prod, layout.values()))
    record = np.dtype([("step", "<u8"), ("values", "<f4", (count,)), ("crc", "<u4")])
    if len(content) > MAX_RECORDS * record.itemsize:
        raise RunError(f"{source}: more than {MAX_RECORDS} snapshots; the run is broken")
    records = np.frombuffer(content[: len(content) // record.itemsize * record.itemsize], record)
    for number, (raw, crc) in enumerate(zip(records, records["crc"], strict=True)):
        if zlib.crc32(raw.tobytes()[:-4]) != crc:
            raise RunError(f"{source}: the checksum of record {number} is wrong; the film is broken from there on")
    return Film(records["step"].astype(np.int64), _by_layer(records["values"], layout))


def _by_layer(values: NDArray[np.float32], layout: Layout) -> dict[str, NDArray[np.float32]]:
    if not layout:
        return {}
    ends = np.cumsum([math.prod(shape) for shape in layout.values()])
    parts = np.split(values, ends[:-1], axis=1)
    return {name: part.reshape(-1, *shape) for (name, shape), part in zip(layout.items(), parts, strict=True)}
