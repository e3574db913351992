"""Mutate sound files of some formats and read them: each is read, or refused with our own error in one line.

    python tests/fuzz.py CASES SEED FORMAT…

A file fails if its reader takes more than two seconds or 512 MB, raises anything else, writes, starts or connects to
anything, or opens a file outside its directory. A mutated file that reaches new lines is mutated further.
"""

from __future__ import annotations

import base64
import faulthandler
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz_formats import FORMATS
from fuzz_mutations import mutated
from fuzz_seeds import plant, sound_run, write_run

if TYPE_CHECKING:
    from types import FrameType

    from fuzz_formats import Format

SECONDS, MEGABYTES = 2.0, 512
OURS = f"{os.sep}lenscope{os.sep}"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FORBIDDEN = re.compile(
    r"os\.(rename|remove|mkdir|rmdir|link|symlink|truncate|chmod|chown|utime|system|exec|fork|posix_spawn|spawn)"
    r"|(shutil|subprocess|pickle|ctypes)\..*|socket\.(connect|bind|sendto|getaddrinfo)"
)


class Fault(BaseException):
    """Something that no reader may do; no `except Exception` catches it."""


class Guard:
    """Raises Fault where a reader takes too long or makes a forbidden system call."""

    def __init__(self, root: Path) -> None:
        self.readable, self.on = (f"{root}{os.sep}", *filter(None, sys.path)), False
        sys.addaudithook(self.audit)
        signal.signal(signal.SIGALRM, self.alarm)

    def __enter__(self) -> None:
        self.on = True
        signal.setitimer(signal.ITIMER_REAL, SECONDS)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.on = False

    def audit(self, event: str, arguments: tuple) -> None:
        if self.on and (FORBIDDEN.fullmatch(event) or (event == "open" and not self.may_open(*arguments))):
            self.on = False
            raise Fault(f"{event} {arguments}")

    def may_open(self, path: object, _mode: object, flags: int) -> bool:
        """Reading files of the run and modules."""
        where = os.path.realpath(os.fsdecode(path)) if isinstance(path, str | bytes) else ""
        return not flags & WRITING and where.startswith(self.readable)

    def alarm(self, *_: object) -> None:
        raise Fault(f"more than {SECONDS} s")


class Coverage:
    """The lines of our readers that were reached, and the Python functions that they call."""

    def __init__(self) -> None:
        self.reached: set[tuple[str, int, int]] = set()

    def grows(self, format_: Format, root: Path) -> bool:
        """Whether the planted file reaches new ones."""
        known = len(self.reached)
        sys.settrace(self.enter)
        try:
            is_read(format_, root)
        finally:
            sys.settrace(None)
        return len(self.reached) > known

    def enter(self, frame: FrameType, _event: str, _argument: object):
        code = frame.f_code
        self.reached.add((code.co_filename, code.co_firstlineno, 0))
        return self.note if OURS in code.co_filename else None

    def note(self, frame: FrameType, _event: str, _argument: object):
        self.reached.add((frame.f_code.co_filename, 0, frame.f_lineno))
        return self.note


def is_read(format_: Format, root: Path) -> bool:
    """Whether the planted file was read; False if it was refused with our own error, any other error propagates."""
    try:
        format_.read(root)
    except format_.refusal as error:
        examine(error)
        return False
    return True


def examine(error: BaseException) -> None:
    """Raise Fault for a refusal that is not one printable line, or that hides a MemoryError."""
    if not str(error).isprintable() or len(str(error)) > 1500:
        raise Fault(f"not one line: {error}")
    cause: BaseException | None = error
    while cause := cause.__context__:
        if isinstance(cause, MemoryError):
            raise cause


def memory(kind: str) -> int:
    """Kilobytes of this process: VmSize is its size now, VmHWM its peak resident size."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(re.findall(rf"{kind}:\s+(\d+) kB", status)[0])


def limit_memory() -> None:
    limit = (memory("VmSize") + MEGABYTES * 1024) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def fuzz(name: str, cases: int, seed: int, guard: Guard, root: Path) -> str:
    """Read `cases` mutated files; returns a line of counts. SystemExit describes the first file that fails."""
    format_, coverage = FORMATS[name], Coverage()
    seeds, found = prepare(format_, root), []
    random.seed(seed)
    limit_memory()
    before, read, longest = memory("VmHWM"), 0, 0.0
    for case in range(cases):
        content = mutated(format_, seeds, found)
        plant(root, format_.name, content)
        begun = time.perf_counter()
        try:
            with guard:
                read += is_read(format_, root)
        except BaseException as error:
            shown = base64.b64encode(content[:4096]).decode()
            raise SystemExit(f"{name}, case {case} of seed {seed}: {error!r}\n{shown}") from error
        longest = max(longest, time.perf_counter() - begun)
        if coverage.grows(format_, root):  # a second read: tracing takes several times as long
            found.append(content)
    took = f"longest {longest:.3f} s, {(memory('VmHWM') - before) // 1024} MB"
    return f"{name}: {cases} files, {read} read, {cases - read} refused, {took}"


def prepare(format_: Format, root: Path) -> list[bytes]:
    """Make a run and read every sound file once, so that nothing is imported later."""
    write_run(root)
    seeds = format_.seeds() if format_.seeds else [sound_run()[format_.name]]
    for content in seeds:
        plant(root, format_.name, content)
        format_.read(root)
    return seeds


def main(cases: str, seed: str, *names: str) -> None:
    faulthandler.enable()
    shared = "/dev/shm"  # noqa: S108 - in memory; the directory is a new one in it
    with tempfile.TemporaryDirectory(dir=shared if Path(shared).is_dir() else None) as folder:
        root = Path(folder).resolve()
        guard = Guard(root)
        for name in names:
            sys.stdout.write(fuzz(name, int(cases), int(seed), guard, root) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
