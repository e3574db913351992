"""PyTorch's devices: which one is used, what it is, and how exactly it computes."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from lenscope import forks
from lenscope.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lenscope.config import DeviceName
    from lenscope.pytorch.ranks import Ranks


def available_devices() -> list[str]:
    """The devices that PyTorch can use here, the fastest first."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [name for name, is_there in there.items() if is_there]


def describe_torch() -> str:
    """Its version, and on how many threads it computes."""
    return f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"


def choose_device(name: DeviceName) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one; raises UsageError where it is not there."""
    found = available_devices()
    if name == "auto":
        return _usable(torch.device(found[0]))
    if name not in found:
        there = ", ".join(found)
        raise UsageError(f"--device {name}: not available to PyTorch {torch.__version__} here; there is: {there}")
    return _usable(torch.device(name))


def set_threads(threads: int) -> None:
    """Use this many threads in PyTorch's operations; raises UsageError for several in a forked child."""
    if threads > 1 and forks.is_limited():
        raise UsageError(
            f"threads: got {threads} in a forked process, where PyTorch can use 1; pass threads=1 or start processes "
            "with multiprocessing's spawn"
        )
    torch.set_num_threads(threads)


def _usable(device: torch.device) -> torch.device:
    """The device; raises UsageError for a GPU that the parent of this forked process has used."""
    if device.type == "cuda" and torch.cuda._is_in_bad_fork():  # noqa: SLF001 - it has no public name
        raise UsageError(
            "device cuda: a forked process cannot use the GPU of its parent; pass device cpu or start processes with "
            "multiprocessing's spawn"
        )
    return device


def choose_rank_device(name: DeviceName, ranks: Ranks) -> torch.device:
    """The device of that name for one of some ranks, each with a GPU of its own; raises UsageError.

    Where CUDA_VISIBLE_DEVICES leaves a rank one GPU, that is its own, as some cluster schedulers set it.
    """
    if name == "mps":
        raise UsageError(f"--device mps: trains in one process, got {ranks.count} ranks; choose --device cpu")
    device = choose_device("cpu" if name == "auto" and not torch.cuda.is_available() else name)
    if device.type == "cpu":
        return device
    there, needed, number = torch.cuda.device_count(), ranks.place.local_count, ranks.place.local_rank
    if there == 1 and os.environ.get("CUDA_VISIBLE_DEVICES"):
        number = 0
    elif there < needed:
        gpus = f"{there} GPU{'' if there == 1 else 's'}"
        raise UsageError(f"{needed} ranks on this machine, but {gpus}; start no more, or add --device cpu")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def has_room(device: torch.device, size: int) -> bool:
    """Whether so many bytes leave a device half of its free memory; where images stay on the host, batches are sent."""
    return device.type != "cuda" or size <= torch.cuda.mem_get_info(device)[0] // 2


def describe_gpu(device: str) -> str | None:
    """Name of the GPU in use, with the versions of CUDA and cuDNN; None for another device."""
    if device != "cuda":
        return None
    backends: Any = torch.backends
    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, cuDNN {backends.cudnn.version()}"


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in float32 on a GPU, with cuDNN's reproducible algorithms, and put the user's settings back at the end.

    PyTorch lets cuDNN's convolutions round their inputs to TF32, which has 10 bits of mantissa and not 23: about 1e-3,
    where we promise 1e-4.
    """
    if device.type != "cuda":
        yield
        return
    backends: Any = torch.backends  # its types lack most of these
    cudnn = backends.cudnn
    operations = (cudnn.conv, cudnn.rnn, backends.cuda.matmul)
    before, deterministic = [operation.fp32_precision for operation in operations], cudnn.deterministic
    try:
        cudnn.deterministic = True
        for operation in operations:
            operation.fp32_precision = "ieee"
        yield
    finally:
        cudnn.deterministic = deterministic
        for operation, precision in zip(operations, before, strict=True):
            operation.fp32_precision = precision
