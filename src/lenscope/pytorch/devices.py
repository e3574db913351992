"""PyTorch's devices: the choice of one, its description, and its precision."""

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
    from lenscope.pytorch.ranks import ProcessGroup


def available_devices() -> list[str]:
    """The devices that PyTorch can use here, the fastest first."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [name for name, is_there in there.items() if is_there]


def describe_torch() -> str:
    """Its version, and on how many threads it computes."""
    return f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"


def choose_device(name: DeviceName, ranks: ProcessGroup | None = None) -> torch.device:
    """The device of that name; `auto` is the fastest one, for ranks a GPU or else the CPU.

    Each of several ranks has a GPU of its own. Where CUDA_VISIBLE_DEVICES leaves a rank one GPU, it uses that one, as
    some cluster schedulers set it.

    Raises:
        UsageError: a device that is not available, that ranks cannot use, or that a forked process cannot use.
    """
    found = available_devices()
    if ranks and name == "mps":
        raise UsageError(f"--device mps: trains only in one process, got {ranks.count} ranks; choose --device cpu")
    auto = found[0] if not ranks or found[0] == "cuda" else "cpu"
    chosen = auto if name == "auto" else name
    if chosen not in found:
        there = ", ".join(found)
        raise UsageError(f"--device {chosen}: not available to PyTorch {torch.__version__}; available here: {there}")
    if chosen == "cuda" and torch.cuda._is_in_bad_fork():  # noqa: SLF001 - it has no public name
        raise UsageError(
            "device cuda: a forked process cannot use the GPU of its parent; pass device cpu or start processes with "
            "multiprocessing's spawn"
        )
    return _own_gpu(ranks) if ranks and chosen == "cuda" else torch.device(chosen)


def _own_gpu(ranks: ProcessGroup) -> torch.device:
    """The GPU of one of several ranks, made the current one; raises UsageError where there are too few."""
    gpus, needed, number = torch.cuda.device_count(), ranks.info.local_count, ranks.info.local_rank
    if gpus == 1 and os.environ.get("CUDA_VISIBLE_DEVICES"):
        number = 0
    elif gpus < needed:
        counted = f"{gpus} GPU{'' if gpus == 1 else 's'}"
        raise UsageError(f"{needed} ranks on this machine, but {counted}; start at most {gpus}, or add --device cpu")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def set_threads(threads: int) -> None:
    """Use this many threads in PyTorch's operations; raises UsageError for several in a forked child."""
    if threads > 1 and forks.is_limited():
        raise UsageError(
            f"threads: got {threads} in a forked process, where PyTorch can use 1; pass threads=1 or start processes "
            "with multiprocessing's spawn"
        )
    torch.set_num_threads(threads)


def has_room(device: torch.device, size: int) -> bool:
    """Whether this many bytes take at most half of a device's free memory; else images stay on the host."""
    return device.type != "cuda" or size <= torch.cuda.mem_get_info(device)[0] // 2


def describe_gpu(device: str) -> str | None:
    """Name of the GPU in use, with the versions of CUDA and cuDNN; None for another device."""
    if device != "cuda":
        return None
    backends: Any = torch.backends
    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, cuDNN {backends.cudnn.version()}"


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in float32 on a GPU, with cuDNN's reproducible algorithms, and restore the user's settings at the end.

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
