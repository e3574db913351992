"""The machine and the software that a run was made with, as data."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("lenscope", "torch", "numpy", "pillow", "safetensors", "matplotlib", "pydantic")


def describe_environment() -> dict[str, object]:
    """Versions, processor and platform; nothing that tells who or where the user is."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "processor": processor_name(),
        "processors": usable_processors(),
        "packages": {name: package_version(name) for name in PACKAGES},
    }


def usable_processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as it gives it, or the machine's type."""
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def package_version(name: str) -> str | None:
    """The installed version of a package, None where it is not there; does not import it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
