"""The machine and the software, as data."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from importlib import metadata
from math import ceil, inf
from pathlib import Path

CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
MODEL = ("cpu family", "model", "cache size", "CPU implementer", "CPU part")
PACKAGES = ("lenscope", "torch", "numpy", "pillow", "safetensors", "matplotlib", "pydantic")


def describe_environment() -> dict[str, object]:
    """Versions, processor and platform; nothing that identifies the user or the place."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "processor": processor_name(),
        "processors": usable_processors(),
        "packages": {name: package_version(name) for name in PACKAGES},
    }


def install_command(extra: str = "") -> str:
    """The command that installs Lenscope, with an extra or again: from the clone that it runs in, else from PyPI."""
    clone, options = Path(__file__).parents[2], f"[{extra}]" if extra else ""
    if (clone / "pyproject.toml").is_file():
        return f"{shlex.quote(sys.executable)} -m pip install -e {shlex.quote(f'{clone}{options}')}"
    again = "" if extra else "--force-reinstall --no-deps "
    return f"pip install {again}{shlex.quote(f'lenscope{options}')}"


def usable_processors() -> int:
    """The number of processors that this process may use, by its affinity and by the quota of its container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ceil(min(count, processor_quota()))


def processor_quota(own: Path = OWN_CGROUPS, root: Path = CGROUPS) -> float:
    """The processors that the control groups of this process may use together, on Linux; infinite without a limit.

    The least of the group and of those around it: `cpu.max` (version 2) or `cpu.cfs_quota_us` (version 1). In a
    container, the group's own path may not exist; the container's limit is at the root then.
    """
    least = inf
    for line in _lines(own):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        inner = top / path.lstrip("/")
        for group in (inner, *inner.parents):
            pair = [
                word for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us") for word in _words(group / name)
            ]
            if len(pair) == 2 and all(map(str.isdecimal, pair)) and int(pair[1]):
                least = min(least, max(1, int(pair[0])) / int(pair[1]))
            if group == top:
                break
    return least


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name, or else the machine's type."""
    return _first_processor(cpuinfo).get("model name") or platform.processor() or platform.machine()


def processor_model(cpuinfo: Path = CPUINFO) -> str:
    """Family, model and cache of the processor on Linux, to distinguish processors of one name; elsewhere empty.

    In virtual machines, the name is often just `AMD EPYC`.
    """
    fields = _first_processor(cpuinfo)
    return ", ".join(f"{name} {fields[name]}" for name in MODEL if name in fields)


def _first_processor(cpuinfo: Path) -> dict[str, str]:
    """The fields of the first processor; empty where they are unknown."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in reversed(list(lines))}


def free_memory(meminfo: Path = MEMINFO) -> int | None:
    """Bytes of memory that a process can still use without swapping, on Linux; None where this is unknown."""
    text = meminfo.read_text(encoding="ascii", errors="replace") if meminfo.exists() else ""
    found = re.search(r"^MemAvailable: +(\d+) kB$", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else None


def _lines(path: Path) -> list[str]:
    """The lines of a file of the system; none where it cannot be read."""
    try:
        return path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return [word for line in _lines(path) for word in line.split()]


def package_version(name: str) -> str | None:
    """The installed version of a package, or None; does not import the package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
