"""`lenscope doctor`."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lenscope import native
from lenscope.cli.command import Command
from lenscope.data.cache import cache_folder
from lenscope.data.published.catalogue import CATALOGUE
from lenscope.data.published.locate import locate
from lenscope.environment import describe_environment, free_memory, usable_processors
from lenscope.errors import LenscopeError, UsageError
from lenscope.text import counted

LEAST_MEMORY = 400  # MB that training a LeNet on MNIST, with its pictures and its report, takes at most
NUMPY = "a LeNet is trained in numpy, which takes six times as long"


@dataclass
class Verdict:
    """What this machine can do.

    Attributes:
        can_train: whether `lenscope train` can run.
        ready: what can be used.
        missing: what is not installed or not here, what it is needed for, and what to run.
        problems: what prevents training, or may end it.
    """

    can_train: bool
    ready: list[str]
    missing: list[str]
    problems: list[str]

    def lines(self) -> list[str]:
        """The verdict as text."""
        can = "can run here" if self.can_train else "cannot run here"
        parts = {"ready": [", ".join(self.ready)], "missing": self.missing, "problem": self.problems}
        lines = [f"{name}: {text}" for name, texts in parts.items() for text in texts]
        return [*lines, f"lenscope train: {can}"]


class Doctor(Command):
    """Print versions, processor, engines, devices and data sets of this machine, and whether training can run.

    The exit code is 0 if `lenscope train` can run, else 1.
    """

    def execute(self) -> None:
        """Collect and print."""
        facts, verdict = _examine()
        lines = []
        for name, value in facts.items():
            parts = value.items() if isinstance(value, dict) else ()
            text = ", ".join(value) if isinstance(value, list) else "unknown" if value is None else value
            lines += [f"{name}:" if isinstance(value, dict) else f"{name}: {text}"]
            lines += [f"  {key}: {part if part is not None else 'not installed'}" for key, part in parts]
        self.show(facts | {"verdict": asdict(verdict)}, *lines, "", *verdict.lines())
        if not verdict.can_train:
            raise SystemExit(1)


def _examine() -> tuple[dict[str, Any], Verdict]:
    """The facts by name, and what follows from them."""
    found = {name: locate(name) for name in CATALOGUE}
    folders = {name: str(next(iter(paths.values())).parent) for name, paths in found.items() if paths}
    isa, broken = _instruction_set()
    torch, no_torch, devices = _torch_engine()
    threads, cache, memory = counted(usable_processors(), "thread"), cache_folder(), free_memory()
    free = memory and memory // 10**6
    fused = f"{isa} (supported: {', '.join(native.load().instruction_sets())}), {threads}" if isa else broken
    facts = describe_environment()
    facts |= {"free memory (MB)": free, "cache": str(cache)}
    engines = {"fused": fused, "numpy": "trains a LeNet without native code, slowly", "torch": torch or no_torch}
    facts |= {"engines": engines, "devices": devices, "data": folders}

    no_mnist, no_cache, no_runs = "mnist" not in folders, not _is_writable(cache), not _is_writable(Path("runs"))
    no_isa = bool(broken) and not native.reason()  # the native engine is here, and LENSCOPE_ISA is wrong
    problems = {
        "runs: cannot be written, and training writes there; change to another directory, or pass --out": no_runs,
        f"{cache}: cannot be written, so nothing can be downloaded or packed; set LENSCOPE_CACHE to a folder": no_cache,
        broken: no_isa,
        f"{free} MB of memory are free, and training may take {LEAST_MEMORY} MB; end other programs": (
            free is not None and free < LEAST_MEMORY
        ),
    }
    missing = {
        f"native engine: {NUMPY}; {broken}": not isa and not no_isa,
        f"{no_torch} (for other networks and GPUs)": not torch,
        "MNIST: not on this computer; lenscope train downloads it, as does: lenscope data fetch mnist": no_mnist,
    }
    ready = [f"training on this CPU ({isa or 'numpy'}, {threads})"] if not no_isa else []
    ready += [f"other networks with PyTorch ({', '.join(devices)})"] if torch else []
    ready += [CATALOGUE[name].title for name in folders]
    return facts, Verdict(
        can_train=not (no_runs or no_isa or (no_mnist and no_cache)),
        ready=[*ready, "reports"],
        missing=[text for text, applies in missing.items() if applies],
        problems=[text for text, applies in problems.items() if applies],
    )


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is created where it does not exist."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _torch_engine() -> tuple[str, str, list[str]]:
    """PyTorch's version and threads, or why it cannot be used; and the available devices."""
    try:
        from lenscope.pytorch.devices import available_devices, describe_torch
    except UsageError as error:
        return "", str(error).replace("needs PyTorch, which", "PyTorch"), ["cpu"]
    return describe_torch(), "", available_devices()


def _instruction_set() -> tuple[str, str]:
    """The instruction set of the fused engine, or why it cannot run."""
    try:
        return native.instruction_set(), ""
    except LenscopeError as error:
        return "", str(error)
