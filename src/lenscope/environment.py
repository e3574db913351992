"""The machine and the software that a run was made with, as data."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
MODEL = ("cpu family", "model", "cache size", "CPU implementer", "CPU part")
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


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name as it gives it, or the machine's type."""
    return _first_processor(cpuinfo).get("model name") or platform.processor() or platform.machine()


def processor_model(cpuinfo: Path = CPUINFO) -> str:
    """What tells processors of one name apart, as far as Linux says it: family, model and cache; else an empty string.

    Virtual machines have processors that are called `AMD EPYC` and no more.
    """
    facts = _first_processor(cpuinfo)
    return ", ".join(f"{name} {facts[name]}" for name in MODEL if name in facts)


def _first_processor(cpuinfo: Path) -> dict[str, str]:
    """What is said of the first processor; empty where nothing is."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in reversed(list(lines))}


def package_version(name: str) -> str | None:
    """The installed version of a package, None where it is not there; does not import it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
