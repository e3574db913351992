"""What decides the last bits of PyTorch's results: neutralised where possible, else recorded."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from lenscope.environment import processor_model

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLES = (  # environment variables by which MKL and oneDNN choose other instructions or less precision
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
)


@contextmanager
def settled() -> Iterator[None]:
    """Replace the caller's defaults of PyTorch that would change a run's results, and restore them afterwards.

    The default type is float32, the default device the CPU, autocast is off, gradients are enabled, and denormal
    numbers are not flushed to zero. The number of threads is restored, too, since an engine sets it.
    """
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        stack.callback(torch.set_default_dtype, dtype)
        if torch.tensor(1e-40, device="cpu").mul(1).item() == 0:  # a library built with -ffast-math sets it, too
            torch.set_flush_denormal(False)
            stack.callback(torch.set_flush_denormal, True)
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":  # a device context makes each call of PyTorch slower
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def describe_numerics() -> dict[str, str]:
    """What PyTorch's last bits depend on, other than its version, the threads and the processor's name."""
    backends: Any = torch.backends
    mkldnn = backends.mkldnn
    precisions = (backends.fp32_precision, mkldnn.matmul.fp32_precision, mkldnn.conv.fp32_precision)
    variables = [f"{name}={os.environ[name][:40]}" for name in VARIABLES if name in os.environ]
    return {
        "processor model": processor_model(),
        "CPU capability": backends.cpu.get_cpu_capability(),
        "float32 precision": " ".join(name.replace("none", "ieee") for name in precisions),  # all, matmul, conv
        "oneDNN": "on" if mkldnn.enabled else "off",
        "deterministic algorithms": "on" if torch.are_deterministic_algorithms_enabled() else "off",
        "variables": " ".join(variables) or "none",
    }
