"""The instructions that each kernel of the fused engine executes on 64-bit ARM (NEON), per image.

    python benchmarks/count_neon.py

Builds parts.cpp with Debian's cross compiler (g++-aarch64-linux-gnu) and calls each part once and twice in the emulator
(qemu-user), which logs every block of instructions that is executed; the difference is one call. `fma` are vector
multiply-adds of four lanes, `other` the other vector instructions, `spills` loads and stores of vector registers on the
stack. A core that starts four vector instructions, three loads and eight instructions a cycle cannot take fewer cycles
than the largest of their quotients: `share` is the part of its peak that is left, an upper bound.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
KERNELS = HERE.parent / "src" / "lenscope" / "native" / "kernels"
COMPILER, OBJDUMP, EMULATOR = "aarch64-linux-gnu-g++", "aarch64-linux-gnu-objdump", "qemu-aarch64"
FLAGS = "-O3 -std=c++20 -ffp-contract=fast -fno-math-errno -fno-trapping-math -w -static -DLENSCOPE_ISA=baseline"
VECTOR_STARTS, LOAD_STARTS, ALL_STARTS, LANES = 4, 3, 8, 4
VECTOR = re.compile(r"\b[vqds]\d+\b")
PARTS = {  # and the images that a call takes
    "conv1 forward": 1,
    "conv2 forward": 1,
    "conv2 weight gradient": 1,
    "conv2 input gradient": 1,
    "conv1 weight gradient": 1,
    "fc1 forward": 8,
    "fc1 input gradient": 8,
    "fc1 weight gradient, Adam": 100,
}
NEEDED = dict(zip(PARTS, (117_600, 240_000, 60_000, 60_000, 29_400, 48_000, 48_000, 48_000), strict=True))


class Counts(NamedTuple):
    """Instructions per image."""

    all: float
    fma: float
    other: float
    loads: float
    stores: float
    spills: float

    @property
    def cycles(self) -> float:
        """At least."""
        return max((self.fma + self.other) / VECTOR_STARTS, self.loads / LOAD_STARTS, self.all / ALL_STARTS)


def build(folder: Path) -> tuple[Path, dict[int, str]]:
    """The program, and the kind of each of the kernels' instructions by address."""
    program = folder / "parts"
    subprocess.run([COMPILER, *FLAGS.split(), f"-I{KERNELS}", HERE / "parts.cpp", "-o", program], check=True)
    listing = subprocess.run([OBJDUMP, "-d", "--no-show-raw-insn", program], check=True, capture_output=True, text=True)
    functions = (text for text in listing.stdout.split("\n\n") if "lenscope" in text.partition("\n")[0])
    lines = re.findall(r"^ +([0-9a-f]+):\t(\S+)\t?(.*)$", "\n".join(functions), re.MULTILINE)
    return program, {int(address, 16): kind_of(name, operands) for address, name, operands in lines}


def kind_of(name: str, operands: str) -> str:
    """What an instruction is counted as.

    >>> kind_of("fmla", "v0.4s, v1.4s, v2.s[0]"), kind_of("ldr", "q0, [sp, #16]"), kind_of("add", "x0, x0, #1")
    ('fma', 'spills', '')
    """
    registers = operands.partition("[")[0] if name.startswith(("ld", "st")) else operands
    if not VECTOR.search(registers):
        return ""
    if name.startswith(("ld", "st")):
        return "spills" if "[sp" in operands else "loads" if name.startswith("ld") else "stores"
    return "fma" if name in {"fmla", "fmls"} else "other"


def count(program: Path, kinds: dict[int, str], part: str, calls: int, folder: Path) -> Counter[str]:
    """The instructions of a run that calls a part so many times."""
    log = folder / "log"
    own = f"{min(kinds):#x}..{max(kinds):#x}"
    options = ("-d", "in_asm,exec,nochain", "-dfilter", own, "-D", log)
    subprocess.run([EMULATOR, *options, program, part, str(calls)], check=True)
    blocks: dict[int, list[int]] = {}
    executed, listed = Counter[int](), 0
    with log.open(errors="replace") as lines:
        for line in lines:
            if line.startswith("0x"):
                address = int(line.partition(":")[0], 16)
                blocks.setdefault(listed or address, []).append(address)
                listed = listed or address
            elif line.startswith("IN:"):
                listed = 0
            elif line.startswith("Trace"):
                executed[int(line.split("/")[1], 16)] += 1
    found = Counter[str]()
    for start, times in executed.items():
        for address in blocks.get(start, ()):
            if address in kinds:
                found["all"] += times
                found[kinds[address]] += times
    return found


def measure(part: str, program: Path, kinds: dict[int, str], folder: Path) -> Counts:
    """The instructions of a part, per image."""
    one, two = (count(program, kinds, part, calls, folder) for calls in (1, 2))
    return Counts(*((two[name] - one[name]) / PARTS[part] for name in Counts._fields))


def main() -> None:
    """Build, count, print."""
    with tempfile.TemporaryDirectory() as name:
        program, kinds = build(Path(name))
        print(f"{'part':<26}{'needed':>8}{'fma × 4':>9}{'other':>8}{'loads':>8}{'stores':>8}{'spills':>8}{'share':>7}")
        for part in sys.argv[1:] or PARTS:
            own = measure(part, program, kinds, Path(name))
            share = NEEDED[part] / LANES / VECTOR_STARTS / own.cycles
            numbers = (own.fma * LANES, own.other, own.loads, own.stores, own.spills)
            print(
                f"{part:<26}{NEEDED[part]:8,}",
                *(f"{number:8,.0f}" for number in numbers),
                f"{share:6.0%}",
                sep="",
                flush=True,
            )


if __name__ == "__main__":
    main()
